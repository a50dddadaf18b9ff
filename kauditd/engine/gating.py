"""The gate of the open change, from look to look, and what follows when it passes or fails."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from kauditd.core.gate import Deadlines, Failed, GateState, Passed, Waiting, begin, judge
from kauditd.core.model import Change, Desired, Digest, Outcome
from kauditd.core.observed import Observed
from kauditd.engine.workspace import Workspace

logger = logging.getLogger(__name__)

NOTHING_ASKED = Desired(flags=(), mounts=())
"""What a manifest asks for after ``disable`` or a way back: health alone is judged then."""

_BY_HAND = ("disable", "rollback")


class Gating:
    """At most one gate is open. A change that fails is taken back inside the same change, with health as its demand."""

    def __init__(self, workspace: Workspace, save: Callable[[], None]) -> None:
        self._space = workspace
        self._save = save
        self._state: GateState | None = None
        self._desired: Desired = NOTHING_ASKED
        self._wished: Desired | None = None
        self._taking_back = ""
        self._owed = ""
        self._image = ""
        self._resumed = False
        self.text = ""

    def open(self, change: Change, desired: Desired | None, *, same_pod: bool = False) -> None:
        """Start the gate of a change that has just been written; None = nothing of ours is asked."""
        self._desired, self._wished = desired or NOTHING_ASKED, self._space.wishes.desired()
        self._taking_back, self._owed, self._resumed = "", "", False
        self._state = replace(self._fresh_state(change.started_unix_s), same_pod=same_pod)
        self.text = "just written"

    def resume(self, change: Change, current: Digest | None) -> None:
        """Go on with the gate of a change that an earlier run wrote; its clock starts again.

        ``current`` is the manifest's digest: it tells whether an earlier way back was written or only begun. One
        that was only begun is finished at the first look.
        """
        taken_back = next((e.detail for e in reversed(change.events) if e.what == "taken-back"), "")
        self._taking_back = taken_back if current == change.before else ""
        self._owed = "" if self._taking_back else taken_back
        self._desired, self._resumed = NOTHING_ASKED, True
        self._state = begin(change.started_unix_s, ())
        self.text = "resumed after a restart of kauditd"

    def follow(self, observed: Observed, write_back: Callable[[Change], bool]) -> None:
        """One look at the open change; ``write_back`` undoes it where it fails."""
        changes = self._space.changes
        change = changes.open()
        if change is None or self._state is None:
            self._state = None
            return
        if observed.manifest.digest is not None and not self._in_place(change, observed):
            reason = "somebody else wrote the manifest"
            changes.finish(change.id, Outcome.SUPERSEDED, at_unix_s=observed.at_unix_s, reason=reason)
            self._state = None
            return
        if observed.view is not None:
            self._image = observed.view.image
        if self._owed:
            self._take_back(change, self._owed, observed.at_unix_s, write_back)
            return
        if self._resumed and observed.manifest.digest is None:
            self.text = "the manifest cannot be read now"
            return
        self._judge(change, observed, self._known_state(change, observed), write_back)

    def _known_state(self, change: Change, observed: Observed) -> GateState:
        """The state so far. After a resume, who runs is known only now: who started before the write is the old one."""
        if self._state is None or self._resumed:
            self._resumed = False
            self._desired = self._asked_by(change, observed)
            return begin(change.started_unix_s, observed.processes)
        return self._state

    def _judge(
        self, change: Change, observed: Observed, state: GateState, write_back: Callable[[Change], bool]
    ) -> None:
        proof = self._space.wishes.settings.proof
        deadlines = Deadlines(gate_s=proof.gate_s, overlap_s=proof.overlap_s)
        result = judge(state, self._desired, observed, deadlines)
        if result.state.phase is not state.phase:
            self._space.changes.note(change.id, result.state.phase, at_unix_s=observed.at_unix_s, detail=result.text)
        self._state, self.text = result.state, result.text
        match result:
            case Waiting():
                return
            case Passed():
                self._pass(change, result, observed.at_unix_s)
            case Failed():
                self._fail(change, result, observed, write_back)
            case _:
                assert_never(result)

    def _in_place(self, change: Change, observed: Observed) -> bool:
        return observed.manifest.digest == (change.before if self._taking_back else change.after)

    def _pass(self, change: Change, result: Passed, now: float) -> None:
        self._state = None
        if self._taking_back:
            self._end(change, Outcome.ROLLED_BACK, f"{self._taking_back}; after the way back {result.text}", now)
            return
        self._end(change, Outcome.PROVEN if result.proven else Outcome.UNPROVEN, result.text, now)

    def _fail(self, change: Change, result: Failed, observed: Observed, write_back: Callable[[Change], bool]) -> None:
        now = observed.at_unix_s
        if self._taking_back:
            self._state = None
            self._end(change, Outcome.ROLLED_BACK, f"{self._taking_back}; after the way back {result.text}", now)
            return
        space = self._space
        reason = f"{result.code}: {result.text}"
        if change.cause not in _BY_HAND and result.blames_target:
            key = space.target_key(self._wished, self._image)
            space.standing = replace(space.standing, bad_targets={**space.standing.bad_targets, key: reason})
            self._save()  # before the way back begins: a crash in it must not lead to a second try
        for word in space.surroundings.kubelet_words:
            space.changes.note(change.id, "kubelet-said", at_unix_s=now, detail=f"{word.sentence} ({word.line})")
        if result.remedy:
            space.changes.note(change.id, "remedy", at_unix_s=now, detail=result.remedy)
        space.changes.note(change.id, "taken-back", at_unix_s=now, detail=reason, sync=True)
        logger.error("Change %d did not prove itself (%s); the manifest before it goes back", change.id, reason)
        self._take_back(change, reason, now, write_back)

    def _take_back(self, change: Change, reason: str, now: float, write_back: Callable[[Change], bool]) -> None:
        """Write the manifest before ``change`` back, or owe it until the next look."""
        self._owed = reason
        if write_back(change):
            self._taking_back, self._owed, self._resumed = reason, "", False
            self._desired, self._state = NOTHING_ASKED, self._fresh_state(now)
            return
        self.text = f"{reason}; the manifest before it could not be written back yet"
        if self._space.changes.open() is None:
            self._state, self._owed = None, ""

    def _asked_by(self, change: Change, observed: Observed) -> Desired:
        """What the manifest of a resumed change asks for: settings or policy may be others by now."""
        if change.cause in _BY_HAND or self._taking_back or observed.view is None:
            return NOTHING_ASKED
        view, wished = observed.view, self._space.asked
        if wished is not None and all(view.flag(f.name) == f.value for f in wished.flags):
            self._wished = self._space.wishes.desired()
            return wished
        self._wished = Desired(flags=view.audit_flags, mounts=())
        return self._wished

    def _end(self, change: Change, outcome: Outcome, reason: str, now: float) -> None:
        self._space.changes.finish(change.id, outcome, at_unix_s=now, reason=reason)
        logger.info("Change %d ended as %s: %s", change.id, outcome, reason)

    def _fresh_state(self, written_unix_s: float) -> GateState:
        observed = self._space.observed
        return begin(written_unix_s, observed.processes if observed is not None else ())
