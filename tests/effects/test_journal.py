"""The journal on disk: what was appended stays, whatever happens to the end of the file."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core import history
from kauditd.core.history import Record
from kauditd.core.model import Change, Outcome
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.effects.journal import Journal
from kauditd.errors import FileFault

RECORDS: tuple[Record, ...] = tuple({"type": "note", "n": n, "text": "ä\n\x00" * n} for n in range(4))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "changes.ndjson"


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(str(path), files=files)


def fill(journal: Journal) -> None:
    for record in RECORDS:
        journal.append(record)


def test_records_come_back_in_order(journal: Journal, path: Path) -> None:
    fill(journal)
    loaded = journal.load()
    assert (loaded.records, loaded.torn, loaded.skipped) == (RECORDS, False, 0)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert len(path.read_bytes().splitlines()) == len(RECORDS)


def test_a_journal_that_is_not_there_is_empty(journal: Journal, path: Path) -> None:
    assert journal.load().records == ()
    assert not path.exists()


def test_a_file_cut_at_any_byte_loses_the_last_record_at_most(journal: Journal, path: Path) -> None:
    fill(journal)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        complete = whole[:length].count(b"\n")
        # A record that lacks but its newline is complete.
        complete += length < len(whole) and whole[length : length + 1] == b"\n"
        assert journal.load().records == RECORDS[:complete], length
        journal.append({"type": "next"})
        loaded = journal.load()
        assert loaded.records == (*RECORDS[:complete], {"type": "next"}), length
        assert (loaded.torn, loaded.skipped) == (False, 0), length


def test_a_torn_end_is_told_and_loading_changes_nothing(journal: Journal, path: Path) -> None:
    fill(journal)
    path.write_bytes(path.read_bytes() + b'{"type": "half')
    before = path.read_bytes()
    assert journal.load().torn
    assert path.read_bytes() == before


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"x" * 3_000_000])
def test_an_end_of_zeros_or_rubbish_never_joins_the_next_record(journal: Journal, path: Path, tail: bytes) -> None:
    fill(journal)
    path.write_bytes(path.read_bytes() + tail)
    assert journal.load().torn
    journal.append({"type": "next"})
    assert journal.load().records == (*RECORDS, {"type": "next"})


@given(st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b" ")), max_size=4), st.integers(0, 4))
def test_rubbish_between_records_costs_no_record(lines: list[bytes], place: int) -> None:
    good = [json.dumps(record).encode() for record in RECORDS]
    text = b"\n".join([*good[:place], *lines, *good[place:]]) + b"\n"
    found = Journal("/changes", files=Fixed(text)).load()
    assert [record for record in found.records if record in RECORDS] == list(RECORDS)
    assert len(found.records) + found.skipped <= len(RECORDS) + len(lines)


class Fixed:
    """A file system with one file, which cannot be written."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        return self._content

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        raise AssertionError(path)


def test_a_deeply_nested_line_is_rubbish_and_no_crash(journal: Journal, path: Path) -> None:
    path.write_bytes(b"[" * 100_000 + b"\n" + b'{"a":' * 100_000 + b"\n" + b'{"type":"note"}\n')
    assert journal.load().records == ({"type": "note"},)
    assert journal.load().skipped == 2


def change_records(number: int, *, closed: bool = True, padding: int = 200) -> list[Record]:
    change = Change(
        id=number,
        cause="repair",
        target="/m",
        summary="x" * padding,
        before=digest_of(b"a"),
        after=digest_of(b"b"),
        started_unix_s=float(number),
    )
    records = [history.intent_record(change)]
    if closed:
        records.append(history.outcome_record(number, Outcome.PROVEN, finished_unix_s=1.0))
    return records


def test_a_large_journal_is_compacted_and_keeps_the_newest_and_the_open(path: Path) -> None:
    journal = Journal(str(path), files=files, limit_bytes=20_000, keep_changes=10)
    for record in [r for n in range(1, 101) for r in change_records(n, closed=n != 3)]:
        journal.append(record, sync=False)
        assert path.stat().st_size < 21_000
    changes = history.fold(journal.load().records)
    ids = [change.id for change in changes]
    assert ids[0] == 3
    assert ids[-10:] == list(range(91, 101))
    assert len(ids) < 60
    assert history.next_id(changes) == 101
    assert os.listdir(path.parent) == [path.name]


def test_a_journal_of_nothing_but_large_open_changes_is_not_rewritten_every_time(path: Path) -> None:
    journal = Journal(str(path), files=files, limit_bytes=5_000, keep_changes=10)
    inodes = set()
    for number in range(1, 41):
        journal.append(change_records(number, closed=False, padding=500)[0], sync=False)
        inodes.add(path.stat().st_ino)
    assert len(history.fold(journal.load().records)) == 40
    assert len(inodes) < 6


def test_compaction_keeps_rubbish_in_a_side_file_once(journal: Journal, path: Path) -> None:
    path.write_bytes(b"rubbish\n" + json.dumps(RECORDS[1]).encode() + b"\n")
    journal.compact()
    path.write_bytes(path.read_bytes() + b"rubbish\nmore\n")
    journal.compact()
    assert journal.load().records == (RECORDS[1],)
    assert journal.load().skipped == 0
    assert Path(f"{path}.skipped").read_bytes() == b"rubbish\nmore\n"


def test_a_failed_compaction_does_not_fail_the_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(path), files=files, limit_bytes=100, keep_changes=1)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise FileFault("cannot write: the disk is full", path=str(path), errno_name="ENOSPC")

    monkeypatch.setattr(files, "write_durably", refuse)
    for record in change_records(1):
        journal.append(record)
    assert len(history.fold(journal.load().records)) == 1
    assert "the disk is full" in journal.problem
    monkeypatch.undo()
    journal.compact()
    assert journal.problem == ""


def test_a_record_that_finds_no_room_leaves_the_journal_as_it_was(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(journal)
    before = path.read_bytes()
    real = os.write
    answers = iter([5])

    def write(descriptor: int, data: bytes) -> int:
        for count in answers:
            return real(descriptor, bytes(data[:count]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(FileFault, match=r"^cannot append to ") as raised:
        journal.append({"type": "next"})
    assert raised.value.errno_name == "ENOSPC"
    assert path.read_bytes() == before


def test_a_record_is_synced_unless_it_need_not_be(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal.append({"type": "a"})
    assert len(synced) == 1
    journal.append({"type": "b"}, sync=False)
    assert len(synced) == 1


def test_a_failed_sync_is_not_tried_again(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def refuse(descriptor: int) -> None:
        calls.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fdatasync", refuse)
    with pytest.raises(FileFault, match="input/output error"):
        journal.append({"type": "a"})
    assert len(calls) == 1


def test_a_journal_that_is_a_link_is_refused(journal: Journal, path: Path) -> None:
    path.symlink_to("elsewhere")
    with pytest.raises(FileFault, match="symbolic link"):
        journal.append({"type": "a"})


def test_a_journal_that_cannot_be_read_is_a_fault_and_not_an_empty_history(journal: Journal, path: Path) -> None:
    path.mkdir()
    with pytest.raises(FileFault):
        journal.load()
