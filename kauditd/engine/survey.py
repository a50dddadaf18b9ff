"""What is found out beside the files of the target: processes, health, the trail, and why nothing comes up.

Each question has its own pace: cheap ones every look, a child process only where an answer is waited for or old.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kauditd.core.cmdline import listening
from kauditd.core.drift import flags_agree
from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.matching import match_processes
from kauditd.core.model import ApiServerProcess, Desired, ManifestView
from kauditd.core.observed import EtcdFacts, HealthFacts, PodEvidence, Shadow
from kauditd.core.proof import PolicyFacts, recorded_routes
from kauditd.core.question import Question
from kauditd.core.trail import Trail, TrailState
from kauditd.engine.ports import ProcessTable
from kauditd.engine.proving import Prover, Scan, Subject
from kauditd.engine.senses import Senses
from kauditd.engine.wishes import PolicyInForce
from kauditd.engine.workspace import Surroundings

CALM_S, ANXIOUS_S, GATE_S = 15.0, 3.0, 1.0
"""The time between two questions about health: where all is well, where it is not, inside a gate."""

RETRY_S = 10.0
"""The time between two rounds of proof after one that failed."""

PATIENCE_S = 1.0
"""How long a look waits for a round of proof: one that fails searches for seconds, and drift must not wait for it."""

ETCD_S = 2.0
KUBELET_S = 10.0

END_SLACK_S = 5.0
"""How far the newest event may lie before the last answer of a process: a quiet node writes seldom."""
PROBE_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the last look knows, and how urgent the next one is."""

    view: ManifestView | None
    asked: Desired | None
    shadows: tuple[Shadow, ...]
    gate_open: bool
    canary_interval_s: float
    manifest: str = ""
    gate_since_unix_s: float = 0.0
    policy: PolicyInForce | None = None


class Survey:
    """Takes surveys. ``now_s`` is the event loop's clock, so that a stepped wall clock changes no pace."""

    def __init__(self, senses: Senses, scan: Scan, now_s: Callable[[], float]) -> None:
        self._senses = senses
        self._scan = scan
        self._now_s = now_s
        self._prover = Prover(senses, scan)
        self._health: HealthFacts | None = None
        self._asked_s = 0.0
        self._asked_of: int | None = None
        self._trail: Trail | None = None
        self._proven_s = 0.0
        self._etcd: EtcdFacts | None = None
        self._etcd_s = -ETCD_S
        self._words: tuple[KubeletWords, ...] = ()
        self._words_s = 0.0
        self._last: ApiServerProcess | None = None
        self._ready_unix_s = 0.0
        self._round: asyncio.Task[Trail] | None = None
        self.forced = False

    async def take(self, wanted: Wanted, *, patience_s: float = PATIENCE_S) -> Surroundings:
        """One survey. A round of proof that takes longer than ``patience_s`` goes on beside the next looks."""
        table = await self._scan(self._senses.read_table)
        processes = match_processes(wanted.view, table.api_servers)
        process = serving(processes, wanted)
        ended_audited = await self._ended_audited(process, wanted)
        if process is None:
            self._health = None
        else:
            await self._ask(process, wanted, patience_s)
        return Surroundings(
            table=table,
            health=self._health,
            trail=self._trail if process is not None and self._speaks_of(process) else None,
            pod_logs=await self._pod_logs(wanted, table),
            etcd=await self._ask_etcd(wanted, process),
            kubelet_words=await self._hear_kubelet(wanted, process),
            ended_audited=ended_audited,
        )

    async def _ended_audited(self, process: ApiServerProcess | None, wanted: Wanted) -> bool:
        """Whether a process that was proven before is gone, and its log goes on to where it was last known to serve."""
        last, self._last = self._last, process
        if last is None or (process is not None and process.pid == last.pid) or not self._speaks_of(last):
            return False
        path, host_path = last.flag("audit-log-path"), None if wanted.view is None else wanted.view.log_host_path
        if not path or self._trail is None or self._trail.state is not TrailState.PROVEN:
            return False
        newest = await self._scan(lambda: self._senses.last_event_unix_s(path, host_path))
        if newest is None or (process is not None and newest >= process.started_unix_s):
            return False  # what its successor wrote says nothing of it: its own file may have been deleted
        return newest >= self._ready_unix_s - END_SLACK_S

    async def _ask(self, process: ApiServerProcess, wanted: Wanted, patience_s: float) -> None:
        """A round of proof where one is due and may succeed, else health where that is due."""
        now_s = self._now_s()
        where = listening(process.flags)
        if (
            self._health is None
            or process.pid != self._asked_of
            or now_s - self._asked_s >= self._pace_s(process, wanted)
        ):
            question = Question(address=where[0], port=where[1], timeout_s=PROBE_S)
            self._health = (await self._senses.ask(question)).health
            self._asked_s, self._asked_of = now_s, process.pid
        ready = self._health is not None and self._health.ready
        if ready and self._asked_s == now_s:
            self._ready_unix_s = self._senses.now_unix_s()
        if self._round is None and wanted.asked is not None and ready and self._proof_due(process, wanted):
            subject = Subject(
                process=process,
                where=where,
                desired=wanted.asked,
                view=wanted.view,
                shadows=wanted.shadows,
                policy=policy_facts(process, wanted.policy),
            )
            self.forced = False
            self._round = asyncio.create_task(self._prover.prove(subject), name="proof")
        await self._collect(patience_s)

    async def _collect(self, patience_s: float) -> None:
        """The result of the round under way, if it ends in time: usually it takes a twentieth of a second."""
        if self._round is None:
            return
        done, _ = await asyncio.wait({self._round}, timeout=patience_s)
        if done:
            round_, self._round = self._round, None
            self._proven_s = self._now_s()
            self._trail = round_.result()
            self._health = self._prover.health or self._health

    def close(self) -> None:
        """End a round that is under way."""
        if self._round is not None:
            self._round.cancel()

    def _pace_s(self, process: ApiServerProcess, wanted: Wanted) -> float:
        if wanted.gate_open:
            return GATE_S if wanted.asked is None or flags_agree(wanted.asked, process) else CALM_S
        return CALM_S if self._health is not None and self._health.ready else ANXIOUS_S

    def _proof_due(self, process: ApiServerProcess, wanted: Wanted) -> bool:
        trail = self._trail
        if trail is None or not trail.speaks_of(process) or self.forced:
            return True
        age_s = self._now_s() - self._proven_s
        if trail.state is TrailState.PROVEN:
            return age_s >= wanted.canary_interval_s
        return age_s >= (GATE_S if wanted.gate_open else min(RETRY_S, wanted.canary_interval_s))

    def _speaks_of(self, process: ApiServerProcess) -> bool:
        return self._trail is not None and self._trail.speaks_of(process)

    async def _pod_logs(self, wanted: Wanted, table: ProcessTable) -> PodEvidence | None:
        """Read in every look of a gate: the kubelet deletes an attempt's log a second after the next one's end."""
        view = wanted.view
        if view is None or not wanted.gate_open:
            return None
        return await self._scan(lambda: self._senses.read_pod_logs(view, table))

    async def _ask_etcd(self, wanted: Wanted, process: ApiServerProcess | None) -> EtcdFacts | None:
        """Only while a gate waits for a server that does not get ready: every question leaves a line in etcd's log."""
        view = wanted.view
        waits = wanted.gate_open and (process is None or self._health is None or not self._health.ready)
        if view is None or not waits:
            self._etcd = None
        elif self._etcd is None or self._now_s() - self._etcd_s >= ETCD_S:
            self._etcd = await self._senses.reach_etcd(view)
            self._etcd_s = self._now_s()
        return self._etcd

    async def _hear_kubelet(self, wanted: Wanted, process: ApiServerProcess | None) -> tuple[KubeletWords, ...]:
        """What the kubelet complains of while nothing comes up: evidence for a change that fails."""
        if wanted.view is None or not wanted.gate_open or process is not None:
            self._words = ()
        elif self._now_s() - self._words_s >= KUBELET_S:
            self._words = await self._senses.read_kubelet_words(wanted.view, wanted.manifest, wanted.gate_since_unix_s)
            self._words_s = self._now_s()
        return self._words


def serving(processes: Sequence[ApiServerProcess], wanted: Wanted) -> ApiServerProcess | None:
    """Whom to ask: the oldest, as the verdict does; inside a gate the one that the gate waits for."""
    if not wanted.gate_open or wanted.asked is None:
        return processes[0] if processes else None
    asked = wanted.asked
    return max(processes, key=lambda p: (flags_agree(asked, p), p.started_unix_s), default=None)


def policy_facts(process: ApiServerProcess, policy: PolicyInForce | None) -> PolicyFacts | None:
    """What the policy of ``process`` does to canaries; only of one that we published is that known."""
    path = process.flag("audit-policy-file")
    if not path:
        return None
    if policy is None or path != policy.path:
        return PolicyFacts(path=path, foreign=True)
    anonymous = process.flag("anonymous-auth") != "false"
    return PolicyFacts(path=path, foreign=False, recorded=recorded_routes(policy.parsed, anonymous=anonymous))
