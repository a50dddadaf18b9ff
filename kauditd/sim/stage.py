"""The demo's stage: the programs as an operator starts them, watchers with clocks, and a narrator.

Nothing here looks inside the daemon: it is started, asked through ``kauditctl``, and watched from outside.
"""

import http
import http.client
import json
import os
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kauditd.errors import KauditError
from kauditd.sim.client import unverified_tls
from kauditd.sim.node import Node

MARKER = b"--audit-policy-file="
POLL_S = 0.0005
PROBE_EVERY_S = 0.01
TAIL_LINES = 15
PROBED_PATH = "/api/v1/namespaces/default/secrets"


class DemoFailed(KauditError):
    """The story is not true on this machine: a step is not what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command printed and returned, and how long it took."""

    exit_code: int
    output: str
    errors: str
    took_s: float

    def json(self) -> Mapping[str, object]:
        """The printed JSON object. Raises ``DemoFailed`` where it is none."""
        try:
            value = json.loads(self.output)
        except json.JSONDecodeError as exc:
            raise DemoFailed(f"cannot read the command's answer: {self.output or self.errors}") from exc
        return value if isinstance(value, dict) else {}


class Programs:
    """``kauditd`` as a child process and ``kauditctl`` as it is typed, both on one root."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._log = Path(root, "run/kauditd.log")
        self._daemon: subprocess.Popen[bytes] | None = None

    def start_daemon(self) -> None:
        """``kauditd --root ROOT`` in the background; its log goes to a file."""
        with self._log.open("ab") as log:
            self._daemon = subprocess.Popen(
                [sys.executable, "-m", "kauditd", "--root", self._root],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
            )

    def stop_daemon(self) -> int:
        """SIGTERM and wait; the exit code (0 where none runs)."""
        daemon, self._daemon = self._daemon, None
        if daemon is None:
            return 0
        daemon.terminate()
        try:
            return daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            return daemon.wait()

    def daemon_ended(self) -> int | None:
        """The exit code of a daemon that ended by itself, else None."""
        return None if self._daemon is None else self._daemon.poll()

    def kauditctl(self, *words: str, timeout_s: float = 30.0) -> Answer:
        """One command, in its own process."""
        command = [sys.executable, "-m", "kauditd.cli.main", *words, "--root", self._root]
        began = time.monotonic()
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=timeout_s, env=_environment()
            )
        except subprocess.TimeoutExpired as exc:
            raise DemoFailed(f"cannot wait for kauditctl {' '.join(words)} any longer: {timeout_s:.0f} s") from exc
        return Answer(
            exit_code=done.returncode, output=done.stdout, errors=done.stderr, took_s=time.monotonic() - began
        )

    def log_tail(self) -> str:
        """The daemon's last words."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return "(the daemon was not started)"
        return "\n".join(lines[-TAIL_LINES:])


def _environment() -> Mapping[str, str]:
    """This process's environment with its search path, so that a checkout that is not installed works too."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}


class ManifestWatch:
    """Looks at the manifest thousands of times a second and notes when it stopped and began to carry our flag.

    ``changes``: (Unix seconds, carries the flag), the first entry as it was at the start. A missing file is skipped.
    """

    def __init__(self, manifest: Path) -> None:
        self._manifest = manifest
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.changes: list[tuple[float, bool]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        identity: tuple[int, int] | None = None
        while not self._stop.wait(POLL_S):
            try:
                status = self._manifest.stat()
                if (status.st_ino, status.st_ctime_ns) == identity:
                    continue
                carries = MARKER in self._manifest.read_bytes()
            except FileNotFoundError:
                continue
            identity = (status.st_ino, status.st_ctime_ns)
            if not self.changes or self.changes[-1][1] != carries:
                self.changes.append((time.time(), carries))

    def bare_s(self) -> float | None:
        """How long the flag was away in all; None where it is away now."""
        total = 0.0
        for (at, carries), (until, _) in zip(self.changes, self.changes[1:], strict=False):
            total += 0.0 if carries else until - at
        return total if self.changes and self.changes[-1][1] else None


class Prober:
    """A client that asks all the time, each request with an id of its own; later every answer must be in the log."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.answered: list[str] = []
        self.refused = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        # One connection for many requests: a TLS handshake every few milliseconds would steal the daemon's processor.
        connection: http.client.HTTPSConnection | None = None
        while not self._stop.wait(PROBE_EVERY_S):
            if connection is None:
                connection = http.client.HTTPSConnection(
                    self._node.config.address, self._node.port, timeout=5, context=unverified_tls()
                )
            audit_id = str(uuid.uuid4())
            try:
                connection.request("GET", PROBED_PATH, headers={"Audit-ID": audit_id})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                self.refused += 1
                connection.close()
                connection = None
                continue
            # 503 is the answer of a server that is stopping; upstream never audits it.
            if answer.status != http.HTTPStatus.SERVICE_UNAVAILABLE:
                self.answered.append(audit_id)
        if connection is not None:
            connection.close()

    def unaudited(self, log: Path) -> list[str]:
        """Answered requests whose id is not in the log."""
        text = log.read_text(encoding="utf-8")
        return [audit_id for audit_id in self.answered if f'"auditID":"{audit_id}"' not in text]


class Narrator:
    """Numbered steps with aligned facts. Colour only where asked for."""

    WIDTH = 14
    TEXT_WIDTH = 100

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._number = 0

    def title(self, text: str) -> None:
        """The first line."""
        print(self._paint("1", text), flush=True)

    def step(self, text: str) -> None:
        """A numbered heading."""
        self._number += 1
        print(f"\n{self._paint('1;36', f'{self._number:>2}')}  {self._paint('1', text)}", flush=True)

    def fact(self, label: str, text: str) -> None:
        """One observed thing below the heading, wrapped between words where it is long."""
        first, *rest = textwrap.wrap(text, self.TEXT_WIDTH, break_on_hyphens=False) or [""]
        self._line("2", label, first)
        for line in rest:
            self._line("2", "", line)

    def proven(self, text: str) -> None:
        """A claim that was just checked."""
        self._line("32", "ok", text)

    def failed(self, text: str) -> None:
        """What is not as it should be."""
        self._line("31", "FAILED", text)

    def _line(self, code: str, label: str, text: str) -> None:
        print(f"    {self._paint(code, label.ljust(self.WIDTH))}{text}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color else text
