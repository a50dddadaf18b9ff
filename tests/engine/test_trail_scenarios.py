"""What is called protected was seen to arrive in the log; what stops arriving is told within one canary interval."""

import pytest

from kauditd.core.canary import Route
from kauditd.core.counters import Agreed, Mismatch
from kauditd.core.model import Outcome, Verdict
from kauditd.core.windows import SpanKind, WindowCause
from kauditd.engine.survey import RETRY_S
from tests.engine.world import World, codes, plain, protected_world, started_world

INTERVAL_S = 60.0
SPACING_S = 6.0
"""Between two looks, with the step of the world's clock."""


def restart(world: World) -> None:
    """The container is killed and the kubelet starts it again."""
    world.kubelet._dies = world.node.now


def until(world: World, verdict: Verdict, limit_s: float) -> float:
    return world.run_until(lambda: world.report().verdict is verdict, limit_s=limit_s, what=verdict)


def test_change_is_proven_only_by_an_event_that_was_seen() -> None:
    world = started_world()
    world.log.delay_s = 2.5
    world.run_until(lambda: bool(world.changes) and world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes == [("enable", Outcome.PROVEN)]
    first = world.log.written[0]
    assert first.canary.audit_id in world.changes[-1].reason
    assert world.changes[-1].finished_unix_s >= first.at_unix_s == world.senses.asked_canary[0][0] + 2.5
    shown = world.report()
    assert shown.proof.evidence is not None
    assert shown.proof.evidence.audit_id == first.canary.audit_id


def test_log_deleted_under_the_server_is_told_within_one_interval_and_ends_with_a_restart() -> None:
    world = protected_world()
    world.log.delete_under(world.kubelet.process)
    assert until(world, Verdict.UNPROTECTED, 200) <= INTERVAL_S + SPACING_S
    shown = world.report()
    assert "log-deleted" in codes(shown)
    assert shown.proof.proven_unix_s is None
    assert shown.proof.code == "log-deleted"
    restart(world)
    until(world, Verdict.PROTECTED, 60)
    assert "log-deleted" not in codes(world.report())
    assert world.replaced() == 0, "no manifest is written for a fault of the log"


@pytest.mark.parametrize(
    ("fault", "code"),
    [("in_container", "log-in-container"), ("drops", "canary-lost")],
)
def test_gate_fails_for_a_trail_that_stays_unproven(fault: str, code: str) -> None:
    world = started_world()
    setattr(world.log, fault, True)
    world.run_until(lambda: bool(world.changes) and world.changes[-1].outcome is not Outcome.OPEN, limit_s=400)
    assert world.outcomes == [("enable", Outcome.ROLLED_BACK)]
    assert world.changes[-1].reason.startswith(f"{code}: ")
    assert world.manifest == plain()
    assert "target-known-bad" in codes(world.run(60))
    assert len(world.changes) == 1
    assert world.kubelet.restarts == 2


def test_disk_that_fills_inside_a_gate_is_taken_back_and_tried_again_when_there_is_room() -> None:
    world = started_world()
    world.run(2)
    world.log.free_bytes = world.node.free_bytes = 1000
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=400)
    assert world.outcomes == [("enable", Outcome.ROLLED_BACK)]
    assert world.changes[-1].reason.startswith("disk-full: ")
    shown = world.run(120)
    assert "no-room" in codes(shown)
    assert len(world.changes) == 1
    world.log.free_bytes = world.node.free_bytes = 100 << 30
    world.run_until(lambda: world.outcomes[-1] == ("enable", Outcome.PROVEN), limit_s=120)


@pytest.mark.parametrize("fault", ["in_container", "drops"])
def test_trail_that_breaks_later_is_unprotected_and_mends_by_itself(fault: str) -> None:
    world = protected_world()
    setattr(world.log, fault, True)
    assert until(world, Verdict.UNPROTECTED, 200) <= INTERVAL_S + 2 * SPACING_S
    setattr(world.log, fault, False)
    assert until(world, Verdict.PROTECTED, 200) <= RETRY_S + 2 * SPACING_S


def test_inconclusive_rounds_do_not_make_a_protected_node_unprotected_until_its_proof_is_old() -> None:
    world = protected_world()
    proven_s = world.report().proof.proven_unix_s
    world.senses.status = 503
    rounds = len(world.senses.asked_canary)
    while world.node.now - proven_s < 2 * INTERVAL_S - SPACING_S:
        assert world.run(1).verdict is Verdict.PROTECTED, world.report().sentence
    assert len(world.senses.asked_canary) - rounds >= 3
    assert world.report().proof.proven_unix_s == proven_s
    until(world, Verdict.UNPROTECTED, 3 * SPACING_S)
    assert "proof-stale" in codes(world.report())
    world.senses.status = 404
    assert until(world, Verdict.PROTECTED, 60) <= RETRY_S + SPACING_S


def test_server_that_stops_answering_is_unprotected() -> None:
    world = protected_world()
    world.senses.silent = True
    until(world, Verdict.UNPROTECTED, 2 * INTERVAL_S + 3 * SPACING_S)
    world.senses.silent = False
    until(world, Verdict.PROTECTED, 60)


def test_own_policy_that_hides_the_first_canary_is_proven_by_another() -> None:
    world = started_world(
        "target:\n  kubelet_stable_s: 60\npolicy:\n  file: /srv/policy.yaml\n",
    )
    hiding = f"- level: None\n  nonResourceURLs: ['{Route.OWN}']\n- level: Metadata\n"
    world.node.put("/srv/policy.yaml", b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n" + hiding.encode())
    world.log.hides = frozenset({Route.OWN})
    world.run_until(lambda: world.outcomes[-1:] == [("enable", Outcome.PROVEN)], limit_s=90)
    assert {c.route for _, c in world.senses.asked_canary} == {Route.VERSION}


@pytest.mark.parametrize("code", ["lines-lost", "lines-foreign"])
def test_lost_or_foreign_line_degrades_with_its_count_until_that_process_ends(code: str) -> None:
    world = protected_world()
    process = world.kubelet.process
    found = Mismatch(code=code, count=3, text=f"3 lines are {code}", hint="kauditctl doctor")
    world.guard.note_balance(process, found)
    shown = world.run(6)
    assert shown.verdict is Verdict.DEGRADED
    assert next(r for r in shown.reasons if r.code == code).text == found.text
    world.guard.note_balance(process, Agreed(low=9, high=9))
    assert world.run(300).verdict is Verdict.DEGRADED, "a line that was lost stays lost"
    restart(world)
    world.run(60)
    assert world.kubelet.process.pid != process.pid
    assert world.report().verdict is Verdict.PROTECTED
    assert code not in codes(world.report())


def test_log_deleted_is_a_window_with_its_cause() -> None:
    world = protected_world()
    known = len(world.windows)
    world.run(120)
    assert len(world.windows) == known, "what is proven again and again opens none"
    world.log.delete_under(world.kubelet.process)
    until(world, Verdict.UNPROTECTED, 200)
    opened = world.windows[-1]
    assert (opened.cause, opened.kind, opened.end_unix_s) == (WindowCause.LOG_DELETED, SpanKind.UNAUDITED, None)
    restart(world)
    until(world, Verdict.PROTECTED, 60)
    world.run(10)
    assert world.windows[-1].id == opened.id
    assert world.windows[-1].end_unix_s is not None
