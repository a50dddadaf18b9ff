"""File systems come and go under the watched path. inotify follows inodes, so no event tells of it."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.effects.watchfaults.witness import Driven, driven


@pytest.fixture(name="mounting")
def _mounting(tmp_path: Path) -> Iterator[tuple[Driven, Path]]:
    """A watch of ``manifests`` in a mount namespace of its own, and the directory's path."""
    prefix = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")
    try:
        subprocess.run([*prefix, "mount", "-t", "tmpfs", "none", str(tmp_path)], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a mount namespace is not to be had here")
    manifests = tmp_path / "kubernetes" / "manifests"
    manifests.mkdir(parents=True)
    with driven([manifests], prefix=prefix) as watch:
        yield watch, manifests


def run(watch: Driven, *words: object) -> None:
    assert watch.ask("run", *map(str, words))["status"] == 0, words


def sees_writes(watch: Driven, directory: Path) -> bool:
    """Whether a file written inside the namespace wakes."""
    watch.ask("check")
    run(watch, "sh", "-c", f"echo x > '{directory}/written-now'")
    return bool(watch.ask("wait", "3")["status"])


@pytest.mark.serial
def test_directory_on_a_mount_of_its_own(mounting: tuple[Driven, Path]) -> None:
    watch, manifests = mounting
    run(watch, "mount", "-t", "tmpfs", "none", manifests)
    watch.ask("start")

    assert sees_writes(watch, manifests)


@pytest.mark.serial
def test_mounted_over_and_unmounted(mounting: tuple[Driven, Path]) -> None:
    watch, manifests = mounting
    watch.ask("start")
    run(watch, "mount", "-t", "tmpfs", "none", manifests)
    assert watch.ask("check")["changed"] == [str(manifests)]
    assert sees_writes(watch, manifests)

    run(watch, "umount", manifests)
    assert watch.ask("check")["changed"] == [str(manifests)]
    assert sees_writes(watch, manifests)


@pytest.mark.serial
def test_unmounted_and_the_same_file_system_mounted_again(mounting: tuple[Driven, Path]) -> None:
    """Path, device and inode are what they were, every thread lives, and the kernel has dropped the watch."""
    watch, manifests = mounting
    image = manifests.parent.parent / "image"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    if watch.ask("run", "mkfs.ext2", "-q", "-F", str(image))["status"] != 0:
        pytest.skip("mkfs.ext2 does not work here")
    if watch.ask("run", "mount", "-o", "loop", str(image), str(manifests))["status"] != 0:
        pytest.skip("loop devices are not to be had here")
    watch.ask("start")
    assert sees_writes(watch, manifests)
    before = manifests_identity(watch, manifests)
    run(watch, "umount", manifests)
    run(watch, "mount", "-o", "loop", image, manifests)
    if manifests_identity(watch, manifests) != before:
        pytest.skip("the loop device got another number")

    assert watch.ask("check")["changed"] == [str(manifests)]
    assert sees_writes(watch, manifests)
    run(watch, "umount", manifests)


def manifests_identity(watch: Driven, manifests: Path) -> str:
    path = f"/proc/{watch.process.pid}/root{manifests}"
    found = Path(path).stat()
    return f"{found.st_dev}:{found.st_ino}"
