"""The canary: a request that nobody else could have sent, and how its event is recognised in the log.

The API server takes the header ``Audit-ID`` verbatim into every event of the request and echoes it (k8s.io/apiserver
pkg/endpoints/filters/audit_init.go). Ids are chosen by clients, so an id alone proves little: it must be unguessable,
and the event must carry the URI that was asked for and lie in the time in which it was asked.
"""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from kauditd.core.generations import Position

RANDOM_BYTES = 24
"""How many random bytes one canary takes: 16 for the id, 8 for the query."""

AUDITED_STATUSES = frozenset({200, 401, 403, 404})
"""Answers that come from behind the audit filter (pkg/server/config.go, ``DefaultBuildHandlerChain``).

503 and 429 may come from the shutdown and drain filters, which answer before it; a 504 leaves its event when the
inner handler ends, perhaps never; a 400 may come from Go's HTTP server.
"""

EARLY_S, LATE_S = 2.0, 10.0
"""How far an event's time may lie outside of question and answer: the same clock, but clocks are slewed."""

_EVENT_START = b'{"kind":"Event","apiVersion":"audit.k8s.io/'
_LINE_LIMIT_BYTES = 1 << 16
_LEGACY = re.compile(r'(\S+) AUDIT: id="([^"]*)" stage="(\w*)" .* uri="([^"]*)" response="([^"]*)"')


class Route(StrEnum):
    """What may be asked for, the path of our own first; the others are for a policy that hides that."""

    OWN = "/kauditd-canary"
    VERSION = "/version"
    RESOURCE = "/api/v1/namespaces/default/secrets/kauditd-canary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One request to come: ``uri`` is path and query, ``audit_id`` the header's value. Used once."""

    route: Route
    audit_id: str
    uri: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryAnswer:
    """What came back. ``status`` None: no answer, ``detail`` says why. ``echoed_id`` is the answer's ``Audit-ID``.

    ``refused``: the API server itself said that it could not store the event (``--audit-log-mode=blocking-strict``).
    """

    status: int | None
    echoed_id: str = ""
    asked_unix_s: float
    answered_unix_s: float
    duration_ms: float = 0.0
    refused: bool = False
    detail: str = ""

    @property
    def timeframe(self) -> "Timeframe":
        """The time in which its event lies."""
        return Timeframe(not_before_unix_s=self.asked_unix_s - EARLY_S, not_after_unix_s=self.answered_unix_s + LATE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeframe:
    """A span of wall-clock time, both ends included."""

    not_before_unix_s: float
    not_after_unix_s: float

    def holds(self, unix_s: float) -> bool:
        """Whether ``unix_s`` lies inside."""
        return self.not_before_unix_s <= unix_s <= self.not_after_unix_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What one line says of the request. ``glued``: the line begins with the torn rest of another event."""

    audit_id: str
    uri: str
    stage: str
    level: str
    code: int | None
    received_unix_s: float
    stage_unix_s: float
    glued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The event in the file: ``position`` is where its line begins (in a compressed file: in what it expands to).

    ``latency_s`` is the time from the question until the line was seen here: an upper bound, for it was looked for
    in steps.
    """

    event: Event
    file: str
    position: Position
    length_bytes: int
    latency_s: float


def compose(random: bytes, *, route: Route = Route.OWN) -> Canary:
    """A canary from ``RANDOM_BYTES`` fresh random bytes. Raises ValueError where there are fewer."""
    if len(random) < RANDOM_BYTES:
        raise ValueError(f"a canary takes {RANDOM_BYTES} random bytes")
    return Canary(route=route, audit_id=f"kauditd-{random[:16].hex()}", uri=f"{route}?n={random[16:24].hex()}")


def match_line(line: bytes, canary: Canary, timeframe: Timeframe) -> Event | None:
    """The event of ``canary`` in one line (without its newline), or None where it is any other.

    A write that failed half-way (ENOSPC) leaves a torn line, and the next event continues it: such an event counts.
    """
    if canary.audit_id.encode() not in line:
        return None
    event = _decode(line)
    if event is None and (start := line.rfind(_EVENT_START)) > 0:
        event = _decode(line[start:], glued=True)
    if event is None or event.audit_id != canary.audit_id or event.uri != canary.uri:
        return None
    return event if timeframe.holds(event.received_unix_s) and timeframe.holds(event.stage_unix_s) else None


def unix_s(text: object) -> float | None:
    """An event's timestamp (RFC 3339 in UTC) in seconds, or None where it is none."""
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else moment.timestamp()


def _decode(line: bytes, *, glued: bool = False) -> Event | None:
    if len(line) > _LINE_LIMIT_BYTES:
        return None
    if not line.startswith(b"{"):
        return _decode_legacy(line.decode("utf-8", "replace"))
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    match value:
        case {"auditID": str(audit_id), "requestURI": str(uri), "stage": str(stage), "level": str(level)}:
            received, staged = unix_s(value.get("requestReceivedTimestamp")), unix_s(value.get("stageTimestamp"))
        case _:
            return None
    if received is None or staged is None:
        return None
    match value.get("responseStatus"):
        case {"code": int(number)}:
            code: int | None = number
        case _:
            code = None
    return Event(
        audit_id=audit_id,
        uri=uri,
        stage=stage,
        level=level,
        code=code,
        received_unix_s=received,
        stage_unix_s=staged,
        glued=glued,
    )


def _decode_legacy(text: str) -> Event | None:
    """A line of ``--audit-log-format=legacy`` (pkg/audit/format.go): one time, no level."""
    found = _LEGACY.fullmatch(text)
    if found is None:
        return None
    when, audit_id, stage, uri, response = found.groups()
    moment = unix_s(when)
    if moment is None:
        return None
    code = int(response) if response.isascii() and response.isdigit() else None
    return Event(
        audit_id=audit_id, uri=uri, stage=stage, level="", code=code, received_unix_s=moment, stage_unix_s=moment
    )
