"""Each question has its pace: what costs a child or leaves a line elsewhere is asked where an answer is waited for."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest

from kauditd.core.trail import Trail, TrailState
from kauditd.engine.survey import ANXIOUS_S, CALM_S, ETCD_S, GATE_S, KUBELET_S, PATIENCE_S, RETRY_S
from tests.engine.surveying import UNREADY, Bench, server
from tests.engine.virtual import run


def gaps(times: list[float]) -> set[float]:
    return {round(b - a, 3) for a, b in pairwise(times)}


def test_calm_server_is_asked_for_its_health_every_fifteen_seconds() -> None:
    bench = Bench()
    bench.take_every(5, 120)
    assert gaps(bench.senses.asked_health) == {CALM_S}


def test_unready_server_is_asked_every_three_seconds_and_sent_no_canary() -> None:
    bench = Bench()
    bench.health = UNREADY
    taken = bench.take_every(1, 30)
    assert gaps(bench.senses.asked_health) == {ANXIOUS_S}
    assert bench.senses.asked_canary == []
    assert (taken.health, taken.trail) == (UNREADY, None)


@pytest.mark.parametrize(("carries", "spacing_s"), [(True, GATE_S), (False, CALM_S)])
def test_inside_a_gate_the_new_process_is_asked_every_second_and_the_old_one_seldom(
    carries: bool, spacing_s: float
) -> None:
    bench = Bench()
    bench.gate_open, bench.health = True, UNREADY
    if not carries:
        bench.process = server(flags=())
    bench.take_every(0.5, 40)
    assert gaps(bench.senses.asked_health) == {spacing_s}


def test_proof_is_taken_every_canary_interval() -> None:
    bench = Bench()
    taken = bench.take_every(5, 300)
    assert gaps([t for t, _ in bench.senses.asked_canary]) == {60.0}
    assert taken.trail is not None
    assert taken.trail.state is TrailState.PROVEN


def test_failed_proof_is_tried_again_soon() -> None:
    bench = Bench()
    bench.take()
    bench.log.delete_under(bench.process)
    bench.take_every(1, 61)
    assert bench.take().trail.code == "log-deleted"
    sent = len(bench.senses.asked_canary)
    bench.take_every(1, 60)
    since = [t for t, _ in bench.senses.asked_canary[sent:]]
    assert len(since) >= 4
    assert max(gaps(since)) <= RETRY_S + 4


def test_new_process_is_proven_at_once() -> None:
    bench = Bench()
    bench.take()
    bench.node.now += 5
    bench.process = server(pid=200)
    taken = bench.take()
    assert taken.trail is not None
    assert taken.trail.pid == 200
    assert len(bench.senses.asked_canary) == 2


def test_forced_round_comes_at_once_and_only_once() -> None:
    bench = Bench()
    bench.take()
    bench.survey.forced = True
    bench.node.now += 5
    bench.take_every(5, 20)
    assert [round(t - bench.senses.asked_canary[0][0]) for t, _ in bench.senses.asked_canary] == [0, 5]


def test_inside_a_gate_a_failed_round_is_repeated_every_second() -> None:
    bench = Bench()
    bench.gate_open, bench.senses.status = True, 503
    bench.take_every(0.5, 10)
    assert len(bench.senses.asked_canary) >= 3
    bench.senses.status = 404
    bench.node.now += GATE_S
    assert bench.take().trail.state is TrailState.PROVEN


def test_etcd_is_asked_only_while_a_gate_waits_for_a_server() -> None:
    bench = Bench()
    bench.health = UNREADY
    assert bench.take_every(1, 20).etcd is None
    bench.gate_open, bench.health = True, UNREADY
    assert bench.take_every(0.5, 20).etcd == bench.senses.etcd
    assert gaps(bench.senses.asked_etcd) == {ETCD_S}
    asked = len(bench.senses.asked_etcd)
    bench.health = None
    bench.process = None
    bench.take_every(0.5, 4)
    assert len(bench.senses.asked_etcd) > asked
    bench.process, bench.health = server(), bench.senses.health() or UNREADY
    bench.gate_open = False
    asked = len(bench.senses.asked_etcd)
    assert bench.take_every(1, 10).etcd is None
    assert len(bench.senses.asked_etcd) == asked


def test_pod_logs_are_read_in_every_look_of_a_gate_and_in_no_other() -> None:
    bench = Bench()
    assert bench.take_every(5, 30).pod_logs is None
    assert bench.senses.looked_at_pod == []
    bench.gate_open = True
    assert bench.take_every(0.5, 10).pod_logs == bench.senses.pod_logs
    assert gaps(bench.senses.looked_at_pod) == {0.5}
    assert len(bench.senses.looked_at_pod) == 21


def test_kubelet_is_heard_while_a_gate_has_no_process() -> None:
    bench = Bench()
    bench.gate_open = True
    bench.take_every(0.5, 20)
    assert bench.senses.heard_kubelet == []
    bench.process = None
    bench.take_every(0.5, 60)
    assert gaps([t for t, _ in bench.senses.heard_kubelet]) == {KUBELET_S}


def test_process_that_vanished_takes_health_and_trail_along() -> None:
    bench = Bench()
    assert bench.take().trail is not None
    bench.process = None
    taken = bench.take()
    assert (taken.health, taken.trail) == (None, None)
    asked = len(bench.senses.asked_health)
    bench.take_every(5, 60)
    assert len(bench.senses.asked_health) == asked


def test_nothing_asked_is_nothing_proven() -> None:
    bench = Bench()
    bench.asked = None
    assert bench.take_every(5, 120).trail is None
    assert bench.senses.asked_canary == []


def test_proven_process_that_is_gone_is_told_to_have_audited_to_its_end() -> None:
    bench = Bench()
    bench.take()
    bench.node.now += 15
    bench.take()
    bench.log.newest_unix_s = bench.node.now + 3
    bench.process = None
    bench.node.now += 5
    assert bench.take().ended_audited
    assert not bench.take().ended_audited, "told once"


def test_log_that_stopped_before_the_end_of_its_process_is_no_evidence() -> None:
    bench = Bench()
    bench.take()
    bench.log.newest_unix_s = bench.node.now
    bench.node.now += 15
    bench.take()
    bench.process = None
    bench.node.now += 5
    assert not bench.take().ended_audited


def test_event_of_the_successor_says_nothing_of_the_process_before() -> None:
    bench = Bench()
    bench.take()
    bench.log.delete_under(bench.process)
    bench.node.now += 5
    bench.take()
    bench.process = replace(server(pid=200), started_unix_s=bench.node.now + 2)
    bench.log.newest_unix_s = bench.node.now + 4
    bench.node.now += 5
    assert not bench.take().ended_audited


def test_process_whose_trail_failed_did_not_audit_to_its_end() -> None:
    bench = Bench()
    bench.take()
    bench.log.delete_under(bench.process)
    bench.take_every(5, 65)
    bench.log.newest_unix_s = bench.node.now + 3
    bench.process = None
    bench.node.now += 5
    assert not bench.take().ended_audited


def test_round_that_takes_long_does_not_hold_up_the_looks() -> None:
    """A failing round searches for seconds; drift must be seen meanwhile, and its result when it is there."""
    bench = Bench()
    bench.log.drops = True
    looks: list[tuple[float, Trail | None]] = []

    async def look_again_and_again() -> None:
        for _ in range(12):
            began = bench.node.now
            taken = await bench.survey.take(bench.wanted())
            looks.append((bench.node.now - began, taken.trail))
            await asyncio.sleep(0.5)
        bench.survey.close()

    run(look_again_and_again(), bench.pass_time)

    assert max(spent for spent, _ in looks) <= PATIENCE_S + 0.1
    assert looks[0][1] is None, "nothing is said before the round has ended"
    assert looks[-1][1] is not None
    assert looks[-1][1].state is not TrailState.PROVEN
