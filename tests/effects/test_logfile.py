"""The log file under a living writer: who holds it, whether the event is in it, how many lines it has."""

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

from kauditd.core.canary import RANDOM_BYTES, Canary, CanaryAnswer, Found, compose
from kauditd.core.counters import Tally
from kauditd.core.generations import Position, Retention
from kauditd.core.layout import Layout
from kauditd.core.proof import Held, LogFacts
from kauditd.effects.logfile import begin_count, count_lines, count_more, find_event, inspect_log, inspecting, mark
from kauditd.sim.lumberjack import MIB, RotatingFile, RotationLimits, backup_name
from tests.effects.logwriter import LogWriter, answer_now, event_line, writing

HOST = Layout()
CANARY = compose(bytes(range(RANDOM_BYTES)))
KEEP_ALL = Retention()


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    return tmp_path / "audit" / "audit.log"


def noise(number: int = 1, *, unix_s: float | None = None, pad: int = 0) -> bytes:
    """Lines of other requests."""
    when = time.time() if unix_s is None else unix_s
    return b"".join(event_line(f"noise-{i}", "/api/v1/pods", when, pad=pad) for i in range(number))


def hit(unix_s: float, *, stage: str = "ResponseComplete") -> bytes:
    return event_line(CANARY.audit_id, CANARY.uri, unix_s, stage=stage)


def rotated_name(unix_s: float) -> str:
    return backup_name("audit.log", datetime.fromtimestamp(unix_s, UTC))


def look(writer: LogWriter, *, host_path: str | None = None) -> LogFacts:
    return inspect_log(writer.pid, str(writer.path), HOST, host_path=host_path)


def find(
    log: Path, since: Position | None, *, canary: Canary = CANARY, answer: CanaryAnswer | None = None
) -> Found | None:
    return find_event(str(log), canary, answer or answer_now(time.time()), since=since)


# Who holds the file.


def test_before_the_first_event_the_log_is_not_open(log: Path) -> None:
    log.touch()
    with writing(log) as writer:
        writer.started()
        facts = look(writer)

    assert facts.held is Held.NOT_OPEN
    assert facts.seen is not None
    assert facts.shared is True
    assert facts.fault == ""


def test_after_it_exactly_that_file_is_held(log: Path) -> None:
    with writing(log) as writer:
        writer.write(noise())
        facts = look(writer)

    status = log.stat()
    assert facts.held is Held.OPEN
    assert facts.shared is True
    assert facts.seen is not None
    assert (facts.seen.device, facts.seen.inode, facts.seen.size_bytes) == (
        status.st_dev,
        status.st_ino,
        status.st_size,
    )
    assert facts.seen_path.startswith(f"/proc/{writer.pid}/root/")
    assert facts.free_bytes is not None
    assert facts.free_bytes > 0


def test_a_rotation_by_the_writer_leaves_it_open(log: Path) -> None:
    with writing(log) as writer:
        writer.write(noise())
        writer.rotate(rotated_name(time.time()))
        assert look(writer).held is Held.OPEN


def test_log_deleted_under_the_writer(log: Path) -> None:
    with writing(log) as writer:
        writer.write(noise())
        log.unlink()
        writer.write(noise())
        facts = look(writer)

    assert facts.held is Held.DELETED
    assert facts.held_path == str(log)
    assert facts.seen is None


def test_log_deleted_and_made_again(log: Path) -> None:
    """What a well-meaning person does: the path exists, and nothing ever arrives there."""
    with writing(log) as writer:
        writer.write(noise())
        log.unlink()
        log.touch()
        facts = look(writer)

    assert facts.held is Held.DELETED
    assert facts.seen is not None


@pytest.mark.parametrize("name", ["audit.log.1", "audit-20261124.log", "old", "audit-2026-11-23T18-33-29.659.log"])
def test_log_renamed_under_the_writer(log: Path, name: str) -> None:
    with writing(log) as writer:
        writer.write(noise())
        log.rename(log.with_name(name))
        log.touch()
        facts = look(writer)

    assert facts.held is Held.RENAMED
    assert facts.held_path == str(log.with_name(name))


def test_log_moved_to_another_directory(log: Path) -> None:
    (log.parent / "keep").mkdir()
    with writing(log) as writer:
        writer.write(noise())
        log.rename(log.parent / "keep" / "audit.log")
        facts = look(writer)

    assert facts.held is Held.RENAMED
    assert facts.held_path.endswith("/keep/audit.log")


def test_other_files_that_a_process_writes_are_not_its_log(log: Path) -> None:
    other = log.with_name("other.txt")
    other.write_bytes(b"not an event\n")
    log.touch()
    with writing(other) as writer:
        writer.write(b"words\n")
        assert inspect_log(writer.pid, str(log), HOST).held is Held.NOT_OPEN


def test_a_log_that_is_only_read_is_not_held(log: Path) -> None:
    log.write_bytes(noise())
    with log.open("rb"):
        assert inspect_log(os.getpid(), str(log), HOST).held is Held.NOT_OPEN


def test_below_a_root_a_file_in_the_container_layer_is_elsewhere(tmp_path: Path) -> None:
    """The simulated container writes what no mount covers into a directory of its own."""
    logical = "/var/log/kubernetes/audit/audit.log"
    layer = Path(f"{tmp_path}/run/layer{logical}")
    layer.parent.mkdir(parents=True)
    with writing(layer) as writer:
        writer.write(noise())
        facts = inspect_log(writer.pid, logical, Layout(str(tmp_path)))

    assert facts.held is Held.ELSEWHERE
    assert facts.shared is False
    assert facts.held_path == str(layer)
    assert (facts.path, facts.host_path) == (logical, logical)


def test_in_a_mount_namespace_of_its_own(log: Path) -> None:
    """What a real container does: its directory is not the host's, though it has the same name."""
    wrapper = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none "{log.parent}" && exec "$@"', "sh")
    tried = subprocess.run([*wrapper, "true"], capture_output=True, check=False, timeout=20)
    if tried.returncode:
        pytest.skip("a mount namespace cannot be made here")
    log.write_bytes(b"the host's\n")
    with writing(log, wrapper=wrapper) as writer:
        writer.write(noise())
        facts = look(writer)
        mark_inside = mark(facts.seen_path)

    assert facts.held is Held.OPEN
    assert facts.shared is False
    assert mark_inside is not None
    assert mark_inside.offset_bytes == len(noise())


def test_the_mounts_may_put_it_elsewhere_on_the_host(log: Path, tmp_path: Path) -> None:
    with writing(log) as writer:
        writer.write(noise())
        assert look(writer, host_path=str(tmp_path / "no-such-file")).shared is False
        os.link(log, tmp_path / "same-file")
        assert look(writer, host_path=str(tmp_path / "same-file")).shared is True


def test_a_process_that_is_gone(log: Path) -> None:
    log.write_bytes(noise())
    with writing(log) as writer:
        writer.started()
    facts = look(writer)

    assert facts.held is Held.UNKNOWN
    assert facts.process_root_seen is False
    assert facts.shared is None
    assert facts.seen is not None, "the host's file stands in"
    assert facts.fault


def test_a_directory_in_the_place_of_the_log(log: Path) -> None:
    log.mkdir()
    facts = inspect_log(os.getpid(), str(log), HOST)

    assert facts.seen is None
    assert "not a regular file" in facts.fault


@pytest.mark.parametrize(
    ("link", "target", "expected"),
    [("var/log", "/data", "data/audit.log"), ("var/log", "../data", "data/audit.log"), ("var", "/", "log/audit.log")],
)
def test_links_inside_a_container_stay_inside(tmp_path: Path, link: str, target: str, expected: str) -> None:
    """The kernel would follow an absolute link to the host's root, not to the container's."""
    (tmp_path / link).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / link).symlink_to(target)

    assert inspecting._resolve(str(tmp_path), "/var/log/audit.log") == f"{tmp_path}/{expected}"


def test_links_that_lead_round_and_round_or_out_of_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "out").symlink_to("../../../../etc")

    assert inspecting._resolve(str(tmp_path), "/a/audit.log").startswith(str(tmp_path))
    assert inspecting._resolve(str(tmp_path), "/out/./audit.log") == f"{tmp_path}/etc/audit.log"


# Whether the event is in it.


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


def test_a_fifo_in_the_place_of_the_log_holds_nobody_up(log: Path) -> None:
    os.mkfifo(log)

    assert find(log, None) is None
    assert mark(str(log)) is None


# How many lines it has.


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


@pytest.mark.serial
def test_descriptors_during_rotations_never_look_lost(log: Path) -> None:
    """A look between close and create shows no open file, at worst; it never accuses."""
    stop = threading.Event()
    log_file = RotatingFile(str(log), RotationLimits(max_size_mib=1))

    def write() -> None:
        line = noise(1, pad=300_000)
        while not stop.is_set():
            log_file.write(line)
        log_file.close()

    thread = threading.Thread(target=write)
    log_file.write(noise())
    thread.start()
    try:
        states = {inspect_log(os.getpid(), str(log), HOST).held for _ in range(100)}
        for old in sorted(log.parent.glob("audit-*"))[:-1]:
            old.unlink()
    finally:
        stop.set()
        thread.join()

    assert Held.OPEN in states
    assert states <= {Held.OPEN, Held.NOT_OPEN}


@pytest.mark.parametrize("call", [mark, begin_count, lambda path: find(Path(path), None)])
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
        os.write(descriptor, hit(time.time()))
        os.close(descriptor)

        assert total(count_more(str(log), tally)) == (1, 1, True)
        found = find(log, since)
        assert found is not None
        assert found.event.glued
    finally:
        subprocess.run(["umount", str(small)], check=True, timeout=20)
        shutil.rmtree(small, ignore_errors=True)
