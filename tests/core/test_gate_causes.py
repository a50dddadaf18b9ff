"""Why no API server comes up: whom the gate blames, how early it says so, and that it always ends."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.gate import Failed, Passed, Waiting, begin, judge
from kauditd.core.observed import EtcdFacts, HealthFacts
from tests.core.builders import DESIRED, NOW, observed
from tests.core.gateruns import DEADLINES, OLD, POLL_S, Facts, Life, container, judged, old, pods, run


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
