"""Whether one event is in a log that is written, rotated, torn and forged."""

import gzip
import os
import time
from pathlib import Path

from kauditd.core.canary import RANDOM_BYTES, Canary, CanaryAnswer, Found, compose
from kauditd.core.generations import Position
from kauditd.effects.logfile import find_event, mark
from tests.effects.logfile.writer import answer_now, event_line, noise, rotated_name, writing

CANARY = compose(bytes(range(RANDOM_BYTES)))


def hit(unix_s: float, *, stage: str = "ResponseComplete") -> bytes:
    return event_line(CANARY.audit_id, CANARY.uri, unix_s, stage=stage)


def find(
    log: Path, since: Position | None, *, canary: Canary = CANARY, answer: CanaryAnswer | None = None
) -> Found | None:
    return find_event(str(log), canary, answer or answer_now(time.time()), since=since)


def test_the_event_behind_the_mark_is_found(log: Path) -> None:
    log.write_bytes(noise(10))
    since = mark(str(log))
    asked_s = time.time()
    with log.open("ab") as file:
        file.write(noise(3) + hit(asked_s, stage="RequestReceived") + noise(2))
        place = file.tell()
        file.write(hit(asked_s) + noise(4))
    found = find(log, since, answer=answer_now(asked_s))

    assert found is not None
    assert found.event.stage == "ResponseComplete", "the latest stage that is there"
    assert found.file == str(log)
    assert found.position.offset_bytes == place
    assert (found.position.device, found.position.inode) == (log.stat().st_dev, log.stat().st_ino)
    assert log.read_bytes()[place : place + found.length_bytes] == hit(asked_s)
    assert 0 <= found.latency_s < 5


def test_what_lies_before_the_mark_is_not_looked_at(log: Path) -> None:
    log.write_bytes(hit(time.time()))

    assert find(log, mark(str(log))) is None


def test_no_log_yet(log: Path) -> None:
    assert mark(str(log)) is None
    assert find(log, None) is None
    log.write_bytes(hit(time.time()))
    assert find(log, None) is not None


def test_a_torn_last_line_is_not_there_yet(log: Path) -> None:
    log.write_bytes(noise())
    since = mark(str(log))
    line = hit(time.time())
    for end in (10, len(line) - 1):
        with log.open("ab") as file:
            file.write(line[:end])
        assert find(log, since) is None
        os.truncate(log, len(noise()))
    with log.open("ab") as file:
        file.write(line)
    assert find(log, since) is not None


def test_a_line_that_was_torn_by_a_full_disk_and_continued(log: Path) -> None:
    """ENOSPC cut another event; ours continues its line, before or behind the mark."""
    log.write_bytes(noise()[:60])
    since = mark(str(log))
    with log.open("ab") as file:
        file.write(hit(time.time()))
    behind = find(log, since)
    whole = find(log, None)

    assert behind is not None
    assert whole is not None
    assert whole.event.glued
    assert whole.position.offset_bytes == 0


def test_a_forged_line_with_our_id_and_another_uri(log: Path) -> None:
    log.touch()
    since = mark(str(log))
    log.write_bytes(event_line(CANARY.audit_id, "/kauditd-canary?n=other", time.time()))

    assert find(log, since) is None


def test_a_replayed_line_of_an_earlier_time(log: Path) -> None:
    log.touch()
    since = mark(str(log))
    log.write_bytes(hit(time.time() - 60))

    assert find(log, since) is None


def test_rotation_between_request_and_search(log: Path) -> None:
    with writing(log) as writer:
        writer.write(noise(5))
        since = mark(str(log))
        asked_s = time.time()
        writer.write(noise(2) + hit(asked_s) + noise(1))
        first = writer.rotate(rotated_name(time.time() + 0.01))
        writer.write(noise(5))
        found = find(log, since, answer=answer_now(asked_s))
        writer.rotate(rotated_name(time.time() + 0.02))
        writer.write(noise(5))
        after_two = find(log, since, answer=answer_now(asked_s))

    assert found is not None
    assert found.file == str(first)
    assert found.position.offset_bytes == len(noise(7))
    assert after_two is not None
    assert after_two.file == str(first)


def test_rotation_before_the_event(log: Path) -> None:
    with writing(log) as writer:
        writer.write(noise(5))
        since = mark(str(log))
        asked_s = time.time()
        writer.rotate(rotated_name(time.time() + 0.01))
        writer.write(hit(asked_s))
        found = find(log, since, answer=answer_now(asked_s))

    assert found is not None
    assert (found.file, found.position.offset_bytes) == (str(log), 0)


def test_rotation_with_compression(log: Path) -> None:
    asked_s = time.time()
    name = log.with_name(rotated_name(asked_s + 0.1) + ".gz")
    log.write_bytes(noise(2))
    name.write_bytes(gzip.compress(noise(2) + hit(asked_s)))
    found = find(log, Position(device=1, inode=1, offset_bytes=0), answer=answer_now(asked_s))

    assert found is not None
    assert (found.file, found.position.offset_bytes) == (str(name), len(noise(2)))
    name.write_bytes(name.read_bytes()[:-30])
    assert find(log, None, answer=answer_now(asked_s)) is None, "a compressed file that is not whole"
    name.write_bytes(b"no gzip")
    assert find(log, None, answer=answer_now(asked_s)) is None


def test_a_file_rotated_before_the_question_is_left_alone(log: Path) -> None:
    asked_s = time.time()
    log.with_name(rotated_name(asked_s - 60)).write_bytes(hit(asked_s))

    assert find(log, None, answer=answer_now(asked_s)) is None


def test_names_of_other_tools_are_left_alone(log: Path) -> None:
    log.with_name("audit.log.1").write_bytes(hit(time.time()))

    assert find(log, None) is None


def test_the_log_was_emptied_and_written_again(log: Path) -> None:
    """copytruncate: the same inode with other content, shorter or longer than the mark."""
    for lines in (1, 50):
        log.write_bytes(noise(10))
        since = mark(str(log))
        log.write_bytes(hit(time.time()) + noise(lines, pad=10))
        assert find(log, since) is not None


def test_a_very_long_line_does_not_hide_the_event(log: Path) -> None:
    log.touch()
    since = mark(str(log))
    log.write_bytes(noise(1, pad=5_000_000) + hit(time.time()) + noise(1, pad=3_000_000))
    found = find(log, since)

    assert found is not None
    assert found.position.offset_bytes == len(noise(1, pad=5_000_000))


def test_no_more_is_read_than_allowed(log: Path) -> None:
    log.write_bytes(noise(1, pad=600_000) + hit(time.time()))
    answer = answer_now(time.time())

    assert find_event(str(log), CANARY, answer, since=None, limit_bytes=300_000) is None
    assert find_event(str(log), CANARY, answer, since=None) is not None


def test_what_was_read_already_counts_for_rotated_files_too(log: Path) -> None:
    asked_s = time.time()
    log.write_bytes(noise(1, pad=600_000))
    log.with_name(rotated_name(asked_s + 1)).write_bytes(hit(asked_s))
    answer = answer_now(asked_s)

    assert find_event(str(log), CANARY, answer, since=None, limit_bytes=500_000) is None
    assert find_event(str(log), CANARY, answer, since=None) is not None


def test_a_rotated_file_that_cannot_be_read_does_not_hide_the_next(log: Path) -> None:
    asked_s = time.time()
    loop = log.with_name(rotated_name(asked_s + 2))
    loop.symlink_to(loop)
    log.with_name(rotated_name(asked_s + 1)).write_bytes(hit(asked_s))

    assert find(log, None, answer=answer_now(asked_s)) is not None


def test_a_fifo_in_the_place_of_the_log_holds_nobody_up(log: Path) -> None:
    os.mkfifo(log)

    assert find(log, None) is None
    assert mark(str(log)) is None
