"""What an operator may ask for: apply, rollback, disable, pause, resume. Run in the engine's worker thread."""

import logging
from dataclasses import replace

from kauditd.core.model import Change, ManifestFile, Reason
from kauditd.core.observed import Observed
from kauditd.core.plan import make_plan
from kauditd.engine.guard import Guard
from kauditd.engine.removal import without_our_lines
from kauditd.engine.state import FOREVER_UNIX_S
from kauditd.errors import ManifestRefused, Refused

logger = logging.getLogger(__name__)


class Commands:
    """Each command changes the standing first and durably, so that a crash in between obeys the operator too."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._space = guard.space

    def apply(self) -> Change | None:
        """Carry out the plan now. Ends pause and disable, forgets bad targets and the back-off of a contest.

        None where nothing differs. Raises ``errors.Refused`` with the first hold where it must not be done now.
        """
        space = self._space
        space.standing = replace(
            space.standing,
            paused_until_unix_s=None,
            disabled=False,
            bad_targets={},
            contest=replace(space.standing.contest, until_unix_s=0.0),
        )
        self._guard.save()
        observed = self._guard.look()
        self._refuse_unreadable(observed)
        plan = make_plan(observed)
        if not plan.steps:
            return None
        holds = self._guard.holds(observed, plan)
        if holds:
            raise _refused("apply", holds)
        change = self._guard.carry_out(plan, observed, cause="apply")
        self._raise_fault()
        if change is None and plan.edited is not None:
            raise Refused("cannot apply: somebody else wrote the manifest at the same moment", hint="try again")
        return change

    def disable(self) -> Change | None:
        """Take our lines out and stay out until ``apply``. None where there are none. Raises ``errors.Refused``."""
        observed = self._guard.look()
        manifest = self._writable("disable", observed)
        self._set_standing(disabled=True)
        text = self.without_our_lines(manifest)
        self._space.forget_compliance()
        if text == manifest.content:
            self._space.seen = manifest.id
            return None
        summary = "take our lines out of the manifest"
        return self._guard.writer.write(manifest, text, cause="disable", summary=summary, desired=None)

    def rollback(self) -> Change | None:
        """Write the manifest that was live before the last change, then hold until ``apply`` or ``resume``.

        None where no change ever wrote. Raises ``errors.Refused`` where that manifest is no longer kept.
        """
        space = self._space
        observed = self._guard.look()
        manifest = self._writable("rollback", observed)
        last = space.changes.last_written()
        if last is None:
            return None
        content = space.memory.load_manifest(last.before)
        if content is None:
            text = f"the manifest before change {last.id} is no longer kept"
            raise Refused(f"cannot roll back: {text}", hint="kauditctl disable takes our lines out instead")
        self._set_standing(paused_until_unix_s=FOREVER_UNIX_S)
        space.forget_compliance()
        if content == manifest.content:
            return None
        summary = f"write the manifest that was live before change {last.id}"
        return self._guard.writer.write(manifest, content, cause="rollback", summary=summary, desired=None)

    def pause(self, duration_s: float | None) -> None:
        """Write nothing for ``duration_s``, or until ``resume``."""
        until = FOREVER_UNIX_S if duration_s is None else self._space.node.now_unix_s() + duration_s
        self._set_standing(paused_until_unix_s=until)

    def resume(self) -> None:
        """End a pause."""
        self._set_standing(paused_until_unix_s=None)

    def _set_standing(self, *, paused_until_unix_s: float | None = None, disabled: bool | None = None) -> None:
        standing = self._space.standing
        self._space.standing = replace(
            standing,
            paused_until_unix_s=paused_until_unix_s if disabled is None else standing.paused_until_unix_s,
            disabled=standing.disabled if disabled is None else disabled,
        )
        self._guard.save()

    def without_our_lines(self, manifest: ManifestFile) -> bytes:
        """What ``disable`` would write. Raises ``errors.Refused`` where it is not clear whose lines they are."""
        last = self._space.changes.last_written()
        newest = None if last is None else last.after
        try:
            return without_our_lines(manifest.content or b"", manifest.digest, self._space.memory, newest=newest)
        except ManifestRefused as exc:
            text = f"cannot take our lines out of {manifest.path}: {exc.message}"
            raise Refused(text, hint=exc.hint or "edit the manifest by hand") from exc

    def _writable(self, verb: str, observed: Observed) -> ManifestFile:
        if self._space.wishes.settings.mode == "observe":
            raise Refused(f"cannot {verb}: settings say mode: observe, so nothing is written", hint="set mode: enforce")
        if observed.manifest.content is None:
            cause = observed.manifest.fault or "there is none"
            raise Refused(f"cannot {verb}: the manifest cannot be read: {cause}", hint="kauditctl doctor")
        return observed.manifest

    def _refuse_unreadable(self, observed: Observed) -> None:
        if observed.refusal is not None:
            refusal = observed.refusal
            raise Refused(f"cannot apply: {observed.manifest.path}: {refusal.text}", hint=refusal.hint)
        if observed.manifest.content is None:
            cause = observed.manifest.fault or "there is none yet"
            raise Refused(f"cannot apply: no manifest to edit: {cause}", hint="kauditctl status")

    def _raise_fault(self) -> None:
        for trouble in self._guard.writer.troubles():
            if trouble.code == "write-failed":
                raise Refused(trouble.text, hint=trouble.hint)


def _refused(verb: str, holds: list[Reason]) -> Refused:
    return Refused(f"cannot {verb}: {holds[0].text}", hint=holds[0].hint)
