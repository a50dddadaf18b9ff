"""The world behind ``engine.senses``: effects, with logical paths mapped below the root."""

import os
import time

from kauditd.core.canary import Canary, CanaryAnswer, Found
from kauditd.core.counters import Tally
from kauditd.core.credentials import Credentials
from kauditd.core.etcd import etcd_endpoints
from kauditd.core.generations import Position, Retention
from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.layout import Layout
from kauditd.core.model import ApiServerProcess, ManifestView
from kauditd.core.observed import EtcdFacts, PodEvidence
from kauditd.core.proof import LogFacts
from kauditd.core.question import Answers, Question
from kauditd.effects import logfile
from kauditd.effects.credentials import find_credentials
from kauditd.effects.etcd import reach_etcd
from kauditd.effects.kubelet_journal import read_kubelet_words
from kauditd.effects.podlogs import read_ends, running_pods
from kauditd.effects.probing import ask_in_child
from kauditd.effects.processes import ProcessReader
from kauditd.engine.ports import ProcessTable


class RealSenses:
    """Implements ``engine.senses.Senses`` for one layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._processes = ProcessReader(layout)

    def now_unix_s(self) -> float:
        """Wall-clock time."""
        return time.time()

    def random(self, count: int) -> bytes:
        """From the kernel."""
        return os.urandom(count)

    def read_table(self) -> ProcessTable:
        """One pass over /proc."""
        return self._processes.snapshot()

    async def ask(self, question: Question) -> Answers:
        """In a child process, see ``effects.probing``."""
        return await ask_in_child(question)

    def credentials(self) -> Credentials | None:
        """What the cluster's own kubeconfigs hold; read each time, for certificates are renewed."""
        return find_credentials(self._layout)

    def inspect_log(self, process: ApiServerProcess, log_path: str, host_path: str | None) -> LogFacts:
        """See ``effects.logfile.inspect_log``."""
        return logfile.inspect_log(process.pid, log_path, self._layout, host_path=host_path)

    def mark_log(self, path: str) -> Position | None:
        """The end of the log; None where it cannot be read, and then the whole file is searched."""
        try:
            return logfile.mark(path)
        except OSError:
            return None

    def find_event(self, path: str, canary: Canary, answer: CanaryAnswer, since: Position | None) -> Found | None:
        """None also where the log cannot be read: what the log is like is told by ``inspect_log``."""
        try:
            return logfile.find_event(path, canary, answer, since=since)
        except OSError:
            return None

    def last_event_unix_s(self, log_path: str, host_path: str | None) -> float | None:
        """See ``effects.logfile.last_event_unix_s``."""
        return logfile.last_event_unix_s(self._layout.host(host_path or log_path))

    def count_lines(self, path: str, tally: Tally | None, process: ApiServerProcess, retention: Retention) -> Tally:
        """Anew from the start of the process, or on from ``tally``. Raises OSError."""
        if tally is not None:
            return logfile.count_more(path, tally)
        return logfile.count_lines(
            path, started_unix_s=process.started_unix_s, now_unix_s=time.time(), retention=retention
        )

    def read_pod_logs(self, view: ManifestView, table: ProcessTable) -> PodEvidence:
        """See ``effects.podlogs.read_ends``."""
        return read_ends(
            self._layout,
            namespace=view.namespace or "default",
            pod_name_prefix=view.pod_name,
            running=running_pods(table.api_servers),
        )

    async def read_kubelet_words(
        self, view: ManifestView, manifest: str, since_unix_s: float
    ) -> tuple[KubeletWords, ...]:
        """See ``effects.kubelet_journal``."""
        words = await read_kubelet_words(
            self._layout, since_unix_s=since_unix_s, manifest=manifest, pod_name=view.pod_name
        )
        return words or ()

    async def reach_etcd(self, view: ManifestView) -> EtcdFacts:
        """The endpoints that the manifest names."""
        return await reach_etcd(self._layout, etcd_endpoints(view.flags))
