"""The last phase of the gate: flags and readiness prove nothing until an event of the new process was seen."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.gate import Failed, GateResult, GateState, Passed, Waiting, begin, judge
from kauditd.core.model import ApiServerProcess
from kauditd.core.observed import EtcdFacts
from kauditd.core.phases import Phase, find_missing
from kauditd.core.trail import Trail, TrailState
from tests.core.builders import DESIRED, NOTHING, NOW, audited, observed, trail
from tests.core.gateruns import DEADLINES, OLD, POLL_S, Life, container, old, run

LIVES = [old(30.1), Life(pid=200, start=40.0, ready=43.0)]
OPEN, PROVEN, UNPROVEN = TrailState.OPEN, TrailState.PROVEN, TrailState.UNPROVEN
DEADLINE_S = 30.1 + 120.0


def failing(code: str) -> Trail:
    return trail(audited(200, NOW + 40), UNPROVEN, code=code, text=f"it is {code}", hint=f"mend {code}")


def test_event_that_was_seen_is_the_pass_and_its_evidence_is_told() -> None:
    result, at = run(LIVES)
    assert isinstance(result, Passed)
    assert result.proven
    assert result.state.phase is Phase.TRAIL
    assert "canary-1" in result.text
    assert 43.0 <= at <= 43.5


def test_flags_and_readiness_alone_are_not_proven() -> None:
    result, at = run(LIVES, rounds=lambda *_: None)
    assert isinstance(result, Failed)
    assert (result.code, result.state.phase) == ("trail-unproven", Phase.TRAIL)
    assert result.remedy
    assert result.blames_target
    assert DEADLINE_S < at <= DEADLINE_S + 2 * POLL_S


@pytest.mark.parametrize(
    ("code", "blames"),
    [
        ("disk-full", False),
        ("log-deleted", False),
        ("log-renamed", False),
        ("api-server-silent", False),
        ("log-in-container", True),
        ("log-not-open", True),
        ("log-stdout", True),
        ("webhook-only", True),
        ("policy-missing-flag", True),
        ("policy-none", True),
        ("canary-hidden", True),
        ("canary-lost", True),
    ],
)
def test_trail_that_does_not_work_fails_with_its_own_reason(code: str, *, blames: bool) -> None:
    result, at = run(LIVES, rounds=lambda *_: failing(code))
    assert isinstance(result, Failed)
    assert (result.code, result.remedy, result.blames_target) == (code, f"mend {code}", blames)
    assert result.text.startswith(f"it is {code}")
    assert DEADLINE_S < at <= DEADLINE_S + 2 * POLL_S


def test_round_without_code_or_hint_still_says_what_to_do() -> None:
    bare = trail(audited(200, NOW + 40), OPEN)
    result, _ = run(LIVES, rounds=lambda *_: bare)
    assert isinstance(result, Failed)
    assert (result.code, result.remedy, result.blames_target) == ("trail-unproven", "kauditctl doctor", True)
    assert result.text.startswith(bare.text)


@pytest.mark.parametrize("first", [OPEN, UNPROVEN])
def test_round_that_shows_nothing_yet_waits_for_one_that_does(first: TrailState) -> None:
    result, at = run(LIVES, rounds=lambda at, p: trail(p, first if at < 100.0 else PROVEN))
    assert isinstance(result, Passed)
    assert result.proven
    assert 100.0 <= at <= 100.5


@pytest.mark.parametrize("other", [audited(199, NOW + 40), audited(200, NOW - 3600)])
def test_proof_of_another_process_does_not_count(other: ApiServerProcess) -> None:
    """Of a predecessor, or of one whose number is used again."""
    result, _ = run(LIVES, rounds=lambda *_: trail(other))
    assert isinstance(result, Failed)
    assert result.code == "trail-unproven"


def test_slow_start_of_55_s_and_its_first_rounds_pass() -> None:
    lives = [old(30.1), Life(pid=200, start=40.0, ready=95.0)]
    result, at = run(lives, rounds=lambda at, p: trail(p, OPEN if at < 97.0 else PROVEN) if at >= 95.0 else None)
    assert isinstance(result, Passed)
    assert result.proven
    assert 97.0 <= at <= 97.5


def test_event_in_the_log_does_not_replace_readiness() -> None:
    result, _ = run([old(30.1), Life(pid=200, start=40.0)], rounds=lambda _, p: trail(p))
    assert isinstance(result, Failed)
    assert result.code == "hangs"


@pytest.mark.parametrize("round_", [None, failing("policy-none"), trail(audited(200, NOW + 40))])
def test_way_back_asks_for_no_event(round_: Trail | None) -> None:
    lives = [old(30.1), Life(pid=200, start=40.0, ready=43.0, flags=())]
    result, at = run(lives, desired=NOTHING, rounds=lambda *_: round_)
    assert isinstance(result, Passed)
    assert result.proven
    assert result.state.phase is Phase.READY
    assert "canary" not in result.text
    assert at <= 43.5


def test_ready_server_is_not_condemned_for_what_came_before_it() -> None:
    """Looks were far apart: two deaths, one of them over audit, and now a server that is ready and not proven yet."""
    state = GateState(written_unix_s=NOW, old_pid=None, old_started_unix_s=None, seen=((200, NOW), (201, NOW + 1)))
    words = container(1, "Error: unknown flag: --audit-log-maxsizes")
    now = audited(202, NOW + 12)
    first = judge(state, DESIRED, observed(NOW + 14, processes=(now,), trail=trail(now, OPEN)), DEADLINES)
    assert isinstance(first, Waiting)
    look = observed(NOW + 15, processes=(now,), trail=trail(now, OPEN), ended=words)
    assert isinstance(judge(first.state, DESIRED, look, DEADLINES), Waiting)


def test_etcd_of_before_does_not_stretch_the_wait_for_an_event() -> None:
    """The last words of an earlier attempt blame etcd; the server that is ready now has it."""
    line = 'E1123 18:24:16.8 1 run.go:72] "command failed" err="context deadline exceeded"'
    lives = [old(30.1), Life(pid=200, start=40.0, end=60.0), Life(pid=201, start=61.0, ready=64.0)]
    result, at = run(
        lives,
        facts=lambda at: {"ended": container(0, line) if at >= 60.0 else None, "etcd": EtcdFacts(reachable=1, total=1)},
        rounds=lambda _, p: trail(p, UNPROVEN, code="policy-none"),
    )
    assert isinstance(result, Failed)
    assert result.code == "policy-none"
    assert at <= DEADLINE_S + 10.0


def test_restart_of_kauditd_inside_the_gate_asks_for_an_event_again() -> None:
    server = audited(200, NOW + 40)
    result = judge(begin(NOW, (server,)), DESIRED, observed(NOW + 50, processes=(server,), trail=None), DEADLINES)
    assert isinstance(result, Waiting)
    assert result.state.phase is Phase.TRAIL


def test_old_server_that_is_proven_passes_nothing() -> None:
    """Its events say nothing of the manifest that was written."""
    look = observed(NOW + 1, processes=(OLD,), trail=trail(OLD))
    assert isinstance(judge(begin(NOW, (OLD,)), DESIRED, look, DEADLINES), Waiting)


@given(states=st.lists(st.sampled_from([None, *TrailState]), min_size=1, max_size=8), spoken=st.booleans())
def test_no_gate_is_proven_without_an_event_of_the_new_process(
    states: list[TrailState | None], *, spoken: bool
) -> None:
    def rounds(at: float, process: ApiServerProcess) -> Trail | None:
        state = states[int(at / 7) % len(states)]
        return None if state is None else trail(process if spoken else OLD, state)

    result, at = run(LIVES, rounds=rounds)
    if isinstance(result, Passed):
        assert spoken
        assert states[int(at / 7) % len(states)] is PROVEN
    else:
        assert isinstance(result, Failed)
        assert at <= DEADLINE_S + 2 * POLL_S


def test_missing_trail_is_asked_for_where_a_flag_is_asked_for() -> None:
    server = audited()
    look = observed(trail=None)
    assert find_missing(NOTHING, look, server) is None
    missing = find_missing(DESIRED, look, server)
    assert missing is not None
    assert missing.phase is Phase.TRAIL


@pytest.mark.parametrize(("taken_s", "passes"), [(30.0, True), (-1.0, False)])
def test_repair_that_came_before_the_kubelet_looked_restarts_nothing(taken_s: float, *, passes: bool) -> None:
    serving = audited(100, NOW - 900)
    seen = trail(serving, PROVEN, taken_unix_s=NOW + taken_s)
    state = replace(begin(NOW, (serving,)), same_pod=True)
    result: GateResult = Waiting(state=state, text="")
    for second in range(1, 61):
        assert isinstance(result, Waiting)
        look = observed(NOW + second, processes=(serving,), trail=seen)
        result = judge(result.state, DESIRED, look, DEADLINES)
    assert isinstance(result, Passed if passes else Waiting)
    assert not passes or result.proven


def test_another_pod_must_restart_however_well_the_old_one_runs() -> None:
    serving = audited(100, NOW - 900)
    result: GateResult = Waiting(state=begin(NOW, (serving,)), text="")
    for second in range(1, 200):
        assert isinstance(result, Waiting)
        seen = trail(serving, PROVEN, taken_unix_s=NOW + second)
        result = judge(result.state, DESIRED, observed(NOW + second, processes=(serving,), trail=seen), DEADLINES)
    assert isinstance(result, Waiting)
