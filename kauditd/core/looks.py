"""What the ledger is fed: looks at the node, proofs, and what happened beside them."""

from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.model import ApiServerProcess
from kauditd.core.windows import WindowCause

START_SLACK_S = 2.0
"""How far two readings of one process's start may differ: it is told relative to a boot time that moves with NTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerId:
    """A process within one boot: pid, and its start on that boot's monotonic clock."""

    pid: int
    started_s: float

    def is_same(self, other: "ServerId | None") -> bool:
        """Whether both are one process. A pid comes again, but not within two seconds of its first use."""
        return other is not None and self.pid == other.pid and abs(self.started_s - other.started_s) <= START_SLACK_S


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofResult:
    """The outcome of one proof of the process that its look shows.

    ``ok``: events arrive; ``audit_id`` is the canary's, ``taken_monotonic_s`` when it was sent (None: at the look),
    up to where it covers. Not ok: ``how`` says what was found, ``cause`` why, where that is known. A process without
    the flags is a failed proof as well.
    """

    ok: bool
    audit_id: str = ""
    how: str = ""
    cause: WindowCause | None = None
    taken_monotonic_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the node saw. ``serving``: ``process`` answers, or may answer, requests.

    ``boot_id`` is /proc/sys/kernel/random/boot_id, "" where it cannot be read; monotonic times compare only where it
    is equal. All times of a look are taken together, or a step of the wall clock in between makes another process.
    ``hint`` is the likeliest cause, should this time turn out unaudited. ``covered_by`` is evidence that
    ``process`` audited since the look before (or since its start) although nobody watched: counters that balance,
    events without a gap. ``closed_by`` is evidence that the process seen *before* audited to its end. ``none_before``
    says that no other API server ran in this boot before ``process`` (or, without one, up to now).
    """

    at_unix_s: float
    monotonic_s: float
    boot_id: str
    process: ServerId | None = None
    serving: bool = False
    proof: ProofResult | None = None
    hint: WindowCause | None = None
    covered_by: str = ""
    closed_by: str = ""
    none_before: bool = False


class EventKind(StrEnum):
    """``started``: a run of kauditd begins, nobody watched before. ``repaired``: something was put right."""

    STARTED = "started"
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened beside the looks; ``text`` names it ("change 12, repair")."""

    kind: EventKind
    at_unix_s: float
    text: str = ""


def server_id(process: ApiServerProcess, *, at_unix_s: float, monotonic_s: float) -> ServerId:
    """The identity of a process seen at these two times. Start and wall clock move together when the clock is set."""
    return ServerId(pid=process.pid, started_s=process.started_unix_s - at_unix_s + monotonic_s)
