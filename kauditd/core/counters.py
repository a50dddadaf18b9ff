"""The API server's own counters against the lines in its log: what was lost, and what somebody else wrote.

Upstream (k8s.io/apiserver pkg/audit/metrics.go, all ALPHA): ``apiserver_audit_event_total`` grows by one for every
event *before* it is written, ``apiserver_audit_error_total{plugin}`` by one for every event that could not be. So in
one process lifetime, at rest: lines = event_total - error_total over the plugins log, truncate and buffered.

Nothing is ever at rest, so this is interval arithmetic. The counters are read, what is under way is given time to
reach the file, the lines are counted, and the counters are read again. With M for events, E for errors, 0 for the
first reading and 1 for the second, what an honest log holds lies in [M0 - E1, M1 - E0]: below it lines are lost,
above it some are foreign.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf
from types import MappingProxyType

from kauditd.core.generations import Position
from kauditd.core.model import ApiServerProcess

FAMILY = "apiserver_audit_"
"""What the names of all counters wanted here begin with."""

BLOCKING_SETTLE_S, BATCH_SETTLE_S = 2.0, 60.0
"""How long an event that was counted may be on its way into the file. In blocking mode it is written by the request
itself, measured in fractions of a millisecond; in batch mode it waits in a buffer."""

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", re.ASCII)
_UNIT_S = MappingProxyType({"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0})
_LOG_PLUGINS = ("log", "truncate", "buffered")
_SAMPLE = re.compile(r"apiserver_audit_(\w+?)(?:\{([^}]*)\})? ([0-9.eE+]+)(?: -?\d+)?")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading. ``errors`` by plugin and ``levels`` by policy level, sorted; absent names were never counted."""

    events: int
    errors: tuple[tuple[str, int], ...] = ()
    levels: tuple[tuple[str, int], ...] = ()
    rejected: int = 0

    def error(self, plugin: str) -> int:
        """Events that ``plugin`` failed on."""
        return dict(self.errors).get(plugin, 0)

    def level(self, name: str) -> int:
        """Requests that the policy put at level ``name``, "None" included."""
        return dict(self.levels).get(name, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountersAnswer:
    """What ``/metrics`` answered; ``counters`` is None where it gave none, and ``detail`` says why."""

    status: int | None
    counters: Counters | None
    asked_unix_s: float
    answered_unix_s: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many lines of one process's lifetime are in the log: at least ``low``, at most ``high``.

    ``position`` is where the counting goes on. Incomplete where lines may have been deleted before they were
    counted; ``detail`` says why. ``by_clock``: where the lifetime begins was told from the lines' own times.
    """

    low: int
    high: int
    position: Position | None
    complete: bool = True
    by_clock: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountFacts:
    """Two readings, the count between them, and what must be known to compare them.

    ``lifetimes`` are (pid, start) of the API server at the first and at the second reading. ``settled_s`` lies
    between the end of the first reading and the start of the count; ``settle_s`` (see the function of that name) must
    lie there before a line counts as lost. ``webhook``: a webhook backend runs too. ``clock_stepped``: the wall clock
    was set since the process started, so times in the log do not tell where its lifetime begins.
    """

    before: Counters
    tally: Tally
    after: Counters
    lifetimes: tuple[tuple[int, float], tuple[int, float]]
    settled_s: float
    settle_s: float = BLOCKING_SETTLE_S
    webhook: bool = False
    clock_stepped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """Nothing lost, nothing foreign: between ``low`` and ``high`` lines were to be there, and so it is."""

    low: int
    high: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """At least ``count`` lines are lost (code ``lines-lost``) or foreign (``lines-foreign``)."""

    code: str
    count: int
    text: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The lines cannot be compared with the counters, for the reason in ``text``. It is no finding."""

    text: str


CountResult = Agreed | Mismatch | Unknown


def settle_s(process: ApiServerProcess) -> float:
    """How long events of ``process`` may be on their way, by its flags (k8s.io/apiserver plugin/pkg/audit/buffered).

    Infinite where the buffer is throttled, for then nobody can tell.
    """
    mode = process.flag("audit-log-mode") or "blocking"
    if mode in {"blocking", "blocking-strict"}:
        return BLOCKING_SETTLE_S
    if process.flag("audit-log-batch-throttle-enable") in {"true", "TRUE", "True", "1", "t", "T"}:
        return inf
    return BATCH_SETTLE_S + duration_s(process.flag("audit-log-batch-max-wait") or "0")


def duration_s(text: str) -> float:
    """Go's time.ParseDuration ("1m30s") in seconds; infinite where it is none, so that nothing is concluded from it."""
    parts = list(_DURATION.finditer(text))
    if text == "0":
        return 0.0
    if not parts or "".join(part.group(0) for part in parts) != text:
        return inf
    return sum(float(part.group(1)) * _UNIT_S[part.group(2)] for part in parts)


def parse_counters(lines: Iterable[str]) -> Counters | None:
    """The audit counters among lines of the Prometheus text format, or None where ``event_total`` is not there."""
    events: int | None = None
    rejected = 0
    errors: dict[str, int] = {}
    levels: dict[str, int] = {}
    for line in lines:
        found = _SAMPLE.fullmatch(line.strip())
        value = _whole(found.group(3)) if found else None
        if found is None or value is None:
            continue
        labels = dict(_LABEL.findall(found.group(2) or ""))
        match found.group(1):
            case "event_total":
                events = value
            case "error_total":
                errors[labels.get("plugin", "")] = value
            case "level_total":
                levels[labels.get("level", "")] = value
            case "requests_rejected_total":
                rejected = value
            case _:
                pass
    if events is None:
        return None
    return Counters(
        events=events, errors=tuple(sorted(errors.items())), levels=tuple(sorted(levels.items())), rejected=rejected
    )


def compare(facts: CountFacts) -> CountResult:
    """The two-sided rule. Never a false alarm: what could be honest is ``Agreed`` or ``Unknown``."""
    obstacle = _obstacle(facts)
    if obstacle:
        return Unknown(text=obstacle)
    low = facts.before.events - sum(facts.after.error(plugin) for plugin in _LOG_PLUGINS)
    # A webhook's truncating and buffering wrappers count under the same names; what it lost is not missing here.
    sure = ("log",) if facts.webhook else _LOG_PLUGINS
    high = facts.after.events - sum(facts.before.error(plugin) for plugin in sure)
    if facts.tally.low > high:
        count = facts.tally.low - high
        return Mismatch(
            code="lines-foreign",
            count=count,
            text=f"the log holds {_lines(count)} that the API server did not write",
            hint="something else writes into the log: look at the owner and the mode of its directory, and at its ACLs",
        )
    if facts.tally.high < low:
        return _lost(facts, low - facts.tally.high)
    return Agreed(low=low, high=high)


def _lost(facts: CountFacts, count: int) -> CountResult:
    if facts.settled_s < facts.settle_s:
        return Unknown(text=f"{_lines(count)} may still be on the way into the file")
    return Mismatch(
        code="lines-lost",
        count=count,
        text=f"{_lines(count)} that the API server wrote {'is' if count == 1 else 'are'} missing from the log",
        hint="the log was deleted, moved, cut or written elsewhere while it was open: kauditctl doctor",
    )


def _obstacle(facts: CountFacts) -> str:
    """Why nothing can be compared, or ""."""
    first, second = facts.lifetimes
    if first != second or facts.after.events < facts.before.events:
        return "the API server was restarted between the two readings"
    if not facts.tally.complete:
        return facts.tally.detail or "not all files of this API server's lifetime are there any more"
    if facts.tally.by_clock and facts.clock_stepped:
        return "the clock was set since the API server started, so its first line cannot be told by its time"
    return ""


def _whole(text: str) -> int | None:
    """A counter's value: a whole number, perhaps in Go's exponent form ("1.234567e+06")."""
    try:
        value = float(text)
    except ValueError:
        return None
    return int(value) if value.is_integer() else None


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"
