"""What the ledger shows: spans, windows, and how much of the served time was proven.

Lengths are seconds of the node's life: they come from the monotonic clock, so that no step of the wall clock
stretches, shrinks or makes a window. Unix times stand beside them for people; around a step they may disagree.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

DAY_S = 86_400.0
MONTH_S = 30 * DAY_S

_PARTS = 1_000_000
"""A ratio is told in millionths, always rounded down."""


class SpanKind(StrEnum):
    """What a second of the node's life is; exactly one of these.

    ``proven``: watched, and a later proof of the same process covers it. ``unaudited``: an API server served and no
    proof covers it. ``no-server``: nothing served. ``unknown``: nobody watched; it never counts as covered.
    """

    PROVEN = "proven"
    UNAUDITED = "unaudited"
    NO_SERVER = "no-server"
    UNKNOWN = "unknown"


WINDOW_KINDS = frozenset({SpanKind.UNAUDITED, SpanKind.UNKNOWN})
"""The kinds whose spans are windows."""


class WindowCause(StrEnum):
    """Why a window is there; a closed set. ``proof-failed`` and ``unknown`` give way to a more exact one."""

    NOT_ENABLED = "not-enabled"
    UPGRADE_OVERWROTE = "upgrade-overwrote"
    ROLLED_BACK = "rolled-back"
    DISABLED = "disabled"
    LOG_DELETED = "log-deleted"
    POLICY_NONE = "policy-none"
    KAUDITD_DOWN = "kauditd-down"
    PROOF_FAILED = "proof-failed"
    UNKNOWN = "unknown"


GENERIC_CAUSES = frozenset({WindowCause.PROOF_FAILED, WindowCause.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of one kind. Spans tile the life without hole or overlap; ``window`` is 0 outside windows.

    ``start_s`` and ``end_s`` count from the first look ever, the same float where two spans meet.
    """

    kind: SpanKind
    start_s: float
    end_s: float
    start_unix_s: float
    end_unix_s: float
    window: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One unproven stretch. ``id`` grows by one; ``end_unix_s`` is None while it is open.

    ``detection_delay_s`` is how long it had lasted when it was noticed, ``detected_by`` how. ``repaired_by`` names
    what put it right (a change), ``resumed_audit_id`` the canary that first proved auditing afterwards. The last
    three columns are people's own, set by annotations.
    """

    id: int
    kind: SpanKind
    cause: WindowCause
    start_unix_s: float
    end_unix_s: float | None
    duration_s: float
    detected_unix_s: float
    detection_delay_s: float
    detected_by: str
    repaired_by: str = ""
    repaired_unix_s: float | None = None
    resumed_audit_id: str = ""
    resumed_unix_s: float | None = None
    root_cause: str = ""
    prevention: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageSums:
    """Seconds per kind over one period.

    ``served_s`` is proven, unaudited and unknown time together: the denominator of ``coverage_ratio``. The ratio is
    rounded down to millionths, so 1 means every second; None where nothing was served.
    """

    proven_s: float
    unaudited_s: float
    no_server_s: float
    unknown_s: float
    served_s: float
    coverage_ratio: float | None
    coverage_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Sums over the last 24 hours, the last 30 days and everything since the first look (``since_unix_s``).

    ``pending_s`` is the newest served time that the next proof will judge; it is in none of the sums yet.
    ``unaudited_s_by_cause`` only ever grows: each second counts under the cause that was known when it was judged.
    """

    since_unix_s: float
    last_day: CoverageSums
    last_30_days: CoverageSums
    total: CoverageSums
    pending_s: float
    unaudited_s_by_cause: Mapping[str, float] = field(default_factory=dict)


def sum_up(lengths: Mapping[SpanKind, float]) -> CoverageSums:
    """The sums for these seconds per kind."""
    proven_s, unaudited_s, no_server_s, unknown_s = (lengths.get(kind, 0.0) for kind in SpanKind)
    missing_s = unaudited_s + unknown_s
    ratio = floor_ratio(proven_s, missing_s)
    return CoverageSums(
        proven_s=proven_s,
        unaudited_s=unaudited_s,
        no_server_s=no_server_s,
        unknown_s=unknown_s,
        served_s=proven_s + missing_s,
        coverage_ratio=ratio,
        coverage_text="nothing served" if ratio is None else percent_text(ratio),
    )


def floor_ratio(covered_s: float, missing_s: float) -> float | None:
    """The covered part of the whole, rounded down to millionths; None where the whole is empty.

    It is 1 only where nothing at all is missing, however small the missing part is beside the whole.
    """
    whole_s = covered_s + missing_s
    if whole_s <= 0:
        return None
    if missing_s <= 0:
        return 1.0
    return min(int(covered_s * _PARTS / whole_s), _PARTS - 1) / _PARTS


def percent_text(ratio: float) -> str:
    """A ratio in millionths as text, never rounded up: ``99.9999 %`` is not 100."""
    parts = round(ratio * _PARTS)
    whole, rest = divmod(parts, _PARTS // 100)
    decimals = f"{rest:04d}".rstrip("0")
    return f"{whole}.{decimals} %" if decimals else f"{whole} %"


def lengths_since(spans: Iterable[Span], start_s: float) -> dict[SpanKind, float]:
    """Seconds per kind of what lies behind ``start_s``."""
    found: dict[SpanKind, float] = {}
    for span in spans:
        length_s = span.end_s - max(span.start_s, start_s)
        if length_s > 0:
            found[span.kind] = found.get(span.kind, 0.0) + length_s
    return found


def newest_first(windows: Iterable[Window], *, since_unix_s: float = 0.0) -> tuple[Window, ...]:
    """Open windows first, then the others by falling id; those that had ended before ``since_unix_s`` are left out."""
    shown = (w for w in windows if w.end_unix_s is None or w.end_unix_s >= since_unix_s)
    return tuple(sorted(shown, key=lambda w: (w.end_unix_s is not None, -w.id)))
