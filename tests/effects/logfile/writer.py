"""A process that writes an audit log as an API server does, and does on command what others do to it.

``python -m tests.effects.logfile.writer PATH``: commands on standard input, one answer line each. The log is opened
at the first event and rotated as lumberjack does: close, rename, create.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kauditd.core.canary import Canary, CanaryAnswer
from kauditd.sim.lumberjack import backup_name

ROOT = Path(__file__).resolve().parents[3]


def stamp(unix_s: float) -> str:
    """An event's timestamp."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def event_line(audit_id: str, uri: str, unix_s: float, *, stage: str = "ResponseComplete", pad: int = 0) -> bytes:
    """One line of the log, newline included; ``pad`` makes it longer."""
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": audit_id,
        "stage": stage,
        "requestURI": uri,
        "verb": "get",
        "user": {"username": "system:anonymous"},
        "userAgent": "x" * pad,
        "responseStatus": {"metadata": {}, "code": 403},
        "requestReceivedTimestamp": stamp(unix_s),
        "stageTimestamp": stamp(unix_s),
        "annotations": {"authorization.k8s.io/decision": "forbid"},
    }
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def noise(number: int = 1, *, unix_s: float | None = None, pad: int = 0) -> bytes:
    """Lines of other requests, of this moment unless said otherwise."""
    when = time.time() if unix_s is None else unix_s
    return b"".join(event_line(f"noise-{i}", "/api/v1/pods", when, pad=pad) for i in range(number))


def rotated_name(unix_s: float) -> str:
    """The name that lumberjack gives to a file rotated at that moment."""
    return backup_name("audit.log", datetime.fromtimestamp(unix_s, UTC))


def answer_now(unix_s: float, canary: Canary | None = None) -> CanaryAnswer:
    """An answer that came at once."""
    echoed = canary.audit_id if canary else ""
    return CanaryAnswer(status=403, echoed_id=echoed, asked_unix_s=unix_s, answered_unix_s=unix_s)


class LogWriter:
    """The other side of the pipe."""

    def __init__(self, path: Path, *, wrapper: Sequence[str] = ()) -> None:
        self.path = path
        command = [*wrapper, sys.executable, "-m", "tests.effects.logfile.writer", str(path)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)

    @property
    def pid(self) -> int:
        """Whose descriptors are looked at."""
        return self._process.pid

    def write(self, line: bytes) -> None:
        """One event."""
        self._ask(f"write {line.hex()}")

    def rotate(self, name: str) -> Path:
        """Close, rename to ``name``, create."""
        self._ask(f"rotate {name}")
        return self.path.with_name(name)

    def _ask(self, command: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def started(self) -> None:
        """Returns when the process runs."""
        self._ask("nothing")

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextmanager
def writing(path: Path, *, wrapper: Sequence[str] = ()) -> Iterator[LogWriter]:
    """A writer for the length of a test; ``wrapper`` is a command that becomes it."""
    writer = LogWriter(path, wrapper=wrapper)
    try:
        yield writer
    finally:
        writer.stop()


def main(path: str) -> None:
    descriptor = -1
    for command in sys.stdin:
        verb, _, argument = command.strip().partition(" ")
        if verb == "rotate":
            os.close(descriptor)
            os.rename(path, os.path.join(os.path.dirname(path), argument))
            descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        elif verb == "write":
            if descriptor < 0:
                descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
            os.write(descriptor, bytes.fromhex(argument))
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
