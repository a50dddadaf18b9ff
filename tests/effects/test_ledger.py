"""The ledger on disk: a crash, a torn line or a full disk costs seconds, and they read back as unknown."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kauditd.core.ledger import Ledger
from kauditd.core.ledger_records import load_ledger, mark_record
from kauditd.core.windows import SpanKind
from kauditd.effects import files
from kauditd.effects.ledger import LedgerFile
from kauditd.errors import FileFault
from tests.core.lives import check_tiling
from tests.core.test_ledger_records import chain, written


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.ndjson"


@pytest.fixture
def store(path: Path) -> LedgerFile:
    return LedgerFile(str(path), files=files)


def fill(store: LedgerFile) -> None:
    for record in written(chain()):
        store.append(record)


def test_a_ledger_comes_back(store: LedgerFile, path: Path) -> None:
    assert store.load() == ()
    assert not path.exists()
    fill(store)
    assert load_ledger(store.load()) == chain()[-1]
    assert path.stat().st_mode & 0o7777 == 0o600


def test_a_file_cut_at_any_byte_is_the_ledger_of_an_earlier_look(store: LedgerFile, path: Path) -> None:
    fill(store)
    whole, ledgers = path.read_bytes(), [Ledger(), *chain()]
    lines = whole.splitlines(keepends=True)
    for length in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:length])
        found = load_ledger(store.load())
        assert found in ledgers, length
        number = ledgers.index(found)
        store.append(mark_record(ledgers[-1], found))
        assert load_ledger(store.load()) == ledgers[-1], length
        assert len(store.load()) == number + 1
    assert len(lines) == len(ledgers) - 1


def test_a_bad_sector_in_the_middle_is_unknown_time(store: LedgerFile, path: Path) -> None:
    fill(store)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3:9] = [b"\0" * 500 + b"\n"]
    path.write_bytes(b"".join(lines))
    store.compact()
    found = load_ledger(store.load())
    check_tiling(found)
    assert SpanKind.UNKNOWN in {s.kind for s in found.spans}
    assert Path(f"{path}.skipped").read_bytes() == b"\0" * 500 + b"\n"
    path.write_bytes(path.read_bytes() + b"\0" * 500 + b"\n")
    store.compact()
    assert Path(f"{path}.skipped").read_bytes() == b"\0" * 500 + b"\n"


def test_compaction_keeps_the_ledger_and_makes_no_file(store: LedgerFile, path: Path) -> None:
    store.compact()
    assert not path.exists()
    fill(store)
    size_bytes = path.stat().st_size
    store.compact()
    assert path.stat().st_size < size_bytes / 3
    assert load_ledger(store.load()) == chain()[-1]


def test_a_large_ledger_compacts_itself(path: Path) -> None:
    store = LedgerFile(str(path), files=files, limit_bytes=10_000)
    ledgers = chain()
    for _turn in range(50):
        store.append(mark_record(ledgers[-1], ledgers[-2]))
        store.append(mark_record(ledgers[-1], Ledger()))
        assert path.stat().st_size < 14_000
    assert load_ledger(store.load()) == ledgers[-1]


def test_a_failed_compaction_does_not_fail_the_append(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LedgerFile(str(path), files=files, limit_bytes=10)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise FileFault("cannot write: the disk is full", path=str(path), errno_name="ENOSPC")

    monkeypatch.setattr(files, "write_durably", refuse)
    fill(store)
    assert load_ledger(store.load()) == chain()[-1]
    assert "the disk is full" in store.problem
    monkeypatch.undo()
    store.compact()
    assert store.problem == ""


def test_a_full_disk_leaves_the_ledger_as_it_was(
    store: LedgerFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    before, real, answers = path.read_bytes(), os.write, iter([9])

    def write(descriptor: int, data: bytes) -> int:
        for count in answers:
            return real(descriptor, bytes(data[:count]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(FileFault, match=r"^cannot append to ") as raised:
        store.append({"type": "next"})
    assert raised.value.errno_name == "ENOSPC"
    assert path.read_bytes() == before


def test_every_record_is_synced(store: LedgerFile, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    fill(store)
    assert len(synced) == len(chain())


def test_a_ledger_that_cannot_be_read_is_a_fault_and_not_an_empty_one(store: LedgerFile, path: Path) -> None:
    path.mkdir()
    for call in (store.load, store.compact):
        with pytest.raises(FileFault):
            call()


def test_a_ledger_that_is_a_link_is_refused(store: LedgerFile, path: Path) -> None:
    path.symlink_to("elsewhere")
    with pytest.raises(FileFault, match="symbolic link"):
        store.append({"type": "a"})


def test_killed_at_any_moment_the_ledger_reads_back_whole(path: Path) -> None:
    """A child appends and compacts without end; whenever it is killed, what is on disk reads back whole."""
    script = (
        "import sys, json\n"
        "from kauditd.effects import files\n"
        "from kauditd.effects.ledger import LedgerFile\n"
        "store = LedgerFile(sys.argv[1], files=files, limit_bytes=3000)\n"
        "lines = list(sys.stdin)\n"
        "for line in lines + lines[-1:] * 10_000:\n"
        "    store.append(json.loads(line)); print(flush=True)\n"
    )
    # The last record holds all, so it may come again and again.
    records = [*written(chain()), mark_record(chain()[-1], Ledger())]
    text = "".join(json.dumps(r) + "\n" for r in records).encode()
    for turn in range(12):
        path.unlink(missing_ok=True)
        child = subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(text)
            child.stdin.close()
            for _line in range(1 + 7 * turn):
                child.stdout.readline()
            os.kill(child.pid, signal.SIGKILL)
        finally:
            child.kill()
            child.wait()
            assert child.stdout is not None
            child.stdout.close()
        found = load_ledger(LedgerFile(str(path), files=files).load())
        check_tiling(found)
        assert found.tail is not None
