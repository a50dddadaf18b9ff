"""How many lines of one lifetime a log has, through rotations and deletions."""

import gzip
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kauditd.core.canary import RANDOM_BYTES, Found, compose
from kauditd.core.counters import Tally
from kauditd.core.generations import Retention, parse_generation
from kauditd.core.layout import Layout
from kauditd.core.proof import Held
from kauditd.effects.logfile import (
    begin_count,
    birth,
    count_lines,
    count_more,
    counting,
    find_event,
    inspect_log,
    mark,
    opening,
)
from kauditd.effects.logfile.opening import OpenFile
from kauditd.sim.lumberjack import MIB, RotatingFile, RotationLimits
from tests.effects.logfile.writer import answer_now, event_line, noise, rotated_name, writing

HOST = Layout()
CANARY = compose(bytes(range(RANDOM_BYTES)))
KEEP_ALL = Retention()


def total(tally: Tally) -> tuple[int, int, bool]:
    return tally.low, tally.high, tally.complete


def count(log: Path, *, started_unix_s: float, retention: Retention = KEEP_ALL) -> Tally:
    return count_lines(str(log), started_unix_s=started_unix_s, now_unix_s=time.time(), retention=retention)


def test_lines_of_the_predecessor_do_not_count(log: Path) -> None:
    started_s = time.time() - 100
    log.write_bytes(noise(7, unix_s=started_s - 9) + noise(5, unix_s=started_s + 2) + noise()[:50])

    assert total(count(log, started_unix_s=started_s)) == (5, 5, True)


def test_lines_of_the_moment_of_the_start_count_for_either(log: Path) -> None:
    started_s = time.time() - 100
    old, near, new = (noise(n, unix_s=started_s + s) for n, s in ((3, -9.0), (2, -0.5), (4, 2.0)))
    log.write_bytes(old + near + new)

    assert total(count(log, started_unix_s=started_s)) == (4, 6, True)
    log.write_bytes(old + near)
    assert total(count(log, started_unix_s=started_s)) == (0, 2, True)
    log.write_bytes(old)
    assert total(count(log, started_unix_s=started_s)) == (0, 0, True)


def test_a_long_line_of_the_predecessor_is_told_by_its_end(log: Path) -> None:
    started_s = time.time() - 100
    log.write_bytes(noise(1, unix_s=started_s - 9, pad=3_000_000) + noise(1, unix_s=started_s + 9, pad=3_000_000))

    assert total(count(log, started_unix_s=started_s)) == (1, 1, True)


def test_rotated_files_of_this_lifetime_count_and_older_ones_do_not(log: Path) -> None:
    started_s = time.time() - 100
    files = {
        rotated_name(started_s - 50): noise(100, unix_s=started_s - 60),
        rotated_name(started_s + 10): noise(3, unix_s=started_s - 40) + noise(2, unix_s=started_s + 5),
        rotated_name(started_s + 20) + ".gz": gzip.compress(noise(4, unix_s=started_s + 15)),
        rotated_name(started_s + 30): noise(5, unix_s=started_s + 25),
        "audit.log": noise(6, unix_s=started_s + 35),
        "audit.log.1": noise(1000, unix_s=started_s + 35),
    }
    for name, content in files.items():
        log.with_name(name).write_bytes(content)

    assert total(count(log, started_unix_s=started_s)) == (17, 17, True)


def test_retention_may_have_deleted_the_first_files(log: Path) -> None:
    """Two rotated files are kept, and the oldest one begins inside this lifetime: there may have been others."""
    started_s = time.time() - 100
    for second in (10, 20):
        log.with_name(rotated_name(started_s + second)).write_bytes(noise(2, unix_s=started_s + second - 5))
    log.write_bytes(noise(2, unix_s=started_s + 30))

    assert not count(log, started_unix_s=started_s, retention=Retention(max_backups=2)).complete
    assert count(log, started_unix_s=started_s, retention=Retention(max_backups=3)).complete
    assert count(log, started_unix_s=started_s, retention=Retention(max_age_days=1)).complete
    oldest = log.with_name(rotated_name(started_s + 10))
    oldest.write_bytes(noise(1, unix_s=started_s - 5) + oldest.read_bytes())
    assert count(log, started_unix_s=started_s, retention=Retention(max_backups=2)).complete, "it reaches to the start"


def test_legacy_lines_are_told_by_their_own_time(log: Path) -> None:
    started = datetime.fromtimestamp(time.time() - 100, UTC)
    early, late = ((started + timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%S.%fZ") for s in (-9, 9))
    log.write_text(f'{early} AUDIT: id="a"\n{early} AUDIT: id="b"\n{late} AUDIT: id="c"\n')

    assert total(count(log, started_unix_s=started.timestamp())) == (1, 1, True)


def test_a_line_without_a_time_counts_for_either(log: Path) -> None:
    started_s = time.time() - 100
    log.write_bytes(noise(3, unix_s=started_s - 9) + b"what is this\n\n" + noise(2, unix_s=started_s + 9) + b"\n")

    assert total(count(log, started_unix_s=started_s)) == (3, 5, True)


def test_a_file_deleted_while_it_is_counted(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention is at work on the oldest file: what followed it cannot be told any more."""
    tally = begin_count(str(log))
    old = log.with_name(rotated_name(time.time()))
    log.write_bytes(noise(2))
    add = counting._add

    def add_and_delete(file: OpenFile, start: int, so_far: Tally) -> Tally:
        old.unlink(missing_ok=True)
        return add(file, start, so_far)

    tally = count_more(str(log), tally)
    log.rename(old)
    log.write_bytes(noise(3))
    monkeypatch.setattr(counting, "_add", add_and_delete)
    gone = count_more(str(log), tally)

    assert total(tally) == (2, 2, True)
    assert not gone.complete
    assert "deleted" in gone.detail


def test_the_first_file_is_deleted_between_list_and_look(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_s = time.time() - 100
    ghost = parse_generation("audit.log", rotated_name(started_s + 5))
    log.write_bytes(noise(3, unix_s=started_s + 9))
    assert ghost is not None
    monkeypatch.setattr(counting, "rotated", lambda _path: (ghost,))

    assert not count(log, started_unix_s=started_s).complete


def test_no_log_has_no_lines(log: Path) -> None:
    assert total(count(log, started_unix_s=time.time())) == (0, 0, True)
    assert total(count_more(str(log), begin_count(str(log)))) == (0, 0, True)


def test_a_count_goes_on_where_it_ended(log: Path) -> None:
    log.write_bytes(noise(10))
    tally = begin_count(str(log))
    with writing(log) as writer:
        for step in range(1, 6):
            writer.write(noise(2))
            tally = count_more(str(log), tally)
            assert total(tally) == (2 * step, 2 * step, True)
            if step % 2:
                writer.rotate(rotated_name(time.time() + step))


def test_a_count_survives_several_rotations_in_between(log: Path) -> None:
    log.write_bytes(noise(10))
    tally = begin_count(str(log))
    with writing(log) as writer:
        for step in range(4):
            writer.write(noise(3))
            writer.rotate(rotated_name(time.time() + step))
        writer.write(noise(1))
    tally = count_more(str(log), tally)

    assert total(tally) == (13, 13, True)
    assert total(count_more(str(log), tally)) == (13, 13, True)


def test_a_count_that_began_before_there_was_a_file(log: Path) -> None:
    log.with_name(rotated_name(time.time() - 50)).write_bytes(noise(9))
    after_rotated = begin_count(str(log))
    log.write_bytes(noise(4))

    assert total(count_more(str(log), after_rotated)) == (4, 4, True)


def test_the_file_that_was_counted_last_is_gone(log: Path) -> None:
    log.write_bytes(noise(10))
    tally = begin_count(str(log))
    log.rename(log.with_name("audit.log.1"))
    log.write_bytes(noise(3))
    gone = count_more(str(log), tally)

    assert not gone.complete
    assert gone.detail
    assert count_more(str(log), gone) == gone


def test_a_new_file_with_the_number_of_a_deleted_one(log: Path) -> None:
    """ext4 gives an inode number away again at once; what was counted in the old file says nothing of the new one."""
    for content in (b"", noise(2)):
        log.write_bytes(content)
        tally = begin_count(str(log))
        log.unlink()
        log.write_bytes(content + noise(5))
        assert not count_more(str(log), tally).complete


def test_where_no_birth_is_known_an_empty_file_has_no_identity(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "born_ns", lambda _descriptor: 0)
    log.touch()
    empty = begin_count(str(log))
    log.write_bytes(noise(3))
    filled = begin_count(str(log))
    with log.open("ab") as file:
        file.write(noise(2))

    assert not count_more(str(log), empty).complete
    assert total(count_more(str(log), filled)) == (2, 2, True)


def test_a_file_system_that_tells_no_birth(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log.touch()
    with log.open("rb") as file:
        known = birth.born_ns(file.fileno())
        assert birth.born_ns(-1) == 0, "what cannot be asked is not known"
        monkeypatch.setattr(birth, "_statx", lambda: None)
        assert birth.born_ns(file.fileno()) == 0
    assert known == 0 or abs(known - time.time_ns()) < 60_000_000_000


def test_an_emptied_file_is_not_taken_for_the_one_that_was_counted(log: Path) -> None:
    log.write_bytes(noise(10))
    tally = begin_count(str(log))
    log.write_bytes(noise(11, pad=1))

    assert not count_more(str(log), tally).complete


@pytest.mark.serial
def test_counting_while_the_log_is_written_and_rotated(log: Path) -> None:
    """Each count lies between what was written before it began and what was when it ended; the last one is exact."""
    written = 0
    failed: list[BaseException] = []

    def write() -> None:
        nonlocal written
        log_file = RotatingFile(str(log), RotationLimits(max_size_mib=1))
        line = noise(1, pad=20_000)
        try:
            for _ in range(400):
                log_file.write(line)
                written += 1
                if written % 50 == 0:
                    time.sleep(0.002)
        except BaseException as error:  # the other thread tells
            failed.append(error)
        finally:
            log_file.close()

    tally = begin_count(str(log))
    thread = threading.Thread(target=write)
    thread.start()
    while thread.is_alive():
        before = written
        tally = count_more(str(log), tally)
        assert tally.complete
        assert before <= tally.low <= written + 1
        assert tally.low == tally.high
    thread.join()

    assert not failed
    assert total(count_more(str(log), tally)) == (400, 400, True)
    assert total(count(log, started_unix_s=time.time() - 3600)) == (400, 400, True)
    assert len(list(log.parent.iterdir())) >= 400 * 20_000 // MIB


def search(path: str) -> Found | None:
    return find_event(path, CANARY, answer_now(0.0), since=None)


@pytest.mark.parametrize("call", [mark, begin_count, search])
def test_a_log_that_may_not_be_read(log: Path, call: Callable[[str], object]) -> None:
    log.write_bytes(noise())
    log.chmod(0)
    if os.geteuid() == 0:
        log.unlink()
        log.symlink_to(log)
    with pytest.raises(OSError, match=r"Errno"):
        call(str(log))


def test_a_full_disk_leaves_a_partial_line_that_is_no_line(tmp_path: Path) -> None:
    """On a real file system without room: the torn line does not count, and the one that continues it counts once."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(small)], capture_output=True, check=False, timeout=20
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        log, ballast = small / "audit.log", small / "ballast"
        log.write_bytes(noise())
        tally, since = begin_count(str(log)), mark(str(log))
        ballast.write_bytes(b"x" * 40_000)
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
        line = noise(1, pad=30_000)
        assert os.write(descriptor, line) < len(line)
        assert total(count_more(str(log), tally)) == (0, 0, True)
        facts = inspect_log(os.getpid(), str(log), HOST)
        assert (facts.held, facts.free_bytes) == (Held.OPEN, 0)
        ballast.unlink()
        os.write(descriptor, event_line(CANARY.audit_id, CANARY.uri, time.time()))
        os.close(descriptor)

        assert total(count_more(str(log), tally)) == (1, 1, True)
        found = find_event(str(log), CANARY, answer_now(time.time()), since=since)
        assert found is not None
        assert found.event.glued
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=20)
        shutil.rmtree(small, ignore_errors=True)
