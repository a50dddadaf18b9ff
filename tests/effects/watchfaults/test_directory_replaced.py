"""The watched directory is not the one it was: watchdog alone goes blind in each of these cases."""

import shutil
from pathlib import Path

from tests.effects.watchfaults.witness import sees_writes, settle, watching


def test_directory_renamed_away_and_made_again(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    with watching(manifests) as (watch, witness):
        manifests.rename(tmp_path / "old")
        manifests.mkdir()
        assert witness.woken(), "the parent is watched for this"

        assert watch.check() == (str(manifests),)
        assert watch.rearm_total == 1
        assert sees_writes(watch, witness, manifests)
        settle(watch, witness)
        (tmp_path / "old" / "file").write_text("x")
        assert not witness.woken(0.3), "the old directory is nobody's business now"


def test_directory_deleted_and_made_again(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    with watching(manifests) as (watch, witness):
        shutil.rmtree(manifests)
        assert witness.woken()
        assert watch.check() == ()
        assert watch.armed == ()
        assert str(manifests) in watch.detail

        witness.forget()
        manifests.mkdir()
        assert witness.woken()
        assert watch.check() == (str(manifests),)
        assert watch.detail == ""
        assert sees_writes(watch, witness, manifests)


def test_directory_deleted_and_made_again_between_two_checks(tmp_path: Path) -> None:
    """Most file systems give the new directory the old inode number, so identity alone would not tell."""
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    with watching(manifests) as (watch, witness):
        for _ in range(10):
            shutil.rmtree(manifests)
            manifests.mkdir()
            settle(watch, witness, quiet_s=0.05)
            assert watch.check() == (str(manifests),)
            assert sees_writes(watch, witness, manifests)


def test_another_directory_renamed_into_place(tmp_path: Path) -> None:
    manifests, prepared = tmp_path / "manifests", tmp_path / "prepared"
    manifests.mkdir()
    prepared.mkdir()
    with watching(manifests) as (watch, witness):
        prepared.rename(manifests)
        assert witness.woken()

        assert watch.check() == (str(manifests),)
        assert sees_writes(watch, witness, manifests)


def test_parent_renamed_away_and_made_again(tmp_path: Path) -> None:
    """No event is promised two levels up; the next check sees it."""
    manifests = tmp_path / "kubernetes" / "manifests"
    manifests.mkdir(parents=True)
    with watching(manifests) as (watch, witness):
        manifests.parent.rename(tmp_path / "old")
        manifests.mkdir(parents=True)

        assert watch.check() == (str(manifests),)
        assert sees_writes(watch, witness, manifests)


def test_directory_moved_away_and_back_is_still_watched(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    with watching(manifests) as (watch, witness):
        manifests.rename(tmp_path / "away")
        assert watch.check() == ()
        assert watch.armed == ()
        (tmp_path / "away").rename(manifests)

        assert watch.check() == (str(manifests),)
        assert sees_writes(watch, witness, manifests)


def test_one_directory_of_two_replaced_leaves_the_other_alone(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with watching(first, second) as (watch, witness):
        first.rename(tmp_path / "old")
        first.mkdir()

        assert watch.check() == (str(first),)
        assert sees_writes(watch, witness, second)
