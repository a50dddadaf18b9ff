"""The ledger as records: what was written reads back, what is lost reads back as unknown."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kauditd.core.ledger import Ledger, advance, annotate, coverage
from kauditd.core.ledger_records import (
    KEPT_S,
    compact,
    compact_records,
    is_changed,
    load_ledger,
    mark_record,
    month_of,
    prune,
)
from kauditd.core.looks import Look, ProofResult, ServerId
from kauditd.core.ndjson import Record
from kauditd.core.windows import DAY_S, SpanKind
from tests.core.lives import BOOT_UNIX_S, STEPS, check_tiling, play

SERVER = ServerId(pid=100, started_s=900.0)
GOOD = ProofResult(ok=True, audit_id="canary-1")
BAD = ProofResult(ok=False, how="no flags")


def at(now_s: float, *, proof: ProofResult | None = None, serving: bool = True) -> Look:
    return Look(
        at_unix_s=BOOT_UNIX_S + now_s, monotonic_s=now_s, boot_id="one", process=SERVER, serving=serving, proof=proof
    )


def through_json(record: Record) -> Record:
    value = json.loads(json.dumps(record))
    assert isinstance(value, dict)
    return value


def written(ledgers: list[Ledger]) -> list[Record]:
    """One mark for each state, as a writer would append them."""
    known, records = Ledger(), []
    for ledger in ledgers:
        records.append(through_json(mark_record(ledger, known)))
        known = ledger
    return records


def chain() -> list[Ledger]:
    """Proven, unaudited, proven, no server, proven, unaudited and open."""
    looks = [at(1000, proof=GOOD), at(1010, proof=GOOD), at(1020, proof=BAD), at(1030), at(1040, proof=GOOD)]
    looks += [at(1050, proof=GOOD), at(1055, serving=False), at(1060, serving=False), at(1070, proof=GOOD)]
    looks += [at(1080, proof=BAD), at(1090)]
    ledgers = [Ledger()]
    for item in looks:
        ledgers.append(advance(ledgers[-1], item))
    return ledgers[1:]


def test_marks_add_up_to_the_ledger() -> None:
    ledgers = chain()
    records = written(ledgers)
    for number, ledger in enumerate(ledgers, start=1):
        assert load_ledger(records[:number]) == ledger
    assert load_ledger([]) == Ledger()


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=1, max_size=15), st.data())
def test_any_ledger_reads_back_and_survives_compaction(steps: list[tuple], data: st.DataObject) -> None:
    cuts = sorted({len(steps), *data.draw(st.lists(st.integers(1, len(steps)), max_size=5))})
    ledgers = [play(steps[:cut], wall=True)[0] for cut in cuts]
    records = written(ledgers)
    assert load_ledger(records) == ledgers[-1]
    twice = compact(compact(records))
    assert load_ledger([through_json(r) for r in twice]) == ledgers[-1]
    assert len(twice) == 1


@settings(max_examples=60)
@given(st.lists(STEPS, min_size=2, max_size=15), st.sets(st.integers(0, 14)))
def test_lost_marks_read_back_as_unknown_and_never_as_better(steps: list[tuple], lost: set[int]) -> None:
    ledgers = [play(steps[:length], wall=True)[0] for length in range(1, len(steps) + 1)]
    whole = ledgers[-1]
    records = [r for n, r in enumerate(written(ledgers)) if n not in lost or n == len(steps) - 1]
    found = load_ledger(records)
    check_tiling(found, is_lossy=True)
    assert found.tail == whole.tail
    for span in found.spans:
        if span.kind is SpanKind.PROVEN:
            assert any(
                s.kind is SpanKind.PROVEN and s.start_s <= span.start_s and s.end_s >= span.end_s for s in whole.spans
            )
    again = load_ledger([through_json(r) for r in compact_records(found)])
    assert again == found


def test_a_month_with_windows_and_no_seconds_sums_up_nothing() -> None:
    nothing = (0.0, None, False, None, "", "", "", 0.0, False)
    steps = [*[nothing] * 7, (1.0, None, False, None, "", "", "boot", 0.0, True), *[nothing] * 3]
    proof = ProofResult(ok=True, audit_id="canary-1")
    steps.append((0.0, ServerId(pid=100, started_s=900.0), True, proof, "", "", "", 0.0, False))
    ledgers = [play(steps[:length], wall=True)[0] for length in range(1, len(steps) + 1)]
    found = load_ledger(r for n, r in enumerate(written(ledgers)) if n != 7)
    assert load_ledger([through_json(r) for r in compact_records(found)]) == found


def test_a_lost_mark_leaves_a_window_that_says_so() -> None:
    records = written(chain())
    del records[3:9]
    found = load_ledger(records)
    check_tiling(found)
    hole = next(s for s in found.spans if s.kind is SpanKind.UNKNOWN)
    window = next(w for w in found.windows if w.id == hole.window)
    assert (window.detected_by, window.duration_s) == ("a record of the ledger was lost", hole.end_s - hole.start_s)


def test_a_window_that_only_a_lost_record_told_of_is_told_anew() -> None:
    records = written(chain())
    for record in records:
        record["windows"] = []
    found = load_ledger(records)
    check_tiling(found)
    assert [w.kind for w in found.windows] == [SpanKind.UNAUDITED, SpanKind.UNAUDITED]


@pytest.mark.parametrize(
    "change",
    [
        {"spans": 7},
        {"spans": [7]},
        {"spans": [{}]},
        {"windows": None},
        {"tail": 7},
        {"tail": {}},
        {"began": "x"},
        {"unaudited": {"x": "y"}},
        {"type": "month", "month": 7},
        {"type": "month", "month": "2026-11", "seconds": {"late": 1}},
        {"type": "month", "month": "2026-11", "seconds": {"proven": float("nan")}},
    ],
)
def test_a_malformed_record_is_no_record(change: dict[str, object]) -> None:
    records = written(chain())
    assert load_ledger([*records, {**records[-1], **change}]) == chain()[-1]


@pytest.mark.parametrize("part", ["spans", "windows", "tail"])
def test_every_field_of_a_record_is_checked(part: str) -> None:
    """Whatever field has another type than its own, the record counts for nothing."""
    records = written(chain())
    last = records[-1]
    value = last[part] if part == "tail" else last[part][0]
    assert isinstance(value, dict)
    for key in value:
        broken = {**value, key: ["x"]} if key != "pieces" else {**value, key: [7]}
        record = {**last, part: broken if part == "tail" else [broken]}
        assert load_ledger([*records, record]) == chain()[-1], key
    unknown = {**value, "colour": "red"}
    assert load_ledger([*records, {**last, part: unknown if part == "tail" else [unknown]}]) == chain()[-1]


@pytest.mark.parametrize("foreign", [{"v": 2, "type": "mark", "tail": None}, {"type": "note"}, {"v": 1, "type": "x"}])
def test_records_of_a_newer_version_are_kept_and_ignored(foreign: Record) -> None:
    records = [*written(chain()), foreign]
    assert load_ledger(records) == chain()[-1]
    assert compact(records)[0] == foreign
    assert load_ledger(compact(records)) == chain()[-1]


def test_records_that_add_up_to_nothing_stay_as_they_are() -> None:
    useless: Record = {"v": 1, "type": "mark", "tail": 7}
    assert compact([]) == ()
    assert compact([useless]) == (useless,)


def long_life() -> Ledger:
    """Fifty days of looks every 20 s would be long; a failure a day and a proof is what counts."""
    ledger = Ledger()
    now_s = 1000.0
    for _day in range(50):
        for step in range(4):
            ledger = advance(ledger, at(now_s, proof=BAD if step == 2 else GOOD))
            now_s += 20
        now_s += DAY_S - 80
    return advance(ledger, at(now_s, proof=GOOD))


def test_old_spans_are_summed_up_by_month_and_every_window_stays() -> None:
    ledger = long_life()
    pruned = prune(ledger)
    assert len(pruned.spans) < len(ledger.spans)
    assert pruned.spans[0].end_s >= ledger.decided_s - KEPT_S
    assert sorted(pruned.months) == ["2026-11", "2026-12"]
    assert pruned.windows == ledger.windows
    before, after = coverage(ledger), coverage(pruned)
    assert before is not None
    assert after is not None
    assert after.last_30_days == before.last_30_days
    assert after.total.proven_s == pytest.approx(before.total.proven_s)
    assert after.total.unaudited_s == pytest.approx(before.total.unaudited_s)
    assert prune(pruned) == pruned

    records = [through_json(r) for r in compact_records(pruned)]
    assert [r["type"] for r in records] == ["month", "month", "mark"]
    assert load_ledger(records) == pruned
    assert load_ledger(compact(records)) == pruned
    # What is written after the compaction goes on from there.
    later = advance(pruned, at(ledger.tail.monotonic_s + 10 if ledger.tail else 0, proof=GOOD))
    assert load_ledger([*records, through_json(mark_record(later, pruned))]) == later


def test_a_lost_month_is_unknown_time_and_no_hole() -> None:
    pruned = prune(long_life())
    records = [through_json(r) for r in compact_records(pruned)]
    found = load_ledger(records[1:])
    lost_s = sum(pruned.months["2026-11"].values())
    assert found.spans[0].kind is SpanKind.UNKNOWN
    assert found.spans[0].end_s - found.spans[0].start_s == pytest.approx(lost_s)
    sums, known = coverage(found), coverage(pruned)
    assert sums is not None
    assert known is not None
    assert sums.total.proven_s <= known.total.proven_s


def test_only_news_is_worth_a_record_at_once() -> None:
    quiet = advance(advance(Ledger(), at(1000, proof=GOOD)), at(1005, proof=GOOD))
    assert is_changed(quiet, Ledger())
    assert not is_changed(Ledger(), Ledger())
    assert not is_changed(advance(quiet, at(1010)), quiet)
    failed = advance(quiet, at(1010, proof=BAD))
    assert is_changed(failed, quiet)
    longer = advance(failed, at(1015))
    assert not is_changed(longer, failed)
    noted = annotate(longer, 1, root_cause="x", prevention=None, owner=None)[0]
    assert is_changed(noted, longer)
    assert is_changed(advance(longer, at(1020, proof=GOOD)), longer)
    still = replace(longer, windows=tuple(replace(w, end_unix_s=5.0) for w in longer.windows))
    assert is_changed(still, longer), "an open window that ends is news"
    gone = advance(quiet, replace(at(1010), process=None, serving=False))
    assert is_changed(gone, quiet)


def test_months_of_impossible_times_are_the_nearest_possible() -> None:
    assert month_of(1_795_500_000.0) == "2026-11"
    assert month_of(-5.0) == "1970-01"
    assert month_of(1e30) == "9999-12"
