"""What a short-lived child process is asked to find out, what it answers, and both as JSON for the pipes between."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from kauditd.core.canary import Canary, CanaryAnswer, Route
from kauditd.core.counters import Counters, CountersAnswer
from kauditd.core.credentials import Credentials, dump_credentials, load_credentials
from kauditd.core.observed import HealthFacts
from kauditd.core.typed import get_bool, get_float, get_int, get_list, get_mapping, get_str
from kauditd.errors import KauditError


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Health, a canary and the counters of one API server, each if wanted. ``credentials`` are for the counters."""

    address: str
    port: int
    timeout_s: float
    health: bool = True
    canary: Canary | None = None
    counters: bool = False
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What was wanted; None for what was not."""

    health: HealthFacts | None = None
    canary: CanaryAnswer | None = None
    counters: CountersAnswer | None = None


def dump_question(question: Question) -> bytes:
    """One line of JSON, secrets included: for a pipe, never for an argument or a file."""
    value = {
        "address": question.address,
        "port": question.port,
        "timeout_s": question.timeout_s,
        "health": question.health,
        "canary": None if question.canary is None else asdict(question.canary),
        "counters": question.counters,
        "credentials": None if question.credentials is None else dump_credentials(question.credentials),
    }
    return json.dumps(value).encode("ascii") + b"\n"


def load_question(text: bytes) -> Question:
    """The inverse of ``dump_question``. Raises KauditError or ValueError where it is none."""
    value, where = _mapping(text), "the question"
    credentials, canary = value.get("credentials"), value.get("canary")
    return Question(
        address=get_str(value, "address", where=where),
        port=get_int(value, "port", where=where),
        timeout_s=get_float(value, "timeout_s", where=where),
        health=get_bool(value, "health", where=where),
        canary=None if canary is None else _load_canary(get_mapping(value, "canary", where=where)),
        counters=get_bool(value, "counters", where=where),
        credentials=None if credentials is None else load_credentials(get_mapping(value, "credentials", where=where)),
    )


def dump_answers(answers: Answers) -> str:
    """One line of JSON."""
    parts = {"health": answers.health, "canary": answers.canary, "counters": answers.counters}
    fields = ("livez", "readyz", "detail")
    value: dict[str, object] = {
        # A subclass of HealthFacts is sent as what it tells.
        name: None if part is None else {f: getattr(part, f) for f in fields} if name == "health" else asdict(part)
        for name, part in parts.items()
    }
    return json.dumps(value) + "\n"


def load_answers(text: bytes) -> Answers:
    """The inverse of ``dump_answers``. Raises KauditError or ValueError where it is none."""
    value = _mapping(text)
    health, canary, counters = (value.get(name) for name in ("health", "canary", "counters"))
    return Answers(
        health=None if health is None else _load_health(get_mapping(value, "health", where="the answers")),
        canary=None if canary is None else _load_canary_answer(get_mapping(value, "canary", where="the answers")),
        counters=None if counters is None else _load_counters(get_mapping(value, "counters", where="the answers")),
    )


def _mapping(text: bytes) -> Mapping[str, object]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise KauditError("cannot read a line of JSON: it is not an object")
    return value


def _load_canary(value: Mapping[str, object]) -> Canary:
    where = "the canary"
    return Canary(
        route=Route(get_str(value, "route", where=where)),
        audit_id=get_str(value, "audit_id", where=where),
        uri=get_str(value, "uri", where=where),
    )


def _load_health(value: Mapping[str, object]) -> HealthFacts:
    return HealthFacts(
        livez=_status(value, "livez"), readyz=_status(value, "readyz"), detail=get_str(value, "detail", where="health")
    )


def _load_canary_answer(value: Mapping[str, object]) -> CanaryAnswer:
    where = "the canary's answer"
    return CanaryAnswer(
        status=_status(value, "status"),
        echoed_id=get_str(value, "echoed_id", where=where),
        asked_unix_s=get_float(value, "asked_unix_s", where=where),
        answered_unix_s=get_float(value, "answered_unix_s", where=where),
        duration_ms=get_float(value, "duration_ms", where=where),
        refused=get_bool(value, "refused", where=where),
        detail=get_str(value, "detail", where=where),
    )


def _load_counters(value: Mapping[str, object]) -> CountersAnswer:
    where = "the counters"
    counters = None
    if value.get("counters") is not None:
        read = get_mapping(value, "counters", where=where)
        counters = Counters(
            events=get_int(read, "events", where=where),
            errors=_pairs(read, "errors"),
            levels=_pairs(read, "levels"),
            rejected=get_int(read, "rejected", where=where),
        )
    return CountersAnswer(
        status=_status(value, "status"),
        counters=counters,
        asked_unix_s=get_float(value, "asked_unix_s", where=where),
        answered_unix_s=get_float(value, "answered_unix_s", where=where),
        detail=get_str(value, "detail", where=where),
    )


def _status(value: Mapping[str, object], key: str) -> int | None:
    return None if value.get(key) is None else get_int(value, key, where="an answer")


def _pairs(value: Mapping[str, object], key: str) -> tuple[tuple[str, int], ...]:
    pairs: list[tuple[str, int]] = []
    for pair in get_list(value, key, where="the counters"):
        match pair:
            case [str(name), int(count)]:
                pairs.append((name, count))
            case _:
                raise KauditError(f"cannot read {key} in the counters: expected pairs of name and number")
    return tuple(pairs)
