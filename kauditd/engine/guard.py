"""The guard: one cycle observes, decides, acts and proves.

Synchronous and single-threaded by contract: the loop runs every method in the engine's one worker thread, so that a
repair, a cycle and a command never interleave.
"""

import logging

from kauditd.core.counters import CountResult, Mismatch
from kauditd.core.drift import flags_agree
from kauditd.core.layout import POLICY_DIR, parent
from kauditd.core.model import ApiServerProcess, Change, Outcome, Reason, Severity
from kauditd.core.observed import Observed
from kauditd.core.plan import Plan, make_plan
from kauditd.core.preconditions import consent_holds, first_edit_holds
from kauditd.core.trail import TrailState
from kauditd.engine.booking import Booking
from kauditd.engine.bookkeeping import Bookkeeper
from kauditd.engine.changes import ChangeLog
from kauditd.engine.editing import Editing
from kauditd.engine.gating import Gating
from kauditd.engine.observation import Observer
from kauditd.engine.ports import Memory, Node
from kauditd.engine.repair import Repairer, is_complete
from kauditd.engine.state import standing_from
from kauditd.engine.wishes import Wishes
from kauditd.engine.workspace import Surroundings, Workspace
from kauditd.engine.writing import Writer
from kauditd.errors import FileFault, LostUpdate, ManifestRefused

logger = logging.getLogger(__name__)

RESTART_HOLDS = frozenset({"contested", "restart-limit", "target-known-bad"})
"""Holds that limit restarts, which a policy file or a directory does not cause."""


class Guard:
    """Keeps one target in its desired state."""

    def __init__(self, node: Node, memory: Memory, settings_file: str, *, keeper: Bookkeeper | None = None) -> None:
        self.space = Workspace(
            node=node,
            memory=memory,
            wishes=Wishes(node, settings_file),
            changes=ChangeLog(memory),
            editing=Editing(memory),
        )
        self.gating = Gating(self.space, self.save)
        self.writer = Writer(self.space, self.gating)
        self.repairer = Repairer(self.space, self.writer)
        self.keeper = keeper
        self._booking = None if keeper is None else Booking(self.space, keeper)
        self._observer = Observer(node, self.space.editing)
        self._ready_for: object = None
        self._loaded_from: object = None
        self._saved: dict[str, object] | None = None

    def start(self) -> None:
        """Remember what an earlier run knew, and find out what became of its open change."""
        space = self.space
        state = space.memory.load_state()
        space.standing = standing_from(state)
        space.wishes.recall(state)
        space.changes.load(space.node.now_unix_s())
        self.reload()
        self._tidy()
        manifest = space.node.read_manifest(space.path)
        change = space.changes.recover(manifest.digest, at_unix_s=space.node.now_unix_s())
        if change is not None:
            self.gating.resume(change, manifest.digest)
        if self._booking is not None:
            self._booking.start()
        self.look()

    def _tidy(self) -> None:
        """Temporary files of a killed run go, and copies that no recent change needs.

        Published policies all stay: kubeadm-config may name one, it cannot be read without credentials, and an API
        server that is given a missing policy file does not start.
        """
        space = self.space
        if space.guards().mode == "observe":
            return
        for directory in (parent(space.path), POLICY_DIR):
            if swept := space.node.sweep(directory):
                logger.info("Removed what a killed run left in %s: %s", directory, ", ".join(swept))
        recent = space.changes.recent()[-20:]
        try:
            space.memory.retain(frozenset(d for c in recent for d in (c.before, c.after)))
        except FileFault as exc:
            logger.warning("%s", exc.message)

    def reload(self) -> None:
        """Read settings and policy again; what cannot be used leaves the last good ones in force."""
        wishes, path = self.space.wishes, self.space.path
        if wishes.load_settings():
            logger.info("Settings of %s are in force", wishes.settings_status().path)
        if self.space.path != path:
            self._turn_to_other_manifest()
        view = self.space.observed.view if self.space.observed is not None else None
        named = view.flag("audit-policy-file") if view is not None else self._named_policy()
        if wishes.load_policy(version=view.version if view is not None else "", named_path=named):
            policy = wishes.policy
            logger.info("Policy %s (%s) is in force", policy.path if policy is not None else "", wishes.policy_source)

    def _turn_to_other_manifest(self) -> None:
        """What was known of the manifest before says nothing of the one that the settings name now."""
        space = self.space
        space.seen, space.observed = None, None
        space.forget_compliance()
        if (change := space.changes.open()) is not None and change.target != space.path:
            reason = "the settings name another manifest"
            space.changes.finish(change.id, Outcome.SUPERSEDED, at_unix_s=space.node.now_unix_s(), reason=reason)

    def reload_if_touched(self, *, force: bool) -> bool:
        """``reload`` where the settings file or the policy source is another file than before; true if so."""
        wishes, node = self.space.wishes, self.space.node
        source = wishes.settings.policy.file
        observed = self.space.observed
        version = observed.view.version if observed is not None and observed.view is not None else ""
        now = (node.identify(wishes.file), None if source is None else node.identify(source), version)
        if not force and now == self._loaded_from:
            return False
        self._loaded_from = now
        self.reload()
        return True

    def _named_policy(self) -> str | None:
        content = self.space.node.read_manifest(self.space.path).content
        try:
            return None if content is None else self.space.editing.view(content).flag("audit-policy-file")
        except ManifestRefused:
            return None

    def repair_now(self) -> float | None:
        """The hot path, see ``repair``."""
        return self.repairer.repair()

    def cycle(self, surroundings: Surroundings) -> Observed:
        """Observe, decide, act, prove. Returns what was observed last."""
        space = self.space
        space.count("cycles_total")
        space.surroundings = surroundings
        repaired = space.counters.get("repairs_total", 0)
        self.repairer.repair()
        if space.counters.get("repairs_total", 0) > repaired:
            space.count("resync_found_drift_total")
        self.repairer.verify()
        observed = self.look()
        self.gating.follow(observed, self.writer.write_back)
        plan = make_plan(observed)
        if plan.steps and not self.holds(observed, plan):
            self.carry_out(plan, observed, cause=space.cause)
            observed = self.look()
            self.gating.follow(observed, self.writer.write_back)
        space.changes.settle()
        self._note_proof(observed)
        if self._booking is not None:
            self._booking.note(observed)
        self._make_ready(observed)
        self.save()
        return observed

    def assess(self, surroundings: Surroundings) -> Observed:
        """Observe and prove without acting."""
        self.space.surroundings = surroundings
        observed = self.look()
        self._note_proof(observed)
        return observed

    def look(self) -> Observed:
        """A fresh observation with the surroundings known last."""
        space = self.space
        manifest = space.node.read_manifest(space.path)
        observed = self._observer.observe(space.wishes, manifest, space.surroundings)
        space.observed = observed
        if observed.edited is not None and not observed.edited.edits:
            space.note_compliant(manifest)
        return observed

    def holds(self, observed: Observed, plan: Plan) -> list[Reason]:
        """Why ``plan`` is not carried out now; empty where it is."""
        guards, now = self.space.guards(), observed.at_unix_s
        holds = [*consent_holds(guards, now), *self.writer.holds(now)]
        if not plan.has("replace-manifest"):
            # A policy file that the live manifest names must be there, contest or not: nothing restarts for it.
            return [h for h in holds if h.code not in RESTART_HOLDS]
        if not is_complete(observed.manifest, now):
            text = "somebody is still writing the manifest"
            holds.append(Reason(code="manifest-unsettled", severity=Severity.INFO, text=text))
        if self.repairer.overwritten(observed.manifest):
            return holds
        if (change := self.space.changes.open()) is not None:
            text = f"change {change.id} is still inside its gate"
            holds.append(Reason(code="change-open", severity=Severity.INFO, text=text))
        return [*holds, *first_edit_holds(observed, guards)]

    def carry_out(self, plan: Plan, observed: Observed, *, cause: str) -> Change | None:
        """Do the steps in order; a fault ends the plan and is reported, never raised."""
        try:
            self._provide(plan, observed)
            if plan.edited is None:
                self.writer.note_success()
                return None
            if self.repairer.overwritten(observed.manifest):
                return self.repairer.write(observed.manifest, plan.edited)
            return self.writer.write(
                observed.manifest,
                plan.edited.text,
                cause=cause,
                summary=plan.summary,
                desired=self.space.wishes.desired(),
                record=plan.edited.record,
            )
        except LostUpdate:
            logger.info("Somebody wrote %s at the same moment; looking again", observed.manifest.path)
        except FileFault as exc:
            self.writer.note_fault(exc)
        return None

    def _provide(self, plan: Plan, observed: Observed) -> None:
        """What the API server needs at start, before the manifest names it."""
        space, policy = self.space, self.space.wishes.policy
        if plan.has("publish-policy") and policy is not None:
            space.node.publish_policy(policy.path, policy.text)
            logger.info("Published policy %s", policy.path)
        if plan.has("make-log-directory") and observed.log_directory is not None:
            view = observed.view
            space.node.make_log_directory(
                observed.log_directory.path,
                uid=None if view is None else view.run_as_user,
                gid=None if view is None else view.run_as_group,
            )

    def _note_proof(self, observed: Observed) -> None:
        """The last event seen of a process that carries every flag; of another process it says nothing."""
        space, process, desired, trail = self.space, observed.process, self.space.asked, observed.trail
        if space.balance_of != (None if process is None else process.pid):
            space.balance, space.balance_of = None, None
        if process is None or desired is None or not flags_agree(desired, process):
            space.proven_unix_s = space.evidence = None
        elif trail is not None and trail.speaks_of(process) and trail.state is not TrailState.OPEN:
            proven = trail.state is TrailState.PROVEN
            space.evidence = trail if proven else None
            space.proven_unix_s = trail.taken_unix_s if proven else None
        elif space.evidence is None or not space.evidence.speaks_of(process):
            space.proven_unix_s = space.evidence = None

    def note_balance(self, process: ApiServerProcess, result: CountResult) -> None:
        """What the counters of ``process`` said of its log; a mismatch stays until that process ends."""
        space = self.space
        if isinstance(space.balance, Mismatch) and not isinstance(result, Mismatch):
            return
        space.balance, space.balance_of = result, process.pid

    def _make_ready(self, observed: Observed) -> None:
        """Prepare the next repair while there is time: from the manifest as it was before our lines."""
        space = self.space
        desired, digest = space.wishes.desired(), observed.manifest.digest
        if desired is None or digest is None or space.compliant is None or self._ready_for == (digest, desired):
            return
        self._ready_for = (digest, desired)
        base = None if observed.manifest.content is None else space.editing.base(observed.manifest.content)
        if base is not None:
            try:
                space.editing.make_ready(base, desired)
            except ManifestRefused as exc:
                logger.info("No repair is prepared: %s", exc.message)

    def save(self) -> None:
        """Store the standing and the last good wishes where they changed. In ``observe`` mode nothing is written."""
        space = self.space
        state = {**space.standing.plain(), **space.wishes.remember()}
        if state == self._saved:
            space.state_fault = None
            return
        if space.wishes.settings.mode == "observe" or not space.wishes.known:
            return
        try:
            space.memory.save_state(state)
        except FileFault as exc:
            space.state_fault = exc
            return
        self._saved, space.state_fault = state, None
