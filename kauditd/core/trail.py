"""The outcome of the last round of proof, small enough to travel with every observation."""

from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.model import ApiServerProcess


class TrailState(StrEnum):
    """``proven``: an event was seen in the file. ``unproven``: the trail does not work. ``open``: nothing shown yet."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """What one round showed of one process. ``taken_unix_s`` is when its canary was sent.

    ``code`` is stable where unproven. ``audit_id``, ``file`` and ``latency_ms`` are the evidence where proven.
    """

    taken_unix_s: float
    pid: int
    started_unix_s: float
    state: TrailState
    code: str = ""
    text: str = ""
    hint: str = ""
    audit_id: str = ""
    uri: str = ""
    file: str = ""
    offset_bytes: int = 0
    latency_ms: float = 0.0

    def speaks_of(self, process: ApiServerProcess) -> bool:
        """Whether this is about ``process``; a start time moves a little with the clock."""
        return self.pid == process.pid and abs(self.started_unix_s - process.started_unix_s) <= 2.0
