"""One round of proof: only an event that was seen proves, and what cannot be told is no failure."""

import pytest

from kauditd.core.canary import Route
from kauditd.core.proof import PolicyFacts
from kauditd.core.trail import TrailState
from kauditd.engine.proving import SEARCH_S
from tests.engine.surveying import FLAGS, Bench, server

FOREIGN = PolicyFacts(path="/etc/kubernetes/own.yaml", foreign=True)


def test_event_in_the_log_is_the_evidence() -> None:
    bench = Bench()
    began_s = bench.node.now
    trail = bench.prove()
    sent = bench.log.written[0].canary
    assert trail.state is TrailState.PROVEN
    assert (trail.audit_id, trail.uri, trail.taken_unix_s) == (sent.audit_id, sent.uri, began_s)
    assert (trail.pid, trail.started_unix_s) == (bench.process.pid, bench.process.started_unix_s)
    assert trail.file.endswith("/audit.log")
    assert bench.node.now == began_s, "what is there at once is not waited for"


def test_every_round_sends_an_id_of_its_own() -> None:
    bench = Bench()
    ids = {bench.prove().audit_id for _ in range(5)}
    assert len(ids) == 5


def test_event_that_comes_late_is_waited_for() -> None:
    bench = Bench()
    bench.log.delay_s = 2.0
    trail = bench.prove()
    assert trail.state is TrailState.PROVEN
    assert 2000 <= trail.latency_ms <= 2600
    assert len(bench.senses.searched) < 15, "in steps that grow"


def test_event_that_does_not_come_is_given_up_after_the_search() -> None:
    bench = Bench()
    bench.log.drops = True
    began_s = bench.node.now
    trail = bench.prove(policy=PolicyFacts(path="/p.yaml", foreign=False, recorded=frozenset({Route.OWN})))
    assert (trail.state, trail.code) == (TrailState.UNPROVEN, "canary-lost")
    assert SEARCH_S <= bench.node.now - began_s <= SEARCH_S + 0.5
    assert trail.hint


@pytest.mark.parametrize(
    ("hides", "tried"),
    [
        ({Route.OWN}, [Route.OWN, Route.VERSION]),
        ({Route.OWN, Route.VERSION}, [Route.OWN, Route.VERSION, Route.RESOURCE]),
    ],
)
def test_other_requests_are_tried_where_an_unknown_policy_hides_the_first(
    hides: set[Route], tried: list[Route]
) -> None:
    bench = Bench()
    bench.log.hides = frozenset(hides)
    assert bench.prove(policy=FOREIGN).state is TrailState.PROVEN
    assert [c.route for _, c in bench.senses.asked_canary] == tried


def test_policy_that_hides_everything_is_named() -> None:
    bench = Bench()
    bench.log.hides = frozenset(Route)
    trail = bench.prove(policy=FOREIGN)
    assert (trail.state, trail.code) == (TrailState.UNPROVEN, "canary-hidden")
    assert len(bench.senses.asked_canary) == len(Route)


def test_what_a_known_policy_hides_is_not_asked_for() -> None:
    bench = Bench()
    known = PolicyFacts(path="/p.yaml", foreign=False, recorded=frozenset({Route.RESOURCE}))
    assert bench.prove(policy=known).state is TrailState.PROVEN
    assert [c.route for _, c in bench.senses.asked_canary] == [Route.RESOURCE]


@pytest.mark.parametrize("status", [429, 503, 504])
def test_answer_from_before_the_audit_shows_nothing(status: int) -> None:
    bench = Bench()
    bench.senses.status = status
    trail = bench.prove()
    assert (trail.state, trail.code) == (TrailState.OPEN, "")
    assert str(status) in trail.text


def test_child_without_an_answer_proves_nothing_and_is_not_searched_for() -> None:
    bench = Bench()
    bench.senses.broken_child = True
    trail = bench.prove()
    assert trail.state is not TrailState.PROVEN
    assert "no answer" in trail.text
    assert bench.senses.searched == []
    assert bench.prover.health is None


@pytest.mark.parametrize(
    ("missing", "code"), [("audit-log-path", "audit-off"), ("audit-policy-file", "policy-missing-flag")]
)
def test_process_without_a_flag_is_unproven(missing: str, code: str) -> None:
    bench = Bench()
    bench.process = server(flags=tuple(f for f in FLAGS if f.name != missing))
    trail = bench.prove()
    assert (trail.state, trail.code) == (TrailState.UNPROVEN, code)


def test_process_without_a_log_is_not_asked() -> None:
    bench = Bench()
    bench.process = server(flags=())
    bench.prove()
    assert bench.senses.asked_canary == []


def test_log_deleted_under_the_process_is_unproven_although_it_answers() -> None:
    bench = Bench()
    bench.log.delete_under(bench.process)
    assert bench.prove().code == "log-deleted"


def test_log_that_cannot_be_read_proves_nothing() -> None:
    bench = Bench()
    bench.log.unreadable = True
    assert bench.prove().state is not TrailState.PROVEN
