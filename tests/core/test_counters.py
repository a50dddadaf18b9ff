"""Counters against lines: what is found, and that an honest API server is never accused."""

from dataclasses import dataclass, field, replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.counters import (
    BATCH_SETTLE_S,
    BLOCKING_SETTLE_S,
    Agreed,
    Counters,
    CountFacts,
    Mismatch,
    Tally,
    Unknown,
    compare,
    parse_counters,
    settle_s,
)
from tests.core.builders import process

# From /metrics of kube-apiserver v1.37.2, policy "mixed".
RECORDED = """\
# HELP apiserver_audit_event_total [ALPHA] Counter of audit events generated and sent to the audit backend.
# TYPE apiserver_audit_event_total counter
apiserver_audit_event_total 2658
# HELP apiserver_audit_level_total [ALPHA] Counter of policy levels for audit events (1 per request).
# TYPE apiserver_audit_level_total counter
apiserver_audit_level_total{level="Metadata"} 2341
apiserver_audit_level_total{level="None"} 147
apiserver_audit_level_total{level="Request"} 176
apiserver_audit_level_total{level="RequestResponse"} 129
# HELP apiserver_audit_requests_rejected_total [ALPHA] Counter of apiserver requests rejected due to an error in audit
# TYPE apiserver_audit_requests_rejected_total counter
apiserver_audit_requests_rejected_total 0
"""
LIFE = (100, 1000.0)


def counters(events: int, **errors: int) -> Counters:
    return Counters(events=events, errors=tuple(sorted(errors.items())))


def facts(before: Counters, lines: int | tuple[int, int], after: Counters, **changed: object) -> CountFacts:
    low, high = (lines, lines) if isinstance(lines, int) else lines
    made = CountFacts(
        before=before,
        tally=Tally(low=low, high=high, position=None),
        after=after,
        lifetimes=(LIFE, LIFE),
        settled_s=2.0,
    )
    return replace(made, **changed)


def test_recorded_metrics_are_read() -> None:
    found = parse_counters(RECORDED.splitlines())

    assert found is not None
    assert (found.events, found.rejected, found.errors) == (2658, 0, ())
    assert found.level("None") == 147
    assert found.level("Request") == 176
    assert found.level("Nonsense") == 0
    assert found.error("log") == 0


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ("apiserver_audit_event_total 1.234567e+06", 1234567),
        ("apiserver_audit_event_total 7 1395066363000", 7),
        ("apiserver_audit_event_total{} 7", 7),
        ("apiserver_audit_event_total 7.5", None),
        ("apiserver_audit_event_total NaN", None),
        ("apiserver_audit_event_total 1e999", None),
        ("apiserver_audit_event_total 1.2.3", None),
        ("apiserver_audit_event_total", None),
        ("apiserver_audit_event_total_total 7", None),
        ("apiserver_request_total 7", None),
        ("", None),
    ],
)
def test_a_sample_is_a_whole_number(line: str, events: int | None) -> None:
    found = parse_counters([line])

    assert (None if found is None else found.events) == events


def test_errors_are_kept_by_plugin() -> None:
    found = parse_counters(
        [
            'apiserver_audit_error_total{plugin="log"} 3',
            'apiserver_audit_error_total{plugin="webhook"} 4',
            "apiserver_audit_event_total 10",
            "apiserver_audit_requests_rejected_total 2",
            'apiserver_audit_new_total{thing="x"} 1',
        ]
    )

    assert found == Counters(events=10, errors=(("log", 3), ("webhook", 4)), rejected=2)


def test_as_many_lines_as_events_without_errors() -> None:
    seen = counters(100, log=3, truncate=2, buffered=1, webhook=50)

    assert compare(facts(seen, 94, seen)) == Agreed(low=94, high=94)


def test_a_lost_line_is_reported() -> None:
    found = compare(facts(counters(100), 99, counters(100)))

    assert isinstance(found, Mismatch)
    assert (found.code, found.count) == ("lines-lost", 1)
    assert found.text == "1 line that the API server wrote is missing from the log"


def test_lines_of_somebody_else_are_reported() -> None:
    found = compare(facts(counters(100, log=5), 98, counters(100, log=5)))

    assert isinstance(found, Mismatch)
    assert (found.code, found.count) == ("lines-foreign", 3)
    assert "3 lines" in found.text
    assert found.hint


@pytest.mark.parametrize("lines", range(100, 111))
def test_what_arrived_between_the_readings_is_no_finding(lines: int) -> None:
    assert isinstance(compare(facts(counters(100), lines, counters(110))), Agreed)


def test_errors_between_the_readings_widen_both_sides() -> None:
    before, after = counters(100, log=1), counters(110, log=3)

    assert compare(facts(before, 97, after)) == Agreed(low=97, high=109)
    assert isinstance(compare(facts(before, 96, after)), Mismatch)
    assert isinstance(compare(facts(before, 110, after)), Mismatch)


def test_lines_around_the_start_count_for_either_side() -> None:
    """Lines of the moment of the start may be the predecessor's or its successor's."""
    assert isinstance(compare(facts(counters(100), (95, 105), counters(100))), Agreed)
    assert compare(facts(counters(100), (95, 99), counters(100))).__class__ is Mismatch
    assert compare(facts(counters(100), (101, 105), counters(100))).__class__ is Mismatch


def test_errors_of_a_webhook_are_not_taken_for_foreign_lines() -> None:
    """The webhook's buffer drops events that the log has; both count as ``buffered``."""
    seen = counters(100, buffered=10)

    assert isinstance(compare(facts(seen, 100, seen)), Mismatch)
    assert isinstance(compare(facts(seen, 100, seen, webhook=True)), Agreed)
    assert isinstance(compare(facts(seen, 101, seen, webhook=True)), Mismatch)


def test_a_line_on_its_way_is_not_lost() -> None:
    early = facts(counters(100), 99, counters(100), settled_s=1.9)

    assert isinstance(compare(early), Unknown)
    assert isinstance(compare(replace(early, settle_s=1.0)), Mismatch)
    assert isinstance(compare(replace(early, settled_s=1e9, settle_s=inf)), Unknown)
    assert compare(replace(early, tally=replace(early.tally, low=101, high=101))).__class__ is Mismatch


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), BLOCKING_SETTLE_S),
        ((("audit-log-mode", ""),), BLOCKING_SETTLE_S),
        ((("audit-log-mode", "blocking-strict"),), BLOCKING_SETTLE_S),
        ((("audit-log-mode", "batch"),), BATCH_SETTLE_S),
        ((("audit-log-mode", "of-the-future"),), BATCH_SETTLE_S),
        ((("audit-log-mode", "batch"), ("audit-log-batch-max-wait", "1m30.5s")), BATCH_SETTLE_S + 90.5),
        ((("audit-log-mode", "batch"), ("audit-log-batch-max-wait", "soon")), inf),
        ((("audit-log-mode", "batch"), ("audit-log-batch-max-wait", "5")), inf),
        ((("audit-log-mode", "batch"), ("audit-log-batch-throttle-enable", "true")), inf),
        ((("audit-log-mode", "batch"), ("audit-log-batch-throttle-enable", "false")), BATCH_SETTLE_S),
        ((("audit-log-batch-throttle-enable", "true"),), BLOCKING_SETTLE_S),
    ],
)
def test_how_long_an_event_may_be_on_its_way(pairs: tuple[tuple[str, str], ...], expected: float) -> None:
    assert settle_s(process(100, 0.0, *pairs)) == expected


def test_a_restart_between_the_readings_says_nothing() -> None:
    lost = facts(counters(100), 1, counters(100))

    assert isinstance(compare(replace(lost, lifetimes=(LIFE, (101, 1000.0)))), Unknown)
    assert isinstance(compare(replace(lost, lifetimes=(LIFE, (100, 2000.0)))), Unknown)
    assert isinstance(compare(replace(lost, after=counters(99))), Unknown)


def test_deleted_generations_make_the_count_impossible() -> None:
    gone = Tally(low=1, high=1, position=None, complete=False, detail="the file is gone")
    found = compare(facts(counters(100), 0, counters(100), tally=gone))

    assert found == Unknown(text="the file is gone")
    unnamed = compare(facts(counters(100), 0, counters(100), tally=replace(gone, detail="")))
    assert isinstance(unnamed, Unknown)
    assert unnamed.text


def test_after_a_stepped_clock_times_do_not_tell_where_the_lifetime_begins() -> None:
    lost = facts(counters(100), 1, counters(100), clock_stepped=True)

    assert isinstance(compare(lost), Mismatch)
    assert isinstance(compare(replace(lost, tally=replace(lost.tally, by_clock=True))), Unknown)


@dataclass
class HonestServer:
    """An API server with its counters and its log, which does one small thing at a time.

    An event is counted first, then written or counted as failed. Nothing else is promised about the order.
    """

    events: int = 0
    errors: dict[str, int] = field(default_factory=lambda: {"log": 0, "truncate": 0, "buffered": 0})
    lines: int = 0
    under_way: int = 0

    def step(self, action: str) -> None:
        if action == "count":
            self.events += 1
            self.under_way += 1
        elif self.under_way:
            self.under_way -= 1
            if action == "write":
                self.lines += 1
            else:
                self.errors[action] += 1

    def settle(self) -> None:
        while self.under_way:
            self.step("write")


STEPS = st.lists(st.sampled_from(["count", "count", "write", "log", "truncate", "buffered"]), max_size=30)


def reading(server: HonestServer, between: list[str], *, events_first: bool) -> Counters:
    """One scrape: the two families are collected one after the other, and events happen in between."""
    events, errors = server.events, dict(server.errors)
    for action in between:
        server.step(action)
    if events_first:
        errors = dict(server.errors)
    else:
        events = server.events
    return Counters(events=events, errors=tuple(sorted(errors.items())))


@given(STEPS, STEPS, st.booleans(), STEPS, STEPS, STEPS, STEPS, st.booleans(), st.integers(0, 5), st.integers(0, 5))
def test_an_honest_log_is_never_accused(
    start: list[str],
    in_first: list[str],
    first_order: bool,
    before: list[str],
    during: list[str],
    after: list[str],
    in_second: list[str],
    second_order: bool,
    uncertain_low: int,
    uncertain_high: int,
) -> None:
    """Whatever happens before, while and after the counters are read and the lines counted."""
    server = HonestServer()
    for action in start:
        server.step(action)
    first = reading(server, in_first, events_first=first_order)
    server.settle()  # what was under way had its two seconds
    for action in before:
        server.step(action)
    counted = server.lines
    for action in during:  # the file grows while it is read: the count may be of any moment
        server.step(action)
    counted = (counted + server.lines) // 2
    for action in after:
        server.step(action)
    second = reading(server, in_second, events_first=second_order)

    lines = (max(0, counted - uncertain_low), counted + uncertain_high)
    assert isinstance(compare(facts(first, lines, second)), Agreed)


@given(st.integers(0, 1000), st.integers(0, 30), st.integers(0, 20), st.integers(-10, 10).filter(bool))
def test_at_rest_every_difference_is_found_with_its_number(events: int, errors: int, new: int, wrong: int) -> None:
    """Without traffic the interval has one member, so nothing hides in it."""
    events += errors + 10
    seen = counters(events, log=errors)
    found = compare(facts(seen, events - errors + wrong, seen))

    assert isinstance(found, Mismatch)
    assert found.count == abs(wrong)
    assert found.code == ("lines-foreign" if wrong > 0 else "lines-lost")
    busy = compare(facts(seen, events - errors + wrong, counters(events + new, log=errors)))
    assert isinstance(busy, Agreed if 0 < wrong <= new else Mismatch)
