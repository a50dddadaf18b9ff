"""Who holds the log file: exactly the one at the path, or what has become of it."""

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from kauditd.core.layout import Layout
from kauditd.core.proof import Held, LogFacts
from kauditd.effects.logfile import inspect_log, inspecting, mark
from kauditd.sim.lumberjack import RotatingFile, RotationLimits
from tests.effects.logfile.writer import LogWriter, noise, rotated_name, writing

HOST = Layout()


def look(writer: LogWriter, *, host_path: str | None = None) -> LogFacts:
    return inspect_log(writer.pid, str(writer.path), HOST, host_path=host_path)


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
