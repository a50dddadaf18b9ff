"""The watch on a healthy machine: what wakes, what does not, and how often."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from kauditd.effects.watch import Watch
from tests.effects.watchfaults.witness import Witness, settle, until, watching

READS = 0x01 | 0x10 | 0x20  # IN_ACCESS, IN_CLOSE_NOWRITE, IN_OPEN
MODIFY = 0x02


def write(path: Path, text: str = "x") -> None:
    path.write_text(text)


def test_a_write_wakes(tmp_path: Path) -> None:
    with watching(tmp_path) as (watch, witness):
        write(tmp_path / "kube-apiserver.yaml")

        assert witness.woken()
        assert watch.consume() == (str(tmp_path / "kube-apiserver.yaml"),)


def test_a_rename_over_wakes_with_the_target(tmp_path: Path) -> None:
    write(tmp_path / "kube-apiserver.yaml")
    write(tmp_path / ".other")
    with watching(tmp_path) as (_, witness):
        (tmp_path / ".other").rename(tmp_path / "kube-apiserver.yaml")

        assert witness.woken()
        assert witness.paths == [str(tmp_path / "kube-apiserver.yaml")]


def test_a_deletion_wakes(tmp_path: Path) -> None:
    write(tmp_path / "kube-apiserver.yaml")
    with watching(tmp_path) as (_, witness):
        (tmp_path / "kube-apiserver.yaml").unlink()

        assert witness.woken()


def test_reading_does_not_wake(tmp_path: Path) -> None:
    write(tmp_path / "kube-apiserver.yaml")
    with watching(tmp_path) as (_, witness):
        for _ in range(50):
            (tmp_path / "kube-apiserver.yaml").read_text()
            list(tmp_path.iterdir())

        assert not witness.woken(0.3)


def test_the_kernel_is_not_even_asked_for_reads_and_single_writes(tmp_path: Path) -> None:
    """The log directory is watched too, and the API server writes thousands of lines a second there."""
    with watching(tmp_path / "a", tmp_path):
        masks = [
            int(mask, 16)
            for info in Path("/proc/self/fdinfo").iterdir()
            for mask in re.findall(r"inotify wd:.* mask:([0-9a-f]+)", _text(info))
        ]

    assert masks
    assert not [mask for mask in masks if mask & (READS | MODIFY)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:  # the descriptor that listed the directory
        return ""


def test_own_unfinished_files_do_not_wake_but_their_publication_does(tmp_path: Path) -> None:
    write(tmp_path / "kube-apiserver.yaml")
    with watching(tmp_path) as (_, witness):
        write(tmp_path / ".kauditd.0a1b2c3d")
        (tmp_path / ".kauditd.dropped").touch()
        (tmp_path / ".kauditd.dropped").unlink()
        assert not witness.woken(0.3)

        (tmp_path / ".kauditd.0a1b2c3d").rename(tmp_path / "kube-apiserver.yaml")
        assert witness.woken()


def test_a_burst_is_one_wake_up_until_consumed(tmp_path: Path) -> None:
    with watching(tmp_path) as (watch, witness):
        for number in range(100):
            write(tmp_path / f"file-{number % 3}")
        time.sleep(0.2)
        assert len(witness.paths) == 1

        assert watch.consume() == tuple(str(tmp_path / f"file-{n}") for n in range(3))
        assert watch.consume() == ()
        witness.forget()
        write(tmp_path / "file-0")
        assert witness.woken()


def test_check_lets_it_wake_again_too(tmp_path: Path) -> None:
    with watching(tmp_path) as (watch, witness):
        write(tmp_path / "one")
        assert witness.woken()
        settle(watch, witness)
        assert watch.check() == ()
        write(tmp_path / "two")

        assert witness.woken()


def test_touched_paths_are_bounded(tmp_path: Path) -> None:
    with watching(tmp_path) as (watch, _):
        for number in range(300):
            write(tmp_path / str(number))
        time.sleep(0.2)

        assert 0 < len(watch.consume()) <= 64


@pytest.mark.serial
def test_kubeadms_rename_pair_is_not_held_back(tmp_path: Path) -> None:
    """watchdog holds an unpaired rename for 500 ms; the new manifest may not wait behind the old one's departure."""
    live, backup, staged = tmp_path / "manifests", tmp_path / "backup", tmp_path / "staged"
    for directory in (live, backup, staged):
        directory.mkdir()
    manifest = live / "kube-apiserver.yaml"
    write(manifest)
    delays_s = []
    with watching(live) as (watch, witness):
        for _ in range(60):
            write(staged / manifest.name)
            settle(watch, witness, quiet_s=0.01)
            manifest.rename(backup / manifest.name)
            renamed_s = time.perf_counter()
            (staged / manifest.name).rename(manifest)
            assert witness.woken()
            delays_s.append(witness.times_s[0] - renamed_s)

    # On an idle machine 1.2 ms; the bound leaves room for a busy one and none for the default.
    assert sorted(delays_s)[len(delays_s) // 2] < 0.02
    assert max(delays_s) < 0.4


def test_watchdogs_own_delay_is_left_as_it_was(tmp_path: Path) -> None:
    grouper = pytest.importorskip("watchdog.observers.inotify_move_event_grouper").InotifyMoveEventGrouper
    before = grouper.delay
    with watching(tmp_path):
        assert grouper.delay == before


def test_a_directory_and_its_parent_are_both_watched_in_full(tmp_path: Path) -> None:
    """inotify keeps one mask per inode, so a narrower interest in the parent must not narrow the wider one."""
    child = tmp_path / "manifests"
    child.mkdir()
    with watching(tmp_path, child) as (watch, witness):
        for directory in (tmp_path, child):
            write(directory / "file")
            assert witness.woken(), directory
            settle(watch, witness)


def test_neighbours_of_a_watched_directory_do_not_wake(tmp_path: Path) -> None:
    (tmp_path / "manifests").mkdir()
    with watching(tmp_path / "manifests") as (_, witness):
        write(tmp_path / "admin.conf")
        (tmp_path / "pki").mkdir()

        assert not witness.woken(0.3)


def test_follow_replaces_the_set(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with watching(first) as (watch, witness):
        assert watch.follow([str(first), str(second)]) == (str(second),)
        assert watch.armed == (str(first), str(second))
        write(second / "file")
        assert witness.woken()

        assert watch.follow([str(second)]) == ()
        settle(watch, witness)
        write(first / "file")
        assert not witness.woken(0.3)
        write(second / "file")
        assert witness.woken()


def test_stop_gives_threads_and_descriptors_back_and_start_may_follow(tmp_path: Path) -> None:
    witness = Witness()
    watch = Watch([str(tmp_path)], witness)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    assert watch.mode == "polling"
    for _ in range(3):
        watch.start()
        watch.start()
        assert watch.mode == "inotify"
        watch.stop()
    assert until(lambda: threading.active_count() == threads)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert watch.check() == ()

    watch.start()
    write(tmp_path / "file")
    assert witness.woken()
    watch.stop()


def test_nothing_is_rearmed_while_nothing_happens(tmp_path: Path) -> None:
    with watching(tmp_path) as (watch, _):
        assert [watch.check() for _ in range(5)] == [()] * 5
        assert (watch.rearm_total, watch.overflow_total, watch.detail) == (0, 0, "")
