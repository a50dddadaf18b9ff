"""The daemon and the one-shot programs as processes of their own, in a root of their own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from kauditd.sim.manifests import kubeadm_manifest
from tests.tree import ROOT

MANIFEST = "etc/kubernetes/manifests/kube-apiserver.yaml"
SOCKET = "run/kauditd/kauditd.sock"
JOURNAL = "var/lib/kauditd/journal.ndjson"
START_S = 20.0


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without anything of a service manager, and with ``extra``."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("NOTIFY_", "LISTEN_", "WATCHDOG_", "KAUDITD_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **(extra or {})}


def plain(version: str = "v1.36.3") -> bytes:
    return kubeadm_manifest(version, address="10.0.0.11", port=6443)


def put(path: Path, content: bytes) -> None:
    """Rename a finished file into place, as kubeadm does."""
    temporary = path.with_name(f".{path.name}.staged")
    temporary.write_bytes(content)
    temporary.chmod(0o600)
    temporary.rename(path)


def has_flags(content: bytes) -> bool:
    return b"--audit-policy-file=" in content


def wait_until(done: Callable[[], bool], *, what: str, limit_s: float = START_S) -> None:
    deadline_s = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline_s, f"not within {limit_s} s: {what}"
        time.sleep(0.01)


def run(*words: str, extra: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """A program that ends by itself: ``run("kauditd", "--once", ...)``, given as a module and its arguments."""
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env=environment(extra),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


def journal(root: Path) -> list[dict[str, Any]]:
    """The records of the journal."""
    try:
        return [json.loads(line) for line in (root / JOURNAL).read_text().splitlines()]
    except FileNotFoundError:
        return []


@dataclass(slots=True)
class Daemon:
    """One running daemon. ``pass_fds`` and ``preexec`` serve socket activation."""

    root: Path
    extra: Mapping[str, str] = field(default_factory=dict)
    pass_fds: tuple[int, ...] = ()
    process: "subprocess.Popen[bytes]" = field(init=False)

    def spawn(self, *, program: list[str] | None = None) -> None:
        with (self.root / "daemon.log").open("ab") as log:
            self.process = subprocess.Popen(
                program or [sys.executable, "-m", "kauditd", "--root", str(self.root)],
                cwd=ROOT,
                env=environment(self.extra),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=self.pass_fds,
            )

    @property
    def log(self) -> str:
        return (self.root / "daemon.log").read_text()

    @property
    def socket(self) -> Path:
        return self.root / SOCKET

    @property
    def manifest(self) -> Path:
        return self.root / MANIFEST

    def wait_answering(self) -> dict[str, Any]:
        """Until the API answers; the status."""
        wait_until(lambda: self.status() is not None or self.process.poll() is not None, what=f"an answer\n{self.log}")
        answer = self.status()
        assert answer is not None, self.log
        return answer

    def status(self) -> dict[str, Any] | None:
        try:
            return dict(ask(self.socket, "/v1/status"))
        except (OSError, ValueError):
            return None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Signal it by its pid; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(str(self._path))


def ask(path: Path, route: str, *, method: str = "GET") -> Any:
    """The result of one request to the API."""
    connection = _UnixConnection(path)
    try:
        connection.request(method, route, headers={"Content-Length": "0"} if method == "POST" else {})
        return json.loads(connection.getresponse().read())["result"]
    finally:
        connection.close()


@contextmanager
def daemon(root: Path, extra: Mapping[str, str] | None = None, *, wait: bool = True) -> Iterator[Daemon]:
    """A daemon on ``root`` until the block ends."""
    made = Daemon(root, extra or {})
    made.spawn()
    try:
        if wait:
            made.wait_answering()
        yield made
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait(timeout=20)
