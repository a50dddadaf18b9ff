"""The gate in virtual time, on the timelines that real kubelets showed (seconds after the rename)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.gate import Failed, GateState, Passed, Waiting, begin, judge
from kauditd.core.observed import HealthFacts
from kauditd.core.phases import Phase
from tests.core.builders import DESIRED, NOTHING, NOW, OURS, REFUSED, STARTING, audited, observed, process
from tests.core.gateruns import DEADLINES, OLD, POLL_S, Life, old, run


def test_normal_pass_takes_as_long_as_the_api_server() -> None:
    result, at = run([old(30.1), Life(pid=200, start=39.5, ready=42.9)])
    assert isinstance(result, Passed)
    assert result.proven
    assert result.state.phase is Phase.TRAIL
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
