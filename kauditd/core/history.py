"""The journal of changes as values: records to changes and back, and what a record means after a crash.

A change is an ``intent`` (on disk before the manifest is touched), any number of ``event`` records and one
``outcome``. Records are plain dictionaries with ``v`` (version) and ``type``; those of another type or a newer
version are kept in the file and ignored here, so that an older kauditd does not lose what a newer one wrote.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import TypeAlias

from kauditd.core.model import Change, ChangeEvent, Digest, Outcome

VERSION = 1

Record: TypeAlias = dict[str, object]


class Recovery(StrEnum):
    """What became of a change whose intent has no outcome.

    ``not-written``: the manifest is still the old one, there is nothing to undo. ``written``: the new one is in
    place, go on at the gate. ``superseded``: somebody else has written since, look at the world afresh.
    ``unclear``: the manifest cannot be read now, keep the change open.
    """

    NOT_WRITTEN = "not-written"
    WRITTEN = "written"
    SUPERSEDED = "superseded"
    UNCLEAR = "unclear"


def intent_record(change: Change, *, boot_id: str = "") -> Record:
    """What must be on disk before the rename. ``boot_id`` is /proc/sys/kernel/random/boot_id, "" if not known."""
    record: Record = {
        "v": VERSION,
        "type": "intent",
        "id": change.id,
        "cause": change.cause,
        "target": change.target,
        "before": change.before,
        "after": change.after,
        "summary": change.summary,
        "started": change.started_unix_s,
    }
    if boot_id:
        record["boot_id"] = boot_id
    return record


def event_record(change_id: int, event: ChangeEvent) -> Record:
    """One line of a change's timeline."""
    return {
        "v": VERSION,
        "type": "event",
        "id": change_id,
        "at": event.at_unix_s,
        "what": event.what,
        "detail": event.detail,
    }


def outcome_record(change_id: int, outcome: Outcome, *, finished_unix_s: float, reason: str = "") -> Record:
    """How a change ended; the last outcome of a change counts."""
    return {
        "v": VERSION,
        "type": "outcome",
        "id": change_id,
        "outcome": outcome.value,
        "finished": finished_unix_s,
        "reason": reason,
    }


def fold(records: Iterable[Mapping[str, object]]) -> tuple[Change, ...]:
    """The changes that ``records`` tell of, by rising id.

    An event or outcome without its intent is ignored, like a record that lacks a field. An intent that names the
    id of an open change starts that change over (its events stay); a finished change is never started over.
    """
    changes: dict[int, Change] = {}
    for record in records:
        change = _next(changes, record)
        if change is not None:
            changes[change.id] = change
    return tuple(changes[number] for number in sorted(changes))


def open_change(changes: Iterable[Change]) -> Change | None:
    """The newest change that is still open, or None."""
    return max((c for c in changes if c.outcome is Outcome.OPEN), key=lambda c: c.id, default=None)


def abandoned(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Open changes that a newer change has overtaken: a crash kept their outcome from the journal."""
    known = tuple(changes)
    newest = max((c.id for c in known), default=0)
    return tuple(c for c in known if c.outcome is Outcome.OPEN and c.id < newest)


def next_id(changes: Iterable[Change]) -> int:
    """The id for a new change; ids start at 1 and are never used twice."""
    return max((c.id for c in changes), default=0) + 1


def boot_id(records: Iterable[Mapping[str, object]], change_id: int) -> str:
    """The boot in which change ``change_id`` was begun, "" if not known. Another boot now: it was no mere crash."""
    found = ""
    for record in records:
        match record:
            case {"type": "intent", "id": int(number), "boot_id": str(text)} if number == change_id:
                found = text
            case _:
                pass
    return found


def recover(intent: Change, current: Digest | None) -> Recovery:
    """What became of ``intent``, given the manifest's digest now (None: missing or not readable)."""
    if current is None:
        return Recovery.UNCLEAR
    if current == intent.after:
        return Recovery.WRITTEN
    return Recovery.NOT_WRITTEN if current == intent.before else Recovery.SUPERSEDED


def compact(records: Iterable[Record], *, keep_changes: int) -> tuple[Record, ...]:
    """The records of the newest ``keep_changes`` changes and of every open one, in order.

    Records that belong to no known change (other types, newer versions) are kept: they are not ours to drop.
    """
    known = tuple(records)
    changes = fold(known)
    newest = {c.id for c in changes[max(0, len(changes) - keep_changes) :]}
    dropped = {c.id for c in changes if c.id not in newest and c.outcome is not Outcome.OPEN}
    return tuple(r for r in known if _number(r) not in dropped)


def _is_ours(record: Mapping[str, object]) -> bool:
    return record.get("v") == VERSION and record.get("type") in ("intent", "event", "outcome")


def _number(record: Mapping[str, object]) -> int:
    """The id of the change that a record of ours belongs to, 0 for every other record."""
    number = record.get("id")
    return number if _is_ours(record) and type(number) is int else 0


def _next(changes: Mapping[int, Change], record: Mapping[str, object]) -> Change | None:
    """The change that ``record`` leads to, or None where it says nothing."""
    number = _number(record)
    if number < 1:
        return None
    known = changes.get(number)
    if record["type"] == "intent":
        return _begun(record, number, known)
    if known is None:
        return None
    return _noted(record, known) if record["type"] == "event" else _ended(record, known)


def _begun(record: Mapping[str, object], number: int, known: Change | None) -> Change | None:
    if known is not None and known.outcome is not Outcome.OPEN:
        return None
    match record:
        case {
            "cause": str(cause),
            "target": str(target),
            "before": str(before),
            "after": str(after),
            "summary": str(summary),
            "started": int() | float() as started,
        }:
            return Change(
                id=number,
                cause=cause,
                target=target,
                summary=summary,
                before=Digest(before),
                after=Digest(after),
                started_unix_s=float(started),
                events=known.events if known is not None else (),
            )
        case _:
            return None


def _noted(record: Mapping[str, object], known: Change) -> Change | None:
    match record:
        case {"at": int() | float() as at, "what": str(what), "detail": str(detail)}:
            event = ChangeEvent(at_unix_s=float(at), what=what, detail=detail)
            return replace(known, events=(*known.events, event))
        case _:
            return None


def _ended(record: Mapping[str, object], known: Change) -> Change | None:
    match record:
        case {"outcome": str(outcome), "finished": int() | float() as finished, "reason": str(reason)}:
            if outcome not in Outcome.__members__.values() or outcome == Outcome.OPEN:
                return None
            return replace(known, outcome=Outcome(outcome), finished_unix_s=float(finished), reason=reason)
        case _:
            return None
