"""The ledger: what each second of a node's life counts as."""

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kauditd.core.ledger import Ledger, advance, annotate, coverage, tell
from kauditd.core.looks import Event, EventKind, Look, ProofResult, ServerId, server_id
from kauditd.core.model import ApiServerProcess
from kauditd.core.windows import SpanKind, Window, WindowCause
from tests.core.lives import BOOT_UNIX_S, STEPS, check_tiling, play

PROVEN, UNAUDITED, NO_SERVER, UNKNOWN = SpanKind
A = ServerId(pid=100, started_s=900.0)
B = ServerId(pid=200, started_s=1_032.0)
GOOD = ProofResult(ok=True, audit_id="canary-1")
BAD = ProofResult(ok=False, how="the log's inode has no name", cause=WindowCause.LOG_DELETED)


def look(at_s: float, process: ServerId | None = A, **fields: object) -> Look:
    """A look ``at_s`` after the boot; a process serves unless said otherwise."""
    given = {"serving": process is not None, "boot_id": "one", "at_unix_s": BOOT_UNIX_S + at_s, **fields}
    return Look(monotonic_s=at_s, process=process, **given)


def started(at_s: float) -> Event:
    return Event(kind=EventKind.STARTED, at_unix_s=BOOT_UNIX_S + at_s)


def fold(*items: Look | Event) -> Ledger:
    ledger = Ledger()
    for item in items:
        ledger = advance(ledger, item) if isinstance(item, Look) else tell(ledger, item)
        check_tiling(ledger)
    return ledger


def told(ledger: Ledger) -> list[tuple[SpanKind, float]]:
    return [(s.kind, round(s.end_s - s.start_s, 3)) for s in ledger.spans]


def only(ledger: Ledger) -> Window:
    assert len(ledger.windows) == 1
    return ledger.windows[0]


def test_time_between_two_proofs_is_proven_and_the_newest_waits() -> None:
    ledger = fold(look(1000, proof=GOOD), look(1005), look(1010, proof=GOOD), look(1015))
    assert told(ledger) == [(PROVEN, 10)]
    sums = coverage(ledger)
    assert sums is not None
    assert (sums.pending_s, sums.total.proven_s, sums.total.coverage_ratio) == (5, 10, 1)
    assert ledger.windows == ()


def test_nothing_is_known_before_the_first_look() -> None:
    ledger = fold(started(1))
    assert ledger == Ledger()
    assert coverage(ledger) is None


def test_a_proof_covers_only_up_to_when_its_canary_was_sent() -> None:
    sent = replace(GOOD, taken_monotonic_s=1007.0)
    assert told(fold(look(1000, proof=GOOD), look(1005), look(1010, proof=sent))) == [(PROVEN, 7)]
    assert told(fold(look(1000, proof=GOOD), look(1010, proof=replace(sent, taken_monotonic_s=1000.0)))) == []


def test_a_failed_proof_reaches_back_to_the_last_good_one() -> None:
    ledger = fold(look(1000), look(1005, proof=GOOD), look(1010), look(1015, proof=BAD))
    assert told(ledger) == [(PROVEN, 5), (UNAUDITED, 10)]
    assert only(ledger) == Window(
        id=1,
        kind=UNAUDITED,
        cause=WindowCause.LOG_DELETED,
        start_unix_s=BOOT_UNIX_S + 1005,
        end_unix_s=None,
        duration_s=10,
        detected_unix_s=BOOT_UNIX_S + 1015,
        detection_delay_s=10,
        detected_by="the log's inode has no name",
    )


def test_a_window_ends_at_the_next_good_proof_and_says_what_repaired_it() -> None:
    repaired = Event(kind=EventKind.REPAIRED, at_unix_s=BOOT_UNIX_S + 1012, text="change 12, repair")
    ledger = fold(look(1000, proof=GOOD), look(1005, proof=BAD), look(1010), repaired, look(1015, proof=GOOD))
    window = only(ledger)
    assert told(ledger) == [(UNAUDITED, 15)]
    assert (window.end_unix_s, window.duration_s) == (BOOT_UNIX_S + 1015, 15)
    assert (window.repaired_by, window.repaired_unix_s) == ("change 12, repair", BOOT_UNIX_S + 1012)
    assert (window.resumed_audit_id, window.resumed_unix_s) == ("canary-1", BOOT_UNIX_S + 1015)
    later = tell(ledger, replace(repaired, text="change 13"))
    assert only(later).repaired_by == "change 12, repair"


def test_a_proof_from_before_the_failure_ends_nothing() -> None:
    stale = replace(GOOD, taken_monotonic_s=1003.0)
    ledger = fold(look(1000, proof=GOOD), look(1005, proof=BAD), look(1010, proof=stale))
    assert told(ledger) == [(UNAUDITED, 10)]
    assert only(ledger).end_unix_s is None


def test_a_proof_that_does_not_come_counts_as_failed() -> None:
    looks = [look(1000 + n) for n in range(0, 161, 5)]
    ledger = fold(replace(looks[0], proof=GOOD), *looks[1:])
    assert told(ledger) == [(UNAUDITED, 160)]
    assert only(ledger).cause is WindowCause.PROOF_FAILED
    assert only(ledger).detected_by == "no proof for 155 s"
    assert fold(replace(looks[0], proof=GOOD), *looks[1:31]).windows == ()
    hinted = fold(*(replace(item, hint=WindowCause.POLICY_NONE) for item in looks))
    assert only(hinted).cause is WindowCause.POLICY_NONE


def test_one_proof_that_is_brought_again_and_again_covers_no_more_than_once() -> None:
    last = replace(GOOD, taken_monotonic_s=1001.0)
    looks = [look(1000 + n, proof=last) for n in range(2, 160, 5)]
    assert told(fold(look(1000, proof=GOOD), *looks[:30])) == [(PROVEN, 1)]
    ledger = fold(look(1000, proof=GOOD), *looks)
    assert told(ledger) == [(PROVEN, 1), (UNAUDITED, 156)]
    assert only(ledger).end_unix_s is None
    again = fold(look(1000, proof=GOOD), *looks, look(1160, B, proof=last), look(1165, B, proof=last))
    assert [k for k, _ in told(again)] == [PROVEN, UNAUDITED], "nor does it cover another process"


@pytest.mark.parametrize("by", ["hint", "proof"])
def test_a_cause_becomes_more_exact_but_never_another(by: str) -> None:
    vague, exact = ProofResult(ok=False), WindowCause.UPGRADE_OVERWROTE
    second = look(1010, hint=exact) if by == "hint" else look(1010, proof=replace(vague, cause=exact))
    ledger = fold(look(1000), look(1005, proof=vague), second, look(1015, proof=BAD), look(1020))
    assert only(ledger).cause is exact
    assert only(ledger).detected_by == "a proof failed"
    sums = coverage(ledger)
    assert sums is not None
    assert sums.unaudited_s_by_cause == {"proof-failed": 5, "upgrade-overwrote": 15}


def test_a_clean_restart_of_the_api_server_makes_no_window() -> None:
    ledger = fold(
        look(1000, proof=GOOD),
        look(1020),
        look(1025, None, closed_by="the log goes on to the last event of the old process"),
        look(1030, None),
        look(1035, B, serving=False),
        look(1040, B),
        look(1045, B, proof=GOOD),
    )
    # From 1035 on the new process may have served: the look before says no, the look after says yes.
    assert told(ledger) == [(PROVEN, 25), (NO_SERVER, 10), (PROVEN, 10)]
    assert ledger.windows == ()


@pytest.mark.parametrize("closed_by", ["", "evidence"])
def test_a_process_that_ends_without_a_last_proof_leaves_a_window(closed_by: str) -> None:
    never_proven = fold(look(1000), look(1020), look(1025, None, closed_by=closed_by))
    assert told(never_proven) == [(UNAUDITED, 25)], "evidence extends a proof and never replaces one"
    ledger = fold(look(1000, proof=GOOD), look(1020), look(1025, None, closed_by=closed_by))
    assert told(ledger) == [(PROVEN if closed_by else UNAUDITED, 25)]
    failed = fold(look(1000, proof=GOOD), look(1020, proof=BAD), look(1025, None, closed_by=closed_by))
    assert told(failed) == [(UNAUDITED, 25)]
    assert only(failed).cause is WindowCause.LOG_DELETED
    assert only(failed).end_unix_s == BOOT_UNIX_S + 1025, "nothing serves any more"


def test_an_upgrade_that_drops_the_flags_is_a_window_from_the_start_of_the_new_process() -> None:
    bare = ProofResult(ok=False, how="no --audit-log-path", cause=WindowCause.UPGRADE_OVERWROTE)
    third = ServerId(pid=300, started_s=1048.0)
    ledger = fold(
        look(1028, proof=GOOD),
        look(1030, None, closed_by="evidence"),
        look(1035, B, proof=bare),
        look(1040, B),
        look(1045, None),
        look(1050, third),
        look(1055, third, proof=GOOD),
    )
    assert told(ledger) == [(PROVEN, 2), (NO_SERVER, 2), (UNAUDITED, 13), (NO_SERVER, 3), (PROVEN, 7)]
    window = only(ledger)
    assert (window.cause, window.detection_delay_s) == (WindowCause.UPGRADE_OVERWROTE, 3)
    assert window.resumed_audit_id == "canary-1"


def test_a_process_that_does_not_serve_is_no_server_and_its_proofs_count_for_nothing() -> None:
    idle = fold(look(1000, serving=False), look(1005, serving=False, proof=GOOD), look(1010, serving=False, proof=BAD))
    assert told(idle) == [(NO_SERVER, 10)]
    assert told(fold(look(1000, None), look(1010, None))) == [(NO_SERVER, 10)]
    assert told(fold(look(1005, serving=False), look(1034, B))) == [(NO_SERVER, 27)], "the new one waits"
    assert told(fold(look(1000, None, serving=True), look(1005, None, serving=True))) == [(NO_SERVER, 5)]


def test_serving_with_breaks_waits_for_one_proof() -> None:
    idle = [look(1010 + n, serving=False) for n in range(0, 20, 5)]
    waiting = fold(look(1000, proof=GOOD), look(1005), *idle, look(1030), look(1035))
    assert waiting.tail is not None
    assert len(waiting.tail.pieces) == 3
    assert told(advance(waiting, look(1040, proof=GOOD))) == [(PROVEN, 10), (NO_SERVER, 15), (PROVEN, 15)]


def test_while_kauditd_was_down_nobody_knows() -> None:
    ledger = fold(look(1000, proof=GOOD), look(1005), started(1010), look(1012), look(1020, proof=GOOD))
    assert told(ledger) == [(UNAUDITED, 5), (UNKNOWN, 7), (PROVEN, 8)]
    assert [w.cause for w in ledger.windows] == [WindowCause.KAUDITD_DOWN] * 2
    sums = coverage(ledger)
    assert sums is not None
    assert (sums.total.served_s, sums.total.proven_s) == (20, 8)


def test_the_same_process_with_evidence_was_audited_meanwhile() -> None:
    back = look(1012, covered_by="event_total - error_total equals the lines of the log")
    ledger = fold(look(1000, proof=GOOD), look(1005), started(1010), back)
    assert told(ledger) == [], "evidence alone proves nothing"
    assert told(advance(ledger, look(1020, proof=GOOD))) == [(PROVEN, 20)]
    assert told(advance(ledger, look(1020, proof=BAD))) == [(UNAUDITED, 20)]
    late = fold(look(1000, proof=GOOD), look(1005), started(1400), replace(back, monotonic_s=1400.0), look(1405))
    assert late.windows == (), "the next proof is awaited from the evidence on"


@pytest.mark.parametrize(
    ("before", "after", "spans"),
    [
        (A, look(1050, None), [(UNAUDITED, 5), (UNKNOWN, 45)]),
        (A, look(1050, B), [(UNAUDITED, 5), (UNKNOWN, 45)]),
        (A, look(1050, B, covered_by="counters"), [(UNAUDITED, 5), (UNKNOWN, 27)]),
        (A, look(1050, A, serving=False, covered_by="counters"), [(UNAUDITED, 5), (UNKNOWN, 45)]),
        (A, look(1050, B, closed_by="the log"), [(PROVEN, 5), (UNKNOWN, 45)]),
        (None, look(1050, None), [(NO_SERVER, 5), (UNKNOWN, 45)]),
        (None, look(1050, B, covered_by="counters"), [(NO_SERVER, 5), (UNKNOWN, 27)]),
    ],
)
def test_a_gap_in_one_boot(before: ServerId | None, after: Look, spans: list[tuple[SpanKind, float]]) -> None:
    proof = GOOD if before else None
    for events, cause in [([started(1040)], WindowCause.KAUDITD_DOWN), ([], WindowCause.UNKNOWN)]:
        ledger = fold(look(1000, before, proof=proof), look(1005, before), *events, after)
        assert told(ledger) == spans
        assert ledger.windows[-1].cause is cause


def test_looks_too_far_apart_are_no_watching() -> None:
    assert fold(look(1000, proof=GOOD), look(1030, proof=GOOD)).windows == ()
    ledger = fold(look(1000, proof=GOOD), look(1031, proof=GOOD))
    assert told(ledger) == [(UNKNOWN, 31)]
    assert only(ledger).detected_by == "nobody looked for 31 s"


# The second boot: down from 1005 to 1900 as the wall clock tells, then up for 100 s; the process started at 40 s.
SECOND = {"boot_id": "two", "at_unix_s": BOOT_UNIX_S + 2000}
YOUNG = ServerId(pid=90, started_s=40.0)


@pytest.mark.parametrize(
    ("after", "spans"),
    [
        (look(100, YOUNG, **SECOND), [(UNKNOWN, 995)]),
        (look(100, YOUNG, none_before=True, **SECOND), [(UNKNOWN, 895), (NO_SERVER, 40), (UNKNOWN, 60)]),
        (
            look(100, YOUNG, none_before=True, covered_by="counters", **SECOND),
            [(UNKNOWN, 895), (NO_SERVER, 40)],
        ),
        (look(100, YOUNG, covered_by="counters", **SECOND), [(UNKNOWN, 935)]),
        (look(100, None, none_before=True, **SECOND), [(UNKNOWN, 895), (NO_SERVER, 100)]),
        (look(100, None, **SECOND), [(UNKNOWN, 995)]),
    ],
)
def test_a_reboot(after: Look, spans: list[tuple[SpanKind, float]]) -> None:
    ledger = fold(look(1000, proof=GOOD), look(1005), started(2000), after)
    assert told(ledger) == [(UNAUDITED, 5), *spans]
    assert {w.cause for w in ledger.windows} == {WindowCause.KAUDITD_DOWN}


def test_a_boot_without_an_id_is_the_same_only_while_somebody_watches() -> None:
    nameless = {"boot_id": ""}
    watched = [look(1000, proof=GOOD, **nameless), look(1005, proof=GOOD, **nameless)]
    assert told(fold(*watched)) == [(PROVEN, 5)]
    after = look(100, YOUNG, boot_id="", at_unix_s=BOOT_UNIX_S + 2000)
    assert told(fold(*watched, started(2000), after)) == [(PROVEN, 5), (UNKNOWN, 995)]


def test_a_reboot_with_the_clock_set_back_still_tiles() -> None:
    ledger = fold(look(1000, proof=GOOD), look(10, YOUNG, boot_id="two", at_unix_s=BOOT_UNIX_S - 9999))
    assert told(ledger) == [(UNKNOWN, 10)]


def test_a_clock_that_seems_to_go_back_adds_no_time() -> None:
    assert told(fold(look(1000, proof=GOOD), look(990, proof=GOOD), look(995, proof=GOOD))) == [(PROVEN, 5)]


def test_one_process_is_known_again_after_the_clock_was_set() -> None:
    process = ApiServerProcess(pid=7, started_unix_s=5000.0, argv=(), flags=())
    stepped = replace(process, started_unix_s=5000.0 + 86_400)
    first = server_id(process, at_unix_s=6000.0, monotonic_s=1000.0)
    assert first == ServerId(pid=7, started_s=0.0)
    assert first.is_same(server_id(stepped, at_unix_s=6010.0 + 86_400, monotonic_s=1010.0))
    assert not first.is_same(replace(first, pid=8))
    assert not first.is_same(replace(first, started_s=2.5))
    assert not first.is_same(None)


def test_people_annotate_what_is_there() -> None:
    ledger = fold(look(1000, None), look(1005), started(1011), look(1020), look(1025, proof=BAD))
    assert [w.id for w in ledger.windows] == [1, 2, 3]
    noted, window = annotate(ledger, 2, root_cause="logrotate", prevention="removed it", owner=None)
    assert window is not None
    assert (window.root_cause, window.prevention, window.owner) == ("logrotate", "removed it", "")
    again, window = annotate(noted, 2, root_cause=None, prevention="", owner="ops")
    assert window is not None
    assert (window.root_cause, window.prevention, window.owner) == ("logrotate", "", "ops")
    assert annotate(again, 9, root_cause="x", prevention=None, owner=None) == (again, None)
    later = advance(again, look(1030, proof=GOOD))
    assert [w.root_cause for w in later.windows] == ["", "logrotate", ""]
    assert all(w.resumed_audit_id == "canary-1" for w in later.windows)


def test_events_before_any_window_change_nothing() -> None:
    ledger = fold(look(1000, proof=GOOD))
    assert tell(ledger, Event(kind=EventKind.REPAIRED, at_unix_s=1.0, text="change 1")) == ledger


@settings(max_examples=150)
@given(st.lists(STEPS, max_size=25))
def test_any_life_is_tiled_and_time_not_watched_is_never_covered(steps: list[tuple]) -> None:
    ledger, unwatched = play(steps, wall=True)
    for start_s, end_s in unwatched:
        for span in ledger.spans:
            if min(span.end_s, end_s) - max(span.start_s, start_s) > 0:
                assert span.kind is UNKNOWN, span
    sums = coverage(ledger)
    if sums is not None and ledger.tail is not None:
        total = sums.total
        parts_s = total.proven_s + total.unaudited_s + total.no_server_s + total.unknown_s + sums.pending_s
        assert parts_s == pytest.approx(ledger.tail.position_s)
        assert sum(sums.unaudited_s_by_cause.values()) == pytest.approx(total.unaudited_s)


@settings(max_examples=150)
@given(st.lists(STEPS.filter(lambda s: s[6] != "boot"), max_size=25))
def test_steps_of_the_wall_clock_change_no_span(steps: list[tuple]) -> None:
    stepped, steady = play(steps, wall=True)[0], play(steps, wall=False)[0]
    bare = [replace(s, start_unix_s=0.0, end_unix_s=0.0) for s in steady.spans]
    assert [replace(s, start_unix_s=0.0, end_unix_s=0.0) for s in stepped.spans] == bare
    assert [(w.cause, w.duration_s, w.detection_delay_s) for w in stepped.windows] == [
        (w.cause, w.duration_s, w.detection_delay_s) for w in steady.windows
    ]


@settings(max_examples=100)
@given(st.lists(STEPS, min_size=2, max_size=25), st.integers(1, 24))
def test_what_is_decided_stays_decided(steps: list[tuple], length: int) -> None:
    earlier, later = play(steps[:length], wall=True)[0], play(steps, wall=True)[0]
    for span in earlier.spans:
        assert any(s.kind is span.kind and s.start_s <= span.start_s and s.end_s >= span.end_s for s in later.spans)


def test_ten_thousand_clean_proofs_make_no_window() -> None:
    """About a day of virtual time: restarts of the API server and of kauditd, clock steps; every promise was kept."""
    chance = random.Random(1)
    now_s, offset_s, proofs = 1000.0, BOOT_UNIX_S, 0
    process, ledger = ServerId(pid=100, started_s=900.0), Ledger()
    while proofs < 10_000:
        what, fields = chance.random(), {}
        if what < 0.01 and proofs:
            gone = look(now_s, None, at_unix_s=now_s + offset_s, closed_by="the log goes on to its last event")
            ledger = advance(ledger, gone)
            now_s += chance.uniform(3, 14)
            process = ServerId(pid=process.pid + 1, started_s=now_s - 2)
        elif what < 0.02 and proofs:
            ledger = tell(ledger, started(now_s))
            fields["covered_by"] = "the counters balance"
            now_s += chance.uniform(1, 300)
        elif what < 0.05:
            offset_s += chance.choice([-86_400.0, -1.0, 0.1, 3600.0])
        now_s += chance.uniform(0.2, 15)
        if chance.random() < 0.6:
            proofs += 1
            sent_s = now_s - chance.uniform(0, 0.1)
            fields["proof"] = ProofResult(ok=True, audit_id=str(proofs), taken_monotonic_s=sent_s)
        ledger = advance(ledger, look(now_s, process, at_unix_s=now_s + offset_s, **fields))
    check_tiling(ledger)
    assert ledger.windows == ()
    sums = coverage(ledger)
    assert sums is not None
    assert sums.total.coverage_ratio == 1
    assert sums.total.no_server_s > 0
    assert sums.pending_s < 60
