"""The simulated node's own record: one JSON object per line in ``ROOT/run/sim/events.ndjson``.

Keys: ``time`` (Unix seconds), ``sim_s`` (simulated seconds since the node started), ``event``, and where they apply
``uid``, ``pid``, ``exit_code``, ``attempt``, ``detail``. Tests and the demo wait for these lines.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RUN_DIR = "run/sim"
EVENTS_FILE = f"{RUN_DIR}/events.ndjson"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeEvent:
    """One line of the record."""

    time: float
    sim_s: float
    event: str
    uid: str = ""
    pid: int = 0
    exit_code: int | None = None
    attempt: int | None = None
    detail: str = ""


class Journal:
    """Appends events; each line is one write, so that a reader never sees half of one."""

    def __init__(self, root: str, *, speed: float) -> None:
        self._speed = speed
        self._started = time.monotonic()
        self._fd = os.open(Path(root, EVENTS_FILE), os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)

    def now_s(self) -> float:
        """Simulated seconds since the node started."""
        return (time.monotonic() - self._started) * self._speed

    def record(
        self,
        event: str,
        *,
        uid: str = "",
        pid: int = 0,
        exit_code: int | None = None,
        attempt: int | None = None,
        detail: str = "",
    ) -> None:
        """One event, now."""
        fields: dict[str, object] = {"time": round(time.time(), 6), "sim_s": round(self.now_s(), 3), "event": event}
        fields |= {"uid": uid} if uid else {}
        fields |= {"pid": pid} if pid else {}
        fields |= {"exit_code": exit_code} if exit_code is not None else {}
        fields |= {"attempt": attempt} if attempt is not None else {}
        fields |= {"detail": detail} if detail else {}
        os.write(self._fd, json.dumps(fields).encode() + b"\n")

    def close(self) -> None:
        """No more events."""
        os.close(self._fd)


def read_events(root: str) -> Iterator[NodeEvent]:
    """Every event so far; a node that never started has none."""
    try:
        lines = Path(root, EVENTS_FILE).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        yield NodeEvent(**json.loads(line))
