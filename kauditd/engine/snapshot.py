"""One immutable picture of everything that may be shown: the API serves it, the CLI prints it.

Times are Unix seconds on the node's wall clock; None means "never" or "not known".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kauditd.core.model import ApiServerProcess, Change, Digest, Drift, Reason, Verdict
from kauditd.core.plan import Step as PlanStep
from kauditd.core.trail import Trail
from kauditd.core.windows import Coverage, Window

__all__ = [
    "PlanStatus",
    "PlanStep",
    "PolicyStatus",
    "ProofStatus",
    "SettingsStatus",
    "Snapshot",
    "TargetStatus",
    "WatchStatus",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """The API server as configured on this node."""

    kind: str
    path: str
    present: bool
    image: str = ""
    version: str = ""
    digest: Digest | None = None
    address: str = ""
    port: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyStatus:
    """The policy in force as published, and what is wrong with its source (the last good one stays published)."""

    source: str
    digest: Digest | None
    path: str
    text: str
    rule_count: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsStatus:
    """The settings in force, as a flat mapping of dotted keys, and the problems of the file (last good kept)."""

    path: str
    loaded_unix_s: float
    values: Mapping[str, str | int | float | bool | None]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanStatus:
    """What apply would do now: steps, a unified diff that ``patch -p1 -d ROOT`` takes, and why not yet (``holds``)."""

    steps: tuple[PlanStep, ...]
    diff: str
    holds: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchStatus:
    """How changes are noticed: ``inotify`` or ``polling``, and how often each safety net had to act."""

    mode: str
    detail: str = ""
    rearm_total: int = 0
    overflow_total: int = 0
    resync_found_drift_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofStatus:
    """The last evidence that the trail works, and when it was taken.

    ``code`` and ``hint`` are those of the newest round where it failed. ``evidence`` names the event, its file and
    offset. ``counters`` says how the API server's own counters compare with the log.
    """

    proven_unix_s: float | None
    what: str
    code: str = ""
    hint: str = ""
    evidence: Trail | None = None
    counters: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment. ``sequence`` grows with every published snapshot.

    ``windows`` are all of the ledger's, oldest first; ``coverage`` is None before the ledger's first look.
    """

    sequence: int
    at_unix_s: float
    started_unix_s: float
    version: str
    verdict: Verdict
    since_unix_s: float
    sentence: str
    reasons: tuple[Reason, ...]
    mode: str
    paused_until_unix_s: float | None
    disabled: bool
    contested: bool
    target: TargetStatus
    process: ApiServerProcess | None
    policy: PolicyStatus
    settings: SettingsStatus
    drift: tuple[Drift, ...]
    plan: PlanStatus
    watch: WatchStatus
    proof: ProofStatus
    changes: tuple[Change, ...] = ()
    counters: Mapping[str, int | float] = field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    coverage: Coverage | None = None
