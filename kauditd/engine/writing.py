"""The one place that writes a manifest: last-good copy and intent first, the replace protocol, then its gate."""

import logging
from dataclasses import replace

from kauditd.core.contest import note_rewrite
from kauditd.core.faults import RenamedFault
from kauditd.core.model import Change, Desired, EditRecord, FileId, ManifestFile, Outcome, Reason, Severity
from kauditd.engine.gating import Gating
from kauditd.engine.workspace import Workspace
from kauditd.errors import FileFault, LostUpdate

logger = logging.getLogger(__name__)

BY_HAND = frozenset({"apply", "disable", "rollback"})
"""Causes that an operator answers for; the limit of restarts is about what kauditd does by itself."""

_FAULT_PAUSES_S = (5.0, 10.0, 30.0, 60.0)


class Writer:
    """Writes manifests as journalled changes and remembers the last failure until a write succeeds."""

    def __init__(self, workspace: Workspace, gating: Gating) -> None:
        self._space = workspace
        self._gating = gating
        self._fault: FileFault | None = None
        self._fault_count = 0
        self._retry_unix_s = 0.0

    def write(
        self,
        manifest: ManifestFile,
        text: bytes,
        *,
        cause: str,
        summary: str,
        desired: Desired | None,
        record: EditRecord | None = None,
    ) -> Change:
        """Replace ``manifest`` by ``text`` as a new change and open its gate.

        ``desired`` is what the new manifest asks for (None: nothing of ours, as after ``disable``). Raises
        ``errors.FileFault`` (``errors.LostUpdate`` where somebody was faster) with the change ended as refused and
        the old file untouched.
        """
        space = self._space
        before, after = space.memory.save_manifest(manifest.content or b""), space.memory.save_manifest(text)
        if record is not None:
            space.memory.save_record(record)
        change = space.changes.begin(
            cause=cause,
            target=manifest.path,
            summary=summary,
            before=before,
            after=after,
            at_unix_s=space.node.now_unix_s(),
        )
        try:
            identity = self._replace(manifest, text, change)
        except FileFault as exc:
            space.changes.finish(change.id, Outcome.REFUSED, at_unix_s=space.node.now_unix_s(), reason=exc.message)
            raise
        self.note_success()
        same_pod = text == space.compliant
        space.seen, space.compliant = identity, None if desired is None else text
        if cause not in BY_HAND:
            self._count_rewrite()
        asked = None if desired is None else space.editing.asked(text, desired)
        self._gating.open(change, asked, same_pod=same_pod)
        logger.info("Change %d (%s): %s", change.id, cause, summary)
        return change

    def write_back(self, change: Change) -> bool:
        """Undo ``change`` by the same protocol; false where that is not done.

        The change is then ended where there is nothing to undo, and still open where it must be tried again: the
        manifest cannot be read just now, or the last write failed a moment ago.
        """
        space = self._space
        now = space.node.now_unix_s()
        manifest = space.node.read_manifest(space.path)
        if manifest.digest is None or self.holds(now):
            return False
        if manifest.digest != change.after:
            space.changes.finish(change.id, Outcome.SUPERSEDED, at_unix_s=now, reason="somebody else wrote since")
            return False
        content = space.memory.load_manifest(change.before)
        if content is None:
            reason = "it did not prove itself, and the manifest before it is no longer kept"
            space.changes.finish(change.id, Outcome.REFUSED, at_unix_s=now, reason=reason)
            return False
        try:
            identity = self._replace(manifest, content, change)
        except LostUpdate:
            return False  # the next look tells whose manifest it is now
        except FileFault as exc:
            space.changes.note(change.id, "write-back-failed", at_unix_s=now, detail=exc.message)
            self.note_fault(exc)
            return False
        self.note_success()
        space.seen = identity
        space.forget_compliance()
        self._count_rewrite()
        return True

    def _replace(self, manifest: ManifestFile, text: bytes, change: Change) -> FileId | None:
        """The rename itself. A fault after it does not undo it: it goes into the timeline, and the gate decides."""
        node = self._space.node
        try:
            return node.replace_manifest(manifest.path, text, expected=manifest)
        except RenamedFault as exc:
            self._space.changes.note(change.id, "renamed-with-fault", at_unix_s=node.now_unix_s(), detail=exc.message)
            logger.critical("%s", exc.message)
            return node.identify(manifest.path)

    def _count_rewrite(self) -> None:
        """Only writes that can restart an API server count against the limit of restarts."""
        space = self._space
        if space.observed is None or space.observed.anything_runs:
            contest = note_rewrite(space.standing.contest, space.node.now_unix_s())
            space.standing = replace(space.standing, contest=contest)

    def note_success(self) -> None:
        """What was written proves that writing works again."""
        self._fault, self._fault_count = None, 0

    def note_fault(self, fault: FileFault) -> None:
        """Remember a failed write; the next attempt waits longer each time."""
        pause_s = _FAULT_PAUSES_S[min(self._fault_count, len(_FAULT_PAUSES_S) - 1)]
        self._fault, self._fault_count = fault, self._fault_count + 1
        self._retry_unix_s = self._space.node.now_unix_s() + pause_s
        logger.error("%s", fault.message)

    def holds(self, now_unix_s: float) -> list[Reason]:
        """The pause after a failed write, as a hold."""
        if self._fault is None or now_unix_s >= self._retry_unix_s:
            return []
        text = f"the last write failed; the next attempt is in {self._retry_unix_s - now_unix_s:.0f} s"
        return [Reason(code="write-paused", severity=Severity.INFO, text=text, hint=self._fault.hint)]

    def troubles(self) -> list[Reason]:
        """The last failed write, until one succeeds; and what the journal or the state could not take."""
        kept = (("journal-behind", self._space.changes.fault), ("state-unsaved", self._space.state_fault))
        found = [Reason(code=c, severity=Severity.WARNING, text=f.message, hint=f.hint) for c, f in kept if f]
        if (fault := self._fault) is not None:
            reason = Reason(code="write-failed", severity=Severity.CRITICAL, text=fault.message, hint=fault.hint)
            found.insert(0, reason)
        return found
