"""The bookkeeper: what reaches the disk and when, and what a crash or a full disk costs."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kauditd.core.ledger_records import load_ledger
from kauditd.core.looks import Event, EventKind, Look, ProofResult, ServerId
from kauditd.core.windows import SpanKind, WindowCause
from kauditd.effects import files
from kauditd.effects.ledger import LedgerFile
from kauditd.engine.bookkeeping import HEARTBEAT_S, Bookkeeper, LedgerPort
from kauditd.errors import FileFault, Refused
from tests.core.lives import BOOT_UNIX_S, check_tiling
from tests.engine.fakes import FakeLedger

SERVER = ServerId(pid=100, started_s=900.0)
GOOD = ProofResult(ok=True, audit_id="canary-1")
BAD = ProofResult(ok=False, how="no flags", cause=WindowCause.DISABLED)


def look(at_s: float, *, proof: ProofResult | None = None, **fields: object) -> Look:
    given = {"at_unix_s": BOOT_UNIX_S + at_s, "boot_id": "one", "process": SERVER, "serving": True, **fields}
    return Look(monotonic_s=at_s, proof=proof, **given)


def begin(port: LedgerPort) -> Bookkeeper:
    keeper = Bookkeeper(port)
    keeper.start(at_unix_s=BOOT_UNIX_S + 1000)
    return keeper


def test_quiet_looks_are_written_once_a_minute_at_most() -> None:
    port = FakeLedger()
    keeper = begin(port)
    keeper.note(look(1000, proof=GOOD))
    assert len(port.records) == 1
    for at_s in range(1005, 2805, 5):
        keeper.note(look(at_s, proof=GOOD if at_s % 60 == 0 else None))
    assert len(port.records) <= 1 + 1800 / (HEARTBEAT_S / 2)
    written = load_ledger(port.records)
    assert written.tail is not None
    assert 2800 - written.tail.monotonic_s <= HEARTBEAT_S + 5
    assert keeper.windows() == ()


def test_what_changes_is_written_at_once() -> None:
    port = FakeLedger()
    keeper = begin(port)
    counts = []
    for at in [look(1000, proof=GOOD), look(1005), look(1010, proof=BAD), look(1015), look(1020, proof=GOOD)]:
        keeper.note(at)
        counts.append(len(port.records))
    assert counts == [1, 1, 2, 2, 3]
    assert load_ledger(port.records).windows == keeper.windows()


def test_a_repair_is_written_where_it_changes_a_window() -> None:
    port = FakeLedger()
    keeper = begin(port)
    repaired = Event(kind=EventKind.REPAIRED, at_unix_s=BOOT_UNIX_S + 1011, text="change 3, repair")
    keeper.note(look(1000, proof=GOOD))
    keeper.tell(repaired)
    assert len(port.records) == 1
    keeper.note(look(1010, proof=BAD))
    keeper.tell(repaired)
    assert len(port.records) == 3
    assert load_ledger(port.records).windows[0].repaired_by == "change 3, repair"


def test_a_power_cut_loses_a_minute_at_most_and_it_reads_as_unknown() -> None:
    port = FakeLedger()
    keeper = begin(port)
    for at_s in range(1000, 1200, 5):
        keeper.note(look(at_s, proof=GOOD if at_s % 60 == 0 else None))
    after = begin(FakeLedger(records=list(port.records)))
    after.note(look(1300))
    after.note(look(1305, proof=GOOD))
    unknown = [w for w in after.windows() if w.kind is SpanKind.UNKNOWN]
    assert [w.cause for w in unknown] == [WindowCause.KAUDITD_DOWN]
    assert 100 <= unknown[0].duration_s <= 105 + HEARTBEAT_S + 5
    sums = after.coverage()
    assert sums is not None
    assert sums.total.proven_s + sums.total.unaudited_s + sums.total.unknown_s == 305


ACTIONS = ["", "", "", "", "crash", "full", "free", "annotate"]
MOMENTS = st.tuples(st.floats(0.5, 29), st.sampled_from([None, GOOD, GOOD, BAD]), st.sampled_from(ACTIONS))


@settings(max_examples=100)
@given(st.lists(MOMENTS, min_size=1, max_size=40))
def test_whatever_crash_and_full_disk_cost_is_unknown_and_never_proven(moments: list[tuple]) -> None:
    port, now_s, unseen = FakeLedger(), 1000.0, []
    keeper = begin(port)
    keeper.note(look(now_s, proof=GOOD))
    for passed_s, proof, action in moments:
        now_s += passed_s
        if action == "crash":
            written = load_ledger(port.records)
            assert written.tail is not None
            unseen.append((written.tail.monotonic_s - 1000, now_s - 1000))
            port.refused = set()
            keeper = begin(port)
        if action in {"full", "free"}:
            port.refused = {"append", "compact"} if action == "full" else set()
        if action == "annotate" and keeper.windows() and not port.refused:
            keeper.annotate(1, owner="ops")
        keeper.note(look(now_s, proof=proof))
        if not port.refused:
            assert keeper.fault is None
            assert unseen or len(keeper.windows()) == len({w.id for w in keeper.windows()})
    port.refused = set()
    keeper.stop()
    ledger = load_ledger(port.records)
    check_tiling(ledger)
    assert ledger.tail is not None
    assert ledger.tail.position_s == pytest.approx(now_s - 1000)
    assert ledger.windows == keeper.windows()
    for start_s, end_s in unseen:
        for span in ledger.spans:
            if min(span.end_s, end_s) - max(span.start_s, start_s) > 1e-6:
                assert span.kind is SpanKind.UNKNOWN


def test_a_clean_stop_loses_nothing() -> None:
    port = FakeLedger()
    keeper = begin(port)
    keeper.note(look(1000, proof=GOOD))
    keeper.note(look(1010))
    keeper.stop()
    after = begin(port)
    after.note(look(1012, covered_by="the counters balance"))
    after.note(look(1020, proof=GOOD))
    assert after.windows() == ()
    sums = after.coverage()
    assert sums is not None
    assert sums.total.proven_s == 20


def test_a_full_disk_is_told_and_everything_is_written_later() -> None:
    port = FakeLedger()
    keeper = begin(port)
    keeper.note(look(1000, proof=GOOD))
    port.refused = {"append"}
    keeper.note(look(1010, proof=BAD))
    assert keeper.fault is not None
    assert len(keeper.windows()) == 1
    keeper.note(look(1015, proof=GOOD))
    keeper.stop()
    assert keeper.fault is not None
    port.refused = set()
    keeper.note(look(1020))
    assert keeper.fault is None
    written = load_ledger(port.records)
    assert written.windows == keeper.windows()
    check_tiling(written)


def test_a_ledger_that_cannot_be_read_is_never_written_over() -> None:
    before = FakeLedger()
    first = begin(before)
    first.note(look(1000, proof=GOOD))
    first.note(look(1010, proof=BAD))
    port = FakeLedger(records=list(before.records), refused={"load"})
    keeper = begin(port)
    keeper.note(look(1020))
    keeper.tell(Event(kind=EventKind.REPAIRED, at_unix_s=1.0))
    keeper.stop()
    assert keeper.fault is not None
    assert (keeper.windows(), keeper.coverage(), port.records) == ((), None, before.records)
    with pytest.raises(Refused):
        keeper.annotate(1, owner="ops")
    port.refused = set()
    keeper.note(look(1030))
    assert [w.kind for w in keeper.windows()] == [SpanKind.UNAUDITED, SpanKind.UNKNOWN]
    assert keeper.fault is None


def test_annotations_are_durable_or_refused() -> None:
    port = FakeLedger()
    keeper = begin(port)
    keeper.note(look(1000))
    keeper.note(look(1010, proof=BAD))
    noted = keeper.annotate(1, root_cause="an upgrade", owner="ops")
    assert noted is not None
    assert (noted.root_cause, noted.prevention, noted.owner) == ("an upgrade", "", "ops")
    assert begin(FakeLedger(records=list(port.records))).windows()[0].owner == "ops"
    count = len(port.records)
    assert keeper.annotate(2, owner="x") is None
    assert len(port.records) == count
    port.refused = {"append"}
    with pytest.raises(FileFault):
        keeper.annotate(1, owner="lost")
    assert keeper.windows()[0].owner == "ops"


def test_the_file_is_tidied_at_each_start_and_each_month() -> None:
    port = FakeLedger()
    keeper = begin(port)
    assert port.compactions == 1
    keeper.note(look(1000, proof=GOOD))
    keeper.note(look(1010, proof=BAD))
    keeper.note(look(1020, proof=GOOD))
    assert (port.compactions, len(port.records)) == (1, 3)
    keeper.note(look(1030, at_unix_s=BOOT_UNIX_S + 20 * 86_400))
    assert (port.compactions, len(port.records)) == (2, 1)
    assert load_ledger(port.records).windows == keeper.windows()


@pytest.mark.parametrize("when", ["start", "month"])
def test_tidying_that_fails_costs_nothing(when: str) -> None:
    port = FakeLedger(refused={"compact"} if when == "start" else set())
    keeper = begin(port)
    port.refused = {"compact"}
    keeper.note(look(1000, proof=GOOD))
    keeper.note(look(1010, at_unix_s=BOOT_UNIX_S + 20 * 86_400, proof=BAD))
    if when == "month":
        assert keeper.fault is not None
    keeper.note(look(1020, at_unix_s=BOOT_UNIX_S + 20 * 86_400 + 10, proof=GOOD))
    assert len(keeper.windows()) == 1
    assert keeper.fault is None
    assert load_ledger(port.records).windows == keeper.windows()


def test_the_real_file_is_a_port(tmp_path: Path) -> None:
    path = str(tmp_path / "ledger.ndjson")
    keeper = begin(LedgerFile(path, files=files))
    keeper.note(look(1000, proof=GOOD))
    keeper.note(look(1010, proof=BAD))
    keeper.stop()
    again = begin(LedgerFile(path, files=files))
    assert [w.cause for w in again.windows()] == [WindowCause.DISABLED]
