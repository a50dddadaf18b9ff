"""From the workspace to one snapshot: the verdict, since when each reason holds, the plan with its diff."""

from collections.abc import Sequence
from dataclasses import replace

from kauditd._version import VERSION
from kauditd.core.counters import Mismatch
from kauditd.core.drift import find_drift
from kauditd.core.model import Drift, Reason, Severity, Verdict
from kauditd.core.observed import Observed, PolicyFileState
from kauditd.core.plan import make_plan, render_diff
from kauditd.core.preconditions import consent_holds, is_contested
from kauditd.core.verdict import Facts, Judgement, judge
from kauditd.engine.balance import describe
from kauditd.engine.guard import RESTART_HOLDS, Guard
from kauditd.engine.snapshot import PlanStatus, ProofStatus, Snapshot, TargetStatus, WatchStatus


class Reporter:
    """Makes snapshots and remembers since when the verdict and each reason hold."""

    def __init__(self, guard: Guard, *, started_unix_s: float) -> None:
        self._guard = guard
        self._started_unix_s = started_unix_s
        self._sequence = 0
        self._since: dict[tuple[str, str], float] = {}
        self._verdict: tuple[Verdict, float] | None = None

    def report(self, watch: WatchStatus, troubles: Sequence[Reason] = ()) -> Snapshot:
        """The snapshot after a cycle or a command. ``troubles`` are the loop's own (a failed cycle, polling)."""
        space = self._guard.space
        observed = space.observed if space.observed is not None else self._guard.look()
        plan = make_plan(observed)
        holds = tuple(self._guard.holds(observed, plan)) if plan.steps else ()
        drift = self._drift(observed)
        judgement = self._judge(observed, drift, holds, troubles)
        now = observed.at_unix_s
        if self._verdict is None or self._verdict[0] is not judgement.verdict:
            self._verdict = (judgement.verdict, now)
        self._sequence += 1
        process = observed.process
        return Snapshot(
            sequence=self._sequence,
            at_unix_s=now,
            started_unix_s=self._started_unix_s,
            version=VERSION,
            verdict=judgement.verdict,
            since_unix_s=self._verdict[1],
            sentence=judgement.sentence,
            reasons=self._dated(judgement.reasons, now),
            mode=space.wishes.settings.mode,
            paused_until_unix_s=self._paused_until(now),
            disabled=space.standing.disabled,
            contested=is_contested(space.standing.contest, space.reverts(), now),
            target=self._target(observed),
            process=process,
            policy=space.wishes.policy_status(),
            settings=space.wishes.settings_status(),
            drift=drift,
            plan=PlanStatus(steps=plan.steps, diff=self.diff(observed), holds=holds),
            watch=watch,
            proof=self._proof(observed),
            changes=space.changes.recent(),
            counters=dict(space.counters),
            windows=() if self._guard.keeper is None else self._guard.keeper.windows(),
            coverage=None if self._guard.keeper is None else self._guard.keeper.coverage(),
        )

    def _proof(self, observed: Observed) -> ProofStatus:
        space, trail = self._guard.space, observed.trail
        told = space.evidence if space.evidence is not None else trail
        return ProofStatus(
            proven_unix_s=space.proven_unix_s,
            what="nothing was asked yet" if told is None else told.text,
            code="" if trail is None else trail.code,
            hint="" if trail is None else trail.hint,
            evidence=space.evidence,
            counters="not compared yet" if space.balance is None else describe(space.balance),
        )

    def _drift(self, observed: Observed) -> tuple[Drift, ...]:
        desired = self._guard.space.asked
        return () if desired is None else find_drift(desired, observed)

    def _judge(
        self, observed: Observed, drift: tuple[Drift, ...], holds: tuple[Reason, ...], troubles: Sequence[Reason]
    ) -> Judgement:
        space = self._guard.space
        policy = space.wishes.policy
        standing = () if holds else self._standing(observed.at_unix_s)
        facts = Facts(
            observed=observed,
            desired=space.asked,
            drift=drift,
            holds=holds,
            troubles=(*self._troubles(), *standing, *troubles),
            open_change=space.changes.open(),
            gate_text=self._guard.gating.text,
            proven_unix_s=space.proven_unix_s,
            proof_lifetime_s=2.0 * space.wishes.settings.proof.canary_interval_s,
            policy_label="" if policy is None else f"policy {policy.digest[:12]} ({policy.source})",
        )
        return judge(facts)

    def _troubles(self) -> list[Reason]:
        """Files that cannot be used or written, and what the counters said of the log."""
        balance, keeper = self._guard.space.balance, self._guard.keeper
        found = [*self._guard.space.wishes.troubles(), *self._guard.writer.troubles()]
        if isinstance(balance, Mismatch):
            found.append(Reason(code=balance.code, severity=Severity.CRITICAL, text=balance.text, hint=balance.hint))
        if keeper is not None and keeper.fault is not None:
            fault = keeper.fault
            found.append(Reason(code="ledger-fault", severity=Severity.WARNING, text=fault.message, hint=fault.hint))
        return found

    def _standing(self, now_unix_s: float) -> tuple[Reason, ...]:
        """What would hold a write where none is due; a limit on restarts says nothing of a manifest that is right."""
        holds = consent_holds(self._guard.space.guards(), now_unix_s)
        return tuple(h for h in holds if h.code not in RESTART_HOLDS)

    def _dated(self, reasons: Sequence[Reason], now: float) -> tuple[Reason, ...]:
        """Each reason with the time since when it has been there without a break. Figures in texts do not count."""
        keys = [(r.code, "".join(c for c in r.text if not c.isdigit())) for r in reasons]
        self._since = {k: self._since.get(k, now) for k in keys}
        return tuple(replace(r, since_unix_s=self._since[k]) for r, k in zip(reasons, keys, strict=True))

    def _paused_until(self, now: float) -> float | None:
        until = self._guard.space.standing.paused_until_unix_s
        return until if until is not None and now < until else None

    def _target(self, observed: Observed) -> TargetStatus:
        view = observed.view
        return TargetStatus(
            kind="static-pod",
            path=observed.manifest.path,
            present=not observed.manifest.missing,
            image="" if view is None else view.image,
            version="" if view is None else view.version,
            digest=observed.manifest.digest,
            address="" if view is None else view.address,
            port=0 if view is None else view.port,
        )

    def diff(self, observed: Observed) -> str:
        """What apply would change, new policy file included, as ``patch -p1 -d ROOT`` takes it."""
        policy = self._guard.space.wishes.policy
        parts = []
        state = observed.policy_file
        if policy is not None and state is not None and state.state is PolicyFileState.MISSING:
            parts.append(render_diff(policy.path, None, policy.text))
        if observed.edited is not None and observed.manifest.content is not None:
            parts.append(render_diff(observed.manifest.path, observed.manifest.content, observed.edited.text))
        return "".join(parts)
