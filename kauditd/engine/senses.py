"""What the survey asks of the world beside the files of the target, as a Protocol over the effects.

Methods without ``async`` block and are called in the scanner thread.
"""

from typing import Protocol

from kauditd.core.canary import Canary, CanaryAnswer, Found
from kauditd.core.counters import Tally
from kauditd.core.credentials import Credentials
from kauditd.core.generations import Position, Retention
from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.model import ApiServerProcess, ManifestView
from kauditd.core.observed import EtcdFacts, PodEvidence
from kauditd.core.proof import LogFacts
from kauditd.core.question import Answers, Question
from kauditd.engine.ports import ProcessTable


class Senses(Protocol):
    """Processes, the API server's answers, its log, its pod's logs, etcd."""

    def now_unix_s(self) -> float:
        """Wall-clock time."""
        ...

    def random(self, count: int) -> bytes:
        """Unguessable bytes."""
        ...

    def read_table(self) -> ProcessTable:
        """One pass over the process table."""
        ...

    async def ask(self, question: Question) -> Answers:
        """Health, canary and counters, in a child process."""
        ...

    def credentials(self) -> Credentials | None:
        """What may read the API server's counters; None where nothing is found."""
        ...

    def inspect_log(self, process: ApiServerProcess, log_path: str, host_path: str | None) -> LogFacts:
        """The log by the eyes of the process and of the host."""
        ...

    def mark_log(self, path: str) -> Position | None:
        """The end of the log now; None where it cannot be told."""
        ...

    def find_event(self, path: str, canary: Canary, answer: CanaryAnswer, since: Position | None) -> Found | None:
        """The canary's event in the log or its newest rotated files; None where it is not there (yet)."""
        ...

    def last_event_unix_s(self, log_path: str, host_path: str | None) -> float | None:
        """The time of the newest event in the log on the host; None where none can be read."""
        ...

    def count_lines(self, path: str, tally: Tally | None, process: ApiServerProcess, retention: Retention) -> Tally:
        """The lines of the process's lifetime: anew, or on from ``tally``. Raises OSError."""
        ...

    def read_pod_logs(self, view: ManifestView, table: ProcessTable) -> PodEvidence:
        """What the kubelet's log directories say of the pod."""
        ...

    async def read_kubelet_words(
        self, view: ManifestView, manifest: str, since_unix_s: float
    ) -> tuple[KubeletWords, ...]:
        """What the kubelet's journal complains of since then; empty where it cannot be read."""
        ...

    async def reach_etcd(self, view: ManifestView) -> EtcdFacts:
        """Whether etcd's endpoints take connections."""
        ...
