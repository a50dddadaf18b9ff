"""The part of the kubelet that matters here: the running API server follows the manifest file.

A changed Pod ends the old process, and only when it has gone the new one starts from whatever the file says then. A
file that does not parse or is missing changes nothing. The real kubelet's waits (30 s of grace, a tick of 10-15 s)
are left out.
"""

import io
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tests.real.cluster import ApiServer

TICK_S = 0.1
BACK_OFF_S = 1.0


class Kubelet:
    """Runs ``server`` from ``manifest`` in a thread of its own; ``starts`` counts the processes started."""

    def __init__(self, *, server: ApiServer, manifest: Path) -> None:
        self._server = server
        self._manifest = manifest
        self._ended = threading.Event()
        self._running_pod: object = None
        self.starts = 0
        self.fault: Exception | None = None

    def run(self) -> None:
        """Until ``end``; then the server is stopped. A fault is kept for the test to raise."""
        try:
            while not self._ended.wait(TICK_S):
                self._sync()
        except Exception as exc:
            self.fault = exc
        finally:
            self._server.stop()

    def end(self) -> None:
        self._ended.set()

    def _sync(self) -> None:
        pod = self._read()
        if pod is None or (pod == self._running_pod and self._server.running):
            return
        if pod == self._running_pod and self._ended.wait(BACK_OFF_S):
            return
        self._server.stop()
        content = self._manifest.read_bytes()
        self._running_pod = _decoded(content)
        self._server.start(content)
        self.starts += 1

    def _read(self) -> object:
        try:
            return _decoded(self._manifest.read_bytes())
        except (FileNotFoundError, YAMLError):
            return None


def _decoded(content: bytes) -> object:
    return YAML(typ="safe").load(io.BytesIO(content))


@contextmanager
def kubelet(*, server: ApiServer, node: Path, manifest: Path) -> Iterator[Kubelet]:
    """A running kubelet: the thread that follows the manifest, and a process under that name for the process table."""
    follower = Kubelet(server=server, manifest=manifest)
    thread = threading.Thread(target=follower.run, name="kubelet")
    # It sleeps in read(2) until its stdin is closed, and ends by itself if this process dies.
    named = ["kubelet", "-c", "read -r line", f"--root-dir={node}/var/lib/kubelet"]
    with subprocess.Popen(named, executable="/bin/sh", stdin=subprocess.PIPE) as process:
        thread.start()
        try:
            yield follower
        finally:
            follower.end()
            thread.join(60)
            process.communicate(timeout=10)
    if follower.fault is not None:
        raise follower.fault
