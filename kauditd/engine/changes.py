"""The changes: begun in the journal before the manifest is touched, told event by event, ended once.

After a crash the journal and the manifest's digest say together what became of the open change.

Only an intent must be on disk before anything else happens. An event or an outcome that the disk refuses is kept
and written later: what has happened has happened, and a full disk must neither stop a way back nor leave a change
open for ever.
"""

from dataclasses import replace

from kauditd.core.history import (
    Record,
    Recovery,
    abandoned,
    event_record,
    fold,
    intent_record,
    next_id,
    open_change,
    outcome_record,
    recover,
)
from kauditd.core.model import Change, ChangeEvent, Digest, Outcome
from kauditd.engine.ports import Memory
from kauditd.errors import FileFault

_SHOWN = 100
_KEPT = 200


class ChangeLog:
    """All changes known, at most one of them open. Owned by the engine's worker thread."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._changes: dict[int, Change] = {}
        self._next_id = 1
        self._owed: list[Record] = []
        self.fault: FileFault | None = None

    def load(self, now_unix_s: float) -> None:
        """Read the journal; open changes that a later one overtook are closed as superseded."""
        known = fold(self._memory.load_journal())
        self._changes = {c.id: c for c in known}
        self._next_id = next_id(known)
        for change in abandoned(known):
            self.finish(change.id, Outcome.SUPERSEDED, at_unix_s=now_unix_s, reason="a later change took its place")

    def recent(self) -> tuple[Change, ...]:
        """The newest changes, oldest first."""
        return tuple(list(self._changes.values())[-_SHOWN:])

    def get(self, change_id: int) -> Change | None:
        """The change with this id, or None."""
        return self._changes.get(change_id)

    def open(self) -> Change | None:
        """The change inside its gate, or None."""
        newest = next(reversed(self._changes.values()), None)
        return newest if newest is not None and newest.outcome is Outcome.OPEN else open_change(self.recent())

    def last_written(self) -> Change | None:
        """The newest change whose manifest was in place, open or not."""
        return next((c for c in reversed(self._changes.values()) if c.outcome is not Outcome.REFUSED), None)

    def begin(
        self, *, cause: str, target: str, summary: str, before: Digest, after: Digest, at_unix_s: float
    ) -> Change:
        """A new open change, on disk when this returns. An open one is superseded by it, but not before.

        Raises ``errors.FileFault`` where the intent cannot be made durable; nothing has begun then.
        """
        current = self.open()
        change = Change(
            id=self._next_id,
            cause=cause,
            target=target,
            summary=summary,
            before=before,
            after=after,
            started_unix_s=at_unix_s,
        )
        self._pay()
        self._memory.append(intent_record(change), sync=True)
        self._next_id += 1
        if current is not None:
            self.finish(current.id, Outcome.SUPERSEDED, at_unix_s=at_unix_s, reason="the manifest was written anew")
        self._changes[change.id] = change
        while len(self._changes) > _KEPT:
            del self._changes[next(iter(self._changes))]
        return change

    def note(self, change_id: int, what: str, *, at_unix_s: float, detail: str = "", sync: bool = False) -> None:
        """Add a line to the timeline of a change; on disk when this returns if ``sync``, unless ``fault`` says why."""
        event = ChangeEvent(at_unix_s=at_unix_s, what=what, detail=detail)
        self._append(event_record(change_id, event), sync=sync)
        change = self._changes[change_id]
        self._changes[change_id] = replace(change, events=(*change.events, event))

    def finish(self, change_id: int, outcome: Outcome, *, at_unix_s: float, reason: str = "") -> Change:
        """End a change, durably unless ``fault`` says why not."""
        record = outcome_record(change_id, outcome, finished_unix_s=at_unix_s, reason=reason)
        # A superseded change leads nowhere: losing its outcome costs nothing, waiting for the disk would cost a repair.
        self._append(record, sync=outcome is not Outcome.SUPERSEDED)
        ended = replace(self._changes[change_id], outcome=outcome, finished_unix_s=at_unix_s, reason=reason)
        self._changes[change_id] = ended
        return ended

    def settle(self) -> None:
        """Write what the disk refused before; called once per cycle."""
        try:
            self._pay()
        except FileFault as fault:
            self.fault = fault

    def _append(self, record: Record, *, sync: bool) -> None:
        try:
            self._pay()
            self._memory.append(record, sync=sync)
        except FileFault as fault:
            self._owed.append(record)
            self.fault = fault

    def _pay(self) -> None:
        """Append the records owed, in order. Raises ``errors.FileFault``."""
        while self._owed:
            self._memory.append(self._owed[0], sync=True)
            del self._owed[0]
        self.fault = None

    def recover(self, current: Digest | None, *, at_unix_s: float) -> Change | None:
        """After a start: what became of the open change. Returned where it is written and must go on at its gate."""
        change = self.open()
        if change is None:
            return None
        found = recover(change, current)
        if found is Recovery.NOT_WRITTEN and any(e.what == "taken-back" for e in change.events):
            found = Recovery.WRITTEN  # the way back was written; its gate is still open
        match found:
            case Recovery.WRITTEN:
                self.note(change.id, "resumed", at_unix_s=at_unix_s, detail="kauditd started inside the gate")
                return change
            case Recovery.NOT_WRITTEN:
                reason = "kauditd ended before the manifest was written"
                self.finish(change.id, Outcome.REFUSED, at_unix_s=at_unix_s, reason=reason)
            case Recovery.SUPERSEDED:
                reason = "somebody else wrote the manifest while kauditd was down"
                self.finish(change.id, Outcome.SUPERSEDED, at_unix_s=at_unix_s, reason=reason)
            case Recovery.UNCLEAR:
                return change
        return None
