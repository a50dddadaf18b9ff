"""The gate in virtual time, on the timelines that real kubelets showed (seconds after the rename)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.gate import Deadlines, Failed, GateResult, GateState, Passed, Waiting, begin, judge
from kauditd.core.model import ApiServerProcess, Desired
from kauditd.core.observed import ContainerEnd, EtcdFacts, HealthFacts, Observed, PodEvidence
from kauditd.core.phases import Phase
from tests.core.builders import DESIRED, NOTHING, NOW, OURS, READY, REFUSED, STARTING, audited, observed, process

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
    until_s: float = 700.0,
    kubelet: bool = True,
) -> tuple[GateResult, float]:
    """Poll until the gate says more than "waiting"; the result and its true time after the write.

    ``facts`` adds to a look what else is to be seen at a true time (``pod_logs``, ``ended``, ``etcd``).
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
        result = judge(result.state, desired, look, DEADLINES)
        if not isinstance(result, Waiting):
            break
        at += POLL_S
    return result, at


def _listens(life: Life, at: float) -> bool:
    if not life.start <= at < life.end:
        return False
    return at < -life.ready if life.ready < 0 else at >= life.ready


def test_normal_pass_takes_as_long_as_the_api_server() -> None:
    result, at = run([old(30.1), Life(pid=200, start=39.5, ready=42.9)])
    assert isinstance(result, Passed)
    assert result.proven
    assert result.state.phase is Phase.READY
    assert "200" in result.text
    assert 42.9 <= at <= 43.5


@given(
    start=st.floats(36.0, 41.8), ready_s=st.floats(2.0, 4.0), phase_s=st.floats(0.0, 0.49), gone=st.floats(1.1, 30.1)
)
def test_every_normal_pass_is_proven_within_one_poll(start: float, ready_s: float, phase_s: float, gone: float) -> None:
    result, at = run([old(gone), Life(pid=200, start=start, ready=start + ready_s)], phase_s=phase_s)
    assert isinstance(result, Passed)
    assert result.proven
    assert start + ready_s <= at <= start + ready_s + POLL_S


def test_phases_come_in_order() -> None:
    """The words of the timeline: the engine notes each change of phase."""
    phases: list[Phase] = []
    state = begin(NOW, (OLD,))
    for processes, health in (
        ((OLD,), REFUSED),
        ((), REFUSED),
        ((process(200, NOW + 3),), REFUSED),
        ((audited(200, NOW + 3),), STARTING),
    ):
        result = judge(state, DESIRED, observed(NOW + 4, processes=processes, health=health), DEADLINES)
        assert isinstance(result, Waiting)
        assert result.text
        state = result.state
        phases.append(state.phase)
    assert phases == [Phase.OLD_ENDS, Phase.NEW_PROCESS, Phase.FLAGS, Phase.READY]


def test_kubelet_restarted_just_before_an_edit() -> None:
    """Measured: the old server served for 150 s more, then the usual 30 s of grace; nothing has failed meanwhile."""
    result, at = run([old(180.0, closes=150.0), Life(pid=200, start=190.0, ready=193.0)])
    assert isinstance(result, Passed)
    assert result.proven
    assert 193.0 <= at <= 193.5


def test_old_process_stays_for_minutes() -> None:
    result, at = run([old(10_000.0, closes=10_000.0)])
    assert isinstance(result, Failed)
    assert result.code == "old-process-stays"
    assert 300.0 < at <= 301.0
    assert not result.blames_target


def test_old_process_stays_and_is_all_that_was_asked_for() -> None:
    """A repair while the kubelet is stopped: nothing was tried, nothing failed, and the good state is no bad target."""
    result, at = run([old(10_000.0, closes=10_000.0, flags=OURS)], kubelet=False)
    assert isinstance(result, Passed)
    assert not result.proven
    assert 300.0 < at <= 301.0


def test_old_process_stays_with_the_flags_but_is_not_ready() -> None:
    result, _ = run([old(10_000.0, flags=OURS)])
    assert isinstance(result, Failed)
    assert result.code == "old-process-stays"


def test_old_process_stays_and_its_health_was_not_asked() -> None:
    state = GateState(written_unix_s=NOW, old_pid=100, old_started_unix_s=NOW - 3600, waited_s=300.0)
    look = observed(NOW + 1, processes=(audited(),), health=None)
    assert isinstance(judge(state, DESIRED, look, DEADLINES), Failed)


def test_rollback_before_the_kubelet_acted_leaves_the_healthy_server() -> None:
    """The bytes are the old ones again, so the pod is the old one and the kubelet has nothing to do."""
    result, at = run([old(10_000.0, closes=10_000.0)], desired=NOTHING)
    assert isinstance(result, Passed)
    assert not result.proven
    assert at <= 301.0


def test_rollback_asks_for_health_alone() -> None:
    result, at = run([Life(pid=200, start=6.0, ready=20.0, flags=())], desired=NOTHING, old_pid=None)
    assert isinstance(result, Passed)
    assert result.proven
    assert 20.0 <= at <= 20.5


def test_slow_start_of_55_s_is_not_rolled_back() -> None:
    result, at = run([old(30.1), Life(pid=200, start=40.0, ready=95.0)])
    assert isinstance(result, Passed)
    assert 95.0 <= at <= 95.5


def test_new_process_dies_twice() -> None:
    """Attempts at 0, +0.3 and +10.9 s, each seen: no need to wait for the deadline."""
    lives = [old(30.1), Life(pid=200, start=40.0, end=40.3), Life(pid=201, start=40.4, end=40.9)]
    result, at = run(lives, phase_s=0.3)
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert at <= 41.5


def test_new_process_dies_once_and_the_next_one_is_ready() -> None:
    result, at = run([old(30.1), Life(pid=200, start=40.0, end=40.6), Life(pid=201, start=51.0, ready=54.0)])
    assert isinstance(result, Passed)
    assert 54.0 <= at <= 54.5


@given(phase_s=st.floats(0.0, 0.49), life_s=st.floats(0.1, 0.6))
def test_crash_loop_is_taken_back_inside_the_gate_whatever_is_seen_of_it(phase_s: float, life_s: float) -> None:
    """A process that lives 0.1-0.6 s may fall between two looks; the deadline of the gate needs no luck (P3)."""
    starts = (40.0, 40.0 + max(0.3, life_s + 0.01), 50.9, 73.9, 125.9, 212.9)
    lives = [old(30.1), *(Life(pid=200 + n, start=s, end=s + life_s) for n, s in enumerate(starts))]
    result, at = run(lives, phase_s=phase_s)
    assert isinstance(result, Failed)
    assert result.code in {"crash-loop", "never-started"}
    assert 40.0 < at <= 30.1 + 120.0 + 2 * POLL_S
    if life_s > POLL_S:
        assert result.code == "crash-loop"
        assert at < 52.5


def test_third_attempt_that_is_ready_is_not_undone() -> None:
    """Looks were far apart (a stalled machine): what is proven now outweighs how it started."""
    state = GateState(written_unix_s=NOW, old_pid=None, old_started_unix_s=None, seen=((200, NOW), (201, NOW + 1)))
    result = judge(state, DESIRED, observed(NOW + 20, processes=(audited(202, NOW + 12),)), DEADLINES)
    assert isinstance(result, Passed)


@pytest.mark.parametrize(
    ("lives", "code", "ended"),
    [
        ([], "never-started", 30.1),
        ([Life(pid=200, start=40.0, ready=45.0, flags=())], "flags-missing", 30.1),
        ([Life(pid=200, start=40.0)], "hangs", 30.1),
    ],
)
def test_never_proven_fails_at_the_deadline(lives: list[Life], code: str, ended: float) -> None:
    result, at = run([old(ended), *lives])
    assert isinstance(result, Failed)
    assert result.code == code
    assert ended + 120.0 < at <= ended + 120.0 + 2 * POLL_S


def test_kubelet_died_after_the_old_process() -> None:
    result, _ = run([old(30.1)], kubelet=False)
    assert isinstance(result, Failed)
    assert result.code == "never-started"
    assert "no kubelet runs" in result.text
    assert not result.blames_target
    assert "systemctl start kubelet" in result.remedy


def test_health_not_asked_is_not_ready() -> None:
    state = begin(NOW, ())
    result = judge(state, DESIRED, observed(NOW + 1, processes=(audited(200, NOW),), health=None), DEADLINES)
    assert isinstance(result, Waiting)
    assert result.state.phase is Phase.READY


def test_anonymous_requests_are_off() -> None:
    """401 comes from the handler chain of a running server."""
    health = HealthFacts(livez=401, readyz=401)
    result = judge(begin(NOW, ()), DESIRED, observed(NOW + 1, processes=(audited(200, NOW),), health=health), DEADLINES)
    assert isinstance(result, Passed)


def test_nothing_runs_while_an_image_is_built() -> None:
    look = observed(NOW + 1, processes=(), kubelet_started_unix_s=None, health=None)
    result = judge(begin(NOW, ()), DESIRED, look, DEADLINES)
    assert isinstance(result, Passed)
    assert not result.proven


def test_kubelet_is_restarted_while_no_server_runs() -> None:
    """For one look a node looks like a machine image; what was alive before must be proven all the same."""
    dead = observed(NOW + 1, processes=(), kubelet_started_unix_s=None)
    first = judge(begin(NOW, ()), DESIRED, observed(NOW + 0.5, processes=()), DEADLINES)
    assert isinstance(judge(first.state, DESIRED, dead, DEADLINES), Waiting)
    known_old = judge(begin(NOW, (OLD,)), DESIRED, dead, DEADLINES)
    assert isinstance(known_old, Waiting)


def test_no_kubelet_but_a_server() -> None:
    """A unit of systemd: restarts need no kubelet."""
    result, _ = run([old(1.0), Life(pid=200, start=1.5, ready=4.0)], kubelet=False)
    assert isinstance(result, Passed)
    assert result.proven


def test_api_server_was_not_running_at_the_write() -> None:
    result, at = run([Life(pid=200, start=12.0, ready=15.0)], old_pid=None)
    assert isinstance(result, Passed)
    assert 15.0 <= at <= 15.5
    failed, at = run([], old_pid=None)
    assert isinstance(failed, Failed)
    assert 120.0 < at <= 121.0


def test_old_process_ended_before_the_first_look() -> None:
    result, at = run([old(0.2), Life(pid=200, start=11.0, ready=14.1)])
    assert isinstance(result, Passed)
    assert at <= 15.0


def test_pid_of_the_old_process_is_used_again() -> None:
    result, at = run([old(30.1), Life(pid=100, start=40.0, ready=43.0)])
    assert isinstance(result, Passed)
    assert result.proven
    assert at <= 43.5


def test_pid_of_a_dead_attempt_is_used_again() -> None:
    """Each attempt counts, though the numbers repeat."""
    lives = [old(1.0), *(Life(pid=200, start=s, end=s + 0.6) for s in (11.0, 22.0))]
    result, at = run(lives)
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert at <= 23.5


def test_rival_pod_starts_and_ends_before_ours() -> None:
    """A repair that came late: the overwriting pod started without flags, dies for ours, and that is one death."""
    rival = Life(pid=200, start=5.0, end=35.0, ready=8.0, flags=())
    result, at = run([rival, Life(pid=201, start=45.0, ready=49.0)], old_pid=None)
    assert isinstance(result, Passed)
    assert at <= 49.5


def test_server_of_a_nested_cluster_runs_beside_ours() -> None:
    nested = Life(pid=300, start=-7200, ready=20_000.0, flags=())
    result, at = run([old(30.1), nested, Life(pid=200, start=40.0, ready=43.0)])
    assert isinstance(result, Passed)
    assert "200" in result.text
    assert at <= 43.5


def test_one_look_misses_the_old_process() -> None:
    """The gate's clock starts again when the old process turns out to be alive."""
    state = begin(NOW, (OLD,))
    state = judge(state, DESIRED, observed(NOW + 1, processes=()), DEADLINES).state
    assert state.old_ended_unix_s is not None
    state = judge(state, DESIRED, observed(NOW + 2, processes=(OLD,)), DEADLINES).state
    assert state.old_ended_unix_s is None
    assert state.since_end_s == 0.0
    assert state.seen == ()


@pytest.mark.parametrize("step_s", [-86_400.0, -3600.0, -45.0, -1.0, 1.0, 45.0, 3600.0, 86_400.0])
@pytest.mark.parametrize("when_s", [5.0, 35.0, 41.0])
def test_clock_is_stepped_inside_the_gate(step_s: float, when_s: float) -> None:
    """Neither undone early nor kept open for ever: a good change passes on time, a dead one fails near its deadline."""

    def step(at: float) -> float:
        return step_s if at >= when_s else 0.0

    good, at = run([old(30.1), Life(pid=200, start=40.0, ready=43.0)], step=step)
    assert isinstance(good, Passed)
    assert good.proven
    assert at <= 43.5
    bad, at = run([old(30.1), Life(pid=200, start=40.0)], step=step)
    assert isinstance(bad, Failed)
    assert bad.code == "hangs"
    assert 150.1 - 15.0 <= at <= 152.0


def test_clock_is_stepped_again_and_again() -> None:
    """An unsteady clock must not look like a row of deaths."""
    result, _ = run([old(30.1), Life(pid=200, start=40.0, ready=95.0)], step=lambda at: 900.0 * (int(at) % 2) - 450.0)
    assert not isinstance(result, Failed) or result.code != "crash-loop"


def test_restart_of_kauditd_inside_the_gate_knows_the_old_process() -> None:
    newer = audited(200, NOW + 40)
    state = begin(NOW, (newer, OLD))
    assert (state.old_pid, state.old_started_unix_s) == (100, OLD.started_unix_s)
    assert begin(NOW, (newer,)).old_pid is None
    result = judge(begin(NOW, (newer,)), DESIRED, observed(NOW + 50, processes=(newer,)), DEADLINES)
    assert isinstance(result, Passed)
    assert result.proven


def container(attempt: int, line: str = "", uid: str = "new") -> ContainerEnd:
    return ContainerEnd(pod_uid=uid, attempt=attempt, last_line=line)


def judged(*looks: Observed) -> GateResult:
    result: GateResult = Waiting(state=begin(NOW, ()), text="")
    for look in looks:
        assert isinstance(result, Waiting)
        result = judge(result.state, DESIRED, look, DEADLINES)
    return result


def test_attempts_that_no_look_met_are_counted_by_their_logs() -> None:
    """Between two looks the process came and went; the kubelet's log directory remembers."""
    looks = [observed(NOW + n, processes=(), ended=container(a)) for n, a in ((2, 0), (3, 1))]
    first = observed(NOW + 1, processes=(), ended=None)
    assert isinstance(judged(first, looks[0]), Waiting)
    result = judged(first, *looks)
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"


@pytest.mark.parametrize("uid", ["old", "new"])
def test_last_words_name_an_audit_flag(uid: str) -> None:
    line = "Error: unknown flag: --audit-log-maxsizes"
    before = observed(NOW + 1, processes=(), ended=container(3, line, uid="old"))
    assert isinstance(judged(before, before), Waiting), "what ended before the gate is no fault of the change"
    after = container(4, line, uid="old") if uid == "old" else container(0, line)
    result = judged(before, observed(NOW + 2, processes=(), ended=after))
    assert isinstance(result, Failed)
    assert result.code == "audit-blamed"
    assert line in result.text
    assert "does not know the flag --audit-log-maxsizes" in result.text
    assert result.remedy
    assert result.blames_target


def test_last_words_of_another_kind_are_one_death() -> None:
    """Killed for memory, say: the next attempt gets its chance."""
    looks = (None, container(0, 'I1123 audit.go:1] "wrote"'), container(0, "Error: unknown flag: --colour"))
    for ended in looks:
        first = observed(NOW + 1, processes=(), ended=None)
        assert isinstance(judged(first, observed(NOW + 2, processes=(), ended=ended)), Waiting)


def pods(uid: str | None = "old", attempt: int | None = 0, *, made: float = NOW - 3600) -> PodEvidence:
    return PodEvidence(pod_uid=uid, made_unix_s=made, attempt=attempt)


def test_end_of_the_old_container_is_no_death_of_the_new_one() -> None:
    """It had been restarted before (attempt 3): its own end is what the change is for."""

    def facts(at: float) -> Facts:
        if at < 40.0:
            return {"pod_logs": pods(attempt=3), "ended": container(2 if at < 30.1 else 3, uid="old")}
        return {"pod_logs": pods("new", 0, made=NOW + 39.9), "ended": None}

    result, _ = run([old(30.1), Life(pid=200, start=40.0, ready=43.0)], facts=facts)
    assert isinstance(result, Passed)


def test_same_pod_is_restarted_and_dies_twice() -> None:
    """Bytes that ran before have the same UID: the kubelet counts attempts on in the same directory."""

    def facts(at: float) -> Facts:
        attempt = 4 if at < 32.0 else 5 if at < 33.0 else 6
        return {"pod_logs": pods(attempt=attempt), "ended": container(attempt, uid="old") if at > 30.1 else None}

    result, at = run([old(30.1)], facts=facts)
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert at <= 33.5


def test_crash_loop_tells_the_last_words() -> None:
    line = "Error: unknown flag: --colour"
    first, second = (observed(NOW + n, processes=(), ended=container(n - 2, line)) for n in (2, 3))
    result = judged(observed(NOW + 1, processes=()), first, second)
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert "--colour" in result.text
    assert result.remedy
    assert result.blames_target


def etcd_until(back_s: float, **more: object) -> Callable[[float], Facts]:
    """No etcd answers before ``back_s``."""
    down, up = EtcdFacts(reachable=0, total=1, detail="127.0.0.1:2379 refuses"), EtcdFacts(reachable=1, total=1)
    return lambda at: {"etcd": down if at < back_s else up, **more}


CRASHES = [Life(pid=200 + n, start=s, end=s + 22.0) for n, s in enumerate((40.0, 62.5, 95.0, 137.0, 199.0))]
"""An API server without etcd lives 20 s; the kubelet waits 0, 10, 20, 40, 80, 160 s between its attempts."""


def test_etcd_that_is_down_for_ever_is_not_blamed_on_the_change() -> None:
    result, at = run([old(30.1), *CRASHES], facts=etcd_until(10_000.0))
    assert isinstance(result, Failed)
    assert result.code == "etcd-down"
    assert not result.blames_target
    assert "127.0.0.1:2379 refuses" in result.text
    assert "etcd" in result.remedy
    assert 450.1 < at <= 451.1


def test_etcd_comes_back_while_the_kubelet_holds_the_container_back() -> None:
    """The next attempt comes 160 s after the last death, later than the gate alone would wait."""
    result, at = run([old(30.1), *CRASHES, Life(pid=300, start=381.0, ready=385.0)], facts=etcd_until(222.0))
    assert isinstance(result, Passed)
    assert result.proven
    assert at <= 385.5


def test_etcd_comes_back_and_the_server_dies_of_itself() -> None:
    late = [Life(pid=300 + n, start=s, end=s + 0.6) for n, s in enumerate((240.0, 241.0))]
    result, at = run([old(30.1), *CRASHES[:3], *late], facts=etcd_until(200.0))
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert at <= 242.5


def test_etcd_comes_back_and_the_server_hangs() -> None:
    """The gate's time goes on where it stood when etcd went."""
    result, at = run([old(30.1), Life(pid=200, start=40.0)], facts=etcd_until(130.0))
    assert isinstance(result, Failed)
    assert result.code == "hangs"
    assert 240.0 < at <= 252.0


@pytest.mark.parametrize("up", [1, 5])
def test_etcd_that_comes_and_goes_does_not_keep_the_gate_open_for_ever(up: int) -> None:
    """Up in one second of ten, which is where the bound is met (1) or not."""

    def facts(at: float) -> Facts:
        return etcd_until(at + 1 if int(at) % 10 != up else 0.0)(at)

    result, at = run([old(30.1), Life(pid=200, start=40.0)], facts=facts)
    assert isinstance(result, Failed)
    assert result.code == "etcd-down"
    assert not result.blames_target
    assert at <= 452.0


def test_no_attempt_follows_when_etcd_is_back() -> None:
    result, at = run([old(30.1), *CRASHES[:2]], facts=etcd_until(90.0))
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("etcd-down", False)
    assert "holds the pod back" in result.text
    assert at <= 451.1


def test_last_words_about_etcd_are_no_deaths_of_the_change() -> None:
    """The port takes connections, but nobody answers behind it."""
    line = 'E1123 18:24:16.8 1 run.go:72] "command failed" err="context deadline exceeded"'

    def facts(at: float) -> Facts:
        attempt = sum(at >= life.end for life in CRASHES) - 1
        return {"ended": container(attempt, line) if attempt >= 0 else None, "etcd": EtcdFacts(reachable=1, total=1)}

    result, at = run([old(30.1), *CRASHES], facts=facts)
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("etcd-down", False)
    assert "context deadline exceeded" in result.text
    assert at > 450.1


def test_readiness_check_of_etcd_fails() -> None:
    """A server that runs without its etcd: nothing listens wrongly, the check says it."""
    sick = HealthFacts(livez=200, readyz=500, detail="/readyz answered 500: etcd, etcd-readiness failed")
    result, at = run([old(30.1), Life(pid=200, start=40.0)], health=lambda _: sick)
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("etcd-down", False)
    assert "etcd-readiness" in result.text
    assert at > 450.1


def test_etcd_is_down_and_the_last_words_blame_audit() -> None:
    """A server that reads no further than its flags never comes to etcd."""
    line = "Error: unknown flag: --audit-log-maxsizes"
    look = observed(NOW + 2, processes=(), ended=container(0, line), **etcd_until(9.0)(0.0))
    result = judged(observed(NOW + 1, processes=()), look)
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("audit-blamed", True)


def test_etcd_of_no_known_address_says_nothing() -> None:
    result, at = run([old(30.1)], facts=lambda _: {"etcd": EtcdFacts(reachable=0, total=0)})
    assert isinstance(result, Failed)
    assert result.code == "never-started"
    assert at <= 151.1


def test_old_server_is_back_after_a_look_that_missed_it_and_etcd() -> None:
    state = begin(NOW, (OLD,))
    state = judge(state, DESIRED, observed(NOW + 1, processes=(), **etcd_until(9.0)(0.0)), DEADLINES).state
    assert state.without_etcd_s > 0
    state = judge(state, DESIRED, observed(NOW + 2, processes=(OLD,)), DEADLINES).state
    assert (state.without_etcd_s, state.since_end_s) == (0.0, 0.0)


@pytest.mark.parametrize("deleted_s", [60.0, 10_000.0])
def test_hostpath_of_another_type_is_told_early(deleted_s: float) -> None:
    """No process, no directory of the new pod; the old one's is deleted after a minute or not yet."""
    result, at = run([old(30.1)], facts=lambda at: {"pod_logs": pods() if at < deleted_s else pods(None, None)})
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("hostpath-mismatch", True)
    assert "hostPath" in result.text
    assert result.remedy
    assert 75.1 <= at <= 76.1


def test_image_that_cannot_be_pulled_is_told_early() -> None:
    def facts(at: float) -> Facts:
        return {"pod_logs": pods() if at < 41.4 else pods("new", None, made=NOW + 41.4)}

    result, at = run([old(30.1)], facts=facts)
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("image-missing", False)
    assert "v1.36.3" in result.text
    assert "crictl" in result.remedy
    assert 100.9 <= at <= 102.4


def test_image_that_is_pulled_slowly_passes() -> None:
    def facts(at: float) -> Facts:
        return {"pod_logs": pods() if at < 41.0 else pods("new", None if at < 96.0 else 0, made=NOW + 41.0)}

    result, _ = run([old(30.1), Life(pid=200, start=96.1, ready=99.0)], facts=facts)
    assert isinstance(result, Passed)
    assert result.proven


def test_kubelet_that_has_just_been_restarted_is_given_the_whole_gate() -> None:
    result, at = run([old(30.1)], facts=lambda _: {"pod_logs": pods(), "kubelet_started_unix_s": NOW + 60.0})
    assert isinstance(result, Failed)
    assert result.code == "hostpath-mismatch"
    assert 120.0 <= at <= 121.0


def test_server_that_has_died_once_is_no_silent_fault() -> None:
    result, at = run([old(30.1), Life(pid=200, start=40.0, end=41.0)], facts=lambda _: {"pod_logs": pods()})
    assert isinstance(result, Failed)
    assert result.code == "never-started"
    assert at > 150.1


def test_server_that_answers_and_is_never_ready() -> None:
    health = HealthFacts(livez=200, readyz=500, detail="/readyz answered 500: informer-sync failed")
    result, at = run([old(30.1), Life(pid=200, start=40.0)], health=lambda _: health)
    assert isinstance(result, Failed)
    assert result.code == "not-ready"
    assert "informer-sync" in result.text
    assert result.blames_target
    assert at > 150.1


def test_server_that_hangs_is_given_the_whole_gate() -> None:
    result, at = run([old(30.1), Life(pid=200, start=40.0)])
    assert isinstance(result, Failed)
    assert result.code == "hangs"
    assert "does not answer" in result.text
    assert result.remedy
    assert at > 150.1


@given(
    etcd=st.lists(st.booleans(), min_size=1, max_size=9),
    attempts=st.lists(st.none() | st.integers(0, 5), min_size=1, max_size=9),
    lines=st.lists(st.sampled_from(["", "Error: context deadline exceeded", "Killed"]), min_size=1, max_size=3),
    lives=st.lists(st.tuples(st.floats(31.0, 400.0), st.floats(0.1, 90.0)), max_size=5),
)
def test_every_gate_ends(
    etcd: list[bool], attempts: list[int | None], lines: list[str], lives: list[tuple[float, float]]
) -> None:
    """Whatever is seen: a server that is never ready is taken back after gate and overlap at the latest."""

    def facts(at: float) -> Facts:
        turn = int(at / 11)
        attempt = attempts[turn % len(attempts)]
        ended = None if attempt is None else container(attempt, lines[turn % len(lines)])
        return {
            "etcd": EtcdFacts(reachable=int(etcd[turn % len(etcd)]), total=1),
            "pod_logs": pods("new", attempt, made=NOW + 40),
            "ended": ended,
        }

    result, at = run(
        [old(30.1), *(Life(pid=200 + n, start=s, end=s + d) for n, (s, d) in enumerate(lives))], facts=facts
    )
    assert isinstance(result, Failed)
    assert at <= 30.1 + 120.0 + 300.0 + 2 * POLL_S
    assert result.remedy
