"""The gate in virtual time: API servers that live, answer and die at given seconds after the write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kauditd.core.gate import Deadlines, GateResult, GateState, Waiting, begin, judge
from kauditd.core.model import ApiServerProcess, Desired
from kauditd.core.observed import ContainerEnd, HealthFacts, Observed, PodEvidence
from kauditd.core.trail import Trail
from tests.core.builders import DESIRED, NOW, OURS, READY, REFUSED, observed, process

DEADLINES = Deadlines(gate_s=120.0, overlap_s=300.0)
POLL_S = 0.5
OLD = process(100, NOW - 3600)
Facts = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class Life:
    """One API server: from when to when it runs and when it becomes ready, in seconds after the write."""

    pid: int
    start: float
    end: float = 10_000.0
    ready: float = 10_000.0
    flags: tuple[tuple[str, str], ...] = OURS

    def process(self, step_s: float = 0.0) -> ApiServerProcess:
        return process(self.pid, NOW + self.start + step_s, *self.flags)


def old(end: float, closes: float = 0.1, flags: tuple[tuple[str, str], ...] = ()) -> Life:
    """The server from before the write: it stops listening at ``closes`` and is gone at ``end``."""
    return Life(pid=100, start=-3600, end=end, ready=-closes, flags=flags)


def run(
    lives: Sequence[Life],
    *,
    desired: Desired = DESIRED,
    old_pid: int | None = 100,
    phase_s: float = 0.0,
    step: Callable[[float], float] = lambda _: 0.0,
    health: Callable[[float], HealthFacts] | None = None,
    facts: Callable[[float], Facts] = lambda _: {},
    rounds: Callable[[float, ApiServerProcess], Trail | None] | None = None,
    until_s: float = 700.0,
    kubelet: bool = True,
) -> tuple[GateResult, float]:
    """Poll until the gate says more than "waiting"; the result and its true time after the write.

    ``facts`` adds to a look what else is to be seen at a true time (``pod_logs``, ``ended``, ``etcd``).
    ``rounds`` is what the last round of proof said of the newest server; by itself, that an event of it was seen.
    ``step`` is how far the wall clock is off at a true time; start times told by the kernel move along.
    """
    start = NOW - 3600 if old_pid is not None else None
    state = GateState(written_unix_s=NOW, old_pid=old_pid, old_started_unix_s=start)
    result: GateResult = Waiting(state=state, text="")
    at = POLL_S - phase_s
    while at < until_s:
        running = tuple(x.process(step(at)) for x in lives if x.start <= at < x.end)
        answer = READY if any(_listens(x, at) for x in lives) else REFUSED
        look = observed(
            NOW + at + step(at),
            processes=running,
            health=answer if health is None else health(at),
            **{"kubelet_started_unix_s": NOW - 86400 + step(at) if kubelet else None, **facts(at)},
        )
        if rounds is not None:
            look = replace(look, trail=rounds(at, running[-1]) if running else None)
        result = judge(result.state, desired, look, DEADLINES)
        if not isinstance(result, Waiting):
            break
        at += POLL_S
    return result, at


def _listens(life: Life, at: float) -> bool:
    if not life.start <= at < life.end:
        return False
    return at < -life.ready if life.ready < 0 else at >= life.ready


def container(attempt: int, line: str = "", uid: str = "new") -> ContainerEnd:
    return ContainerEnd(pod_uid=uid, attempt=attempt, last_line=line)


def judged(*looks: Observed) -> GateResult:
    result: GateResult = Waiting(state=begin(NOW, ()), text="")
    for look in looks:
        assert isinstance(result, Waiting)
        result = judge(result.state, DESIRED, look, DEADLINES)
    return result


def pods(uid: str | None = "old", attempt: int | None = 0, *, made: float = NOW - 3600) -> PodEvidence:
    return PodEvidence(pod_uid=uid, made_unix_s=made, attempt=attempt)
