"""From a look at the node to a line in the ledger: who served, was it proven, and if not, why most likely."""

from kauditd.core.drift import flags_agree
from kauditd.core.looks import Event, EventKind, Look, ProofResult, server_id
from kauditd.core.model import Outcome
from kauditd.core.observed import Observed
from kauditd.core.trail import Trail, TrailState
from kauditd.core.windows import WindowCause
from kauditd.engine.bookkeeping import Bookkeeper
from kauditd.engine.workspace import Workspace

_CAUSES = {
    "log-deleted": WindowCause.LOG_DELETED,
    "log-renamed": WindowCause.LOG_DELETED,
    "policy-none": WindowCause.POLICY_NONE,
    "canary-hidden": WindowCause.POLICY_NONE,
}


class Booking:
    """Feeds a bookkeeper. A round of proof is told once; a process without our flags is a failed proof each time."""

    def __init__(self, workspace: Workspace, keeper: Bookkeeper) -> None:
        self._space = workspace
        self._keeper = keeper
        self._told_unix_s = 0.0
        self._settled: int | None = None

    def start(self) -> None:
        """A run begins: nobody watched since the last record."""
        self._keeper.start(at_unix_s=self._space.node.now_unix_s())

    def note(self, observed: Observed) -> None:
        """One look."""
        node = self._space.node
        now, monotonic_s = node.now_unix_s(), node.monotonic_s()
        process = observed.process
        hint = self._hint()
        self._tell_repairs(now)  # before the proof that closes the window which it repaired
        self._keeper.note(
            Look(
                at_unix_s=now,
                monotonic_s=monotonic_s,
                boot_id=node.boot_id(),
                process=None if process is None else server_id(process, at_unix_s=now, monotonic_s=monotonic_s),
                serving=process is not None and self._may_serve(observed),
                proof=self._proof(observed, hint, now, monotonic_s),
                hint=hint,
                closed_by="the log goes on to the end of the process" if self._space.surroundings.ended_audited else "",
            )
        )

    @staticmethod
    def _may_serve(observed: Observed) -> bool:
        """A process that was not asked yet may answer somebody else."""
        health = observed.health
        return health is None or health.livez is not None or health.readyz is not None

    def _proof(
        self, observed: Observed, hint: WindowCause | None, now: float, monotonic_s: float
    ) -> ProofResult | None:
        process, asked, trail = observed.process, observed.asked, observed.trail
        if process is None:
            return None
        if asked is None or not flags_agree(asked, process):
            how = f"the command line of pid {process.pid} lacks what is asked for"
            return ProofResult(ok=False, how=how, cause=hint)
        if trail is None or not trail.speaks_of(process) or trail.taken_unix_s <= self._told_unix_s:
            return None
        self._told_unix_s = trail.taken_unix_s
        return self._round(trail, now, monotonic_s)

    @staticmethod
    def _round(trail: Trail, now: float, monotonic_s: float) -> ProofResult | None:
        match trail.state:
            case TrailState.PROVEN:
                taken_s = monotonic_s - max(0.0, now - trail.taken_unix_s)
                return ProofResult(ok=True, audit_id=trail.audit_id, taken_monotonic_s=taken_s)
            case TrailState.UNPROVEN:
                cause = _CAUSES.get(trail.code, WindowCause.PROOF_FAILED)
                return ProofResult(ok=False, how=trail.text, cause=cause)
            case TrailState.OPEN:
                return None

    def _hint(self) -> WindowCause | None:
        """The likeliest cause, should this time turn out unaudited."""
        space = self._space
        if space.standing.disabled:
            return WindowCause.DISABLED
        last = space.changes.last_written()
        if last is None:
            return WindowCause.NOT_ENABLED
        if last.outcome is Outcome.ROLLED_BACK or last.cause == "rollback":
            return WindowCause.ROLLED_BACK
        if last.cause == "repair":
            return WindowCause.UPGRADE_OVERWROTE
        return WindowCause.NOT_ENABLED if last.cause in ("enable", "apply") else None

    def _tell_repairs(self, now: float) -> None:
        """What put things right, told once, when it has proven itself."""
        last = self._space.changes.last_written()
        if last is None or last.outcome is not Outcome.PROVEN or last.id == self._settled:
            return
        if self._settled is not None or last.finished_unix_s is None or now - last.finished_unix_s < 60:
            self._keeper.tell(Event(kind=EventKind.REPAIRED, at_unix_s=now, text=f"change {last.id}, {last.cause}"))
        self._settled = last.id
