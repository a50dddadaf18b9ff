"""The directory is not there yet: the package is installed before ``kubeadm init``."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.effects.watchfaults.witness import driven, sees_writes, watching


def test_directory_made_late(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    with watching(manifests) as (watch, witness):
        assert (watch.mode, watch.armed) == ("inotify", ())
        assert str(manifests) in watch.detail
        manifests.mkdir()
        assert witness.woken()

        assert watch.check() == (str(manifests),)
        assert sees_writes(watch, witness, manifests)


def test_all_of_the_path_made_late(tmp_path: Path) -> None:
    manifests = tmp_path / "etc" / "kubernetes" / "manifests"
    with watching(manifests) as (watch, witness):
        manifests.mkdir(parents=True)
        assert witness.woken()

        assert watch.check() == (str(manifests),)
        assert sees_writes(watch, witness, manifests)


def test_path_made_step_by_step(tmp_path: Path) -> None:
    manifests = tmp_path / "etc" / "kubernetes" / "manifests"
    with watching(manifests) as (watch, witness):
        for directory in (tmp_path / "etc", tmp_path / "etc" / "kubernetes"):
            directory.mkdir()
            assert witness.woken(), directory
            assert watch.check() == ()
            witness.forget()
        manifests.mkdir()
        assert witness.woken()

        assert watch.check() == (str(manifests),)


def test_a_file_in_its_place(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.write_text("not a directory")
    with watching(manifests) as (watch, witness):
        assert watch.armed == ()
        manifests.unlink()
        manifests.mkdir()
        assert witness.woken()

        assert watch.check() == (str(manifests),)


@pytest.mark.serial
def test_a_directory_that_may_not_be_read(tmp_path: Path) -> None:
    """inotify refuses it, and watchdog takes the refusal for success."""
    prefix = ("unshare", "--user") if os.geteuid() == 0 else ()  # root without its privileges
    if prefix and subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        pytest.skip("a user namespace to give root's privileges up in is not to be had here")
    manifests = tmp_path / "manifests"
    manifests.mkdir(mode=0o300)
    with driven([manifests], prefix=prefix) as watch:
        started = watch.ask("start")
        assert started["armed"] == []
        assert str(manifests) in started["detail"]
        assert watch.ask("check")["changed"] == []
        manifests.chmod(0o700)

        assert watch.ask("check")["changed"] == [str(manifests)]
        (manifests / "file").write_text("x")
        assert watch.ask("wait", "5")["status"] == 1
