"""The directory is reached through symbolic links: watchdog alone sees nothing there."""

from pathlib import Path

from tests.effects.watchfaults.witness import sees_writes, settle, watching


def test_symbolic_link_to_the_directory(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "etc" / "manifests"
    target.mkdir()
    link.parent.mkdir()
    link.symlink_to(target)
    with watching(link) as (watch, witness):
        assert watch.armed == (str(link),)
        assert sees_writes(watch, witness, target)


def test_link_pointed_elsewhere(tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "etc" / "manifests"
    for directory in (first, second, link.parent):
        directory.mkdir()
    link.symlink_to(first)
    with watching(link) as (watch, witness):
        (link.parent / ".new").symlink_to(second)
        (link.parent / ".new").rename(link)
        assert witness.woken(), "the directory that holds the link is watched"

        assert watch.check() == (str(link),)
        assert sees_writes(watch, witness, second)
        settle(watch, witness)
        (first / "file").write_text("x")
        assert not witness.woken(0.3)


def test_link_pointed_at_a_directory_that_is_watched_already(tmp_path: Path) -> None:
    first, second, link = tmp_path / "first", tmp_path / "second", tmp_path / "link"
    first.mkdir()
    second.mkdir()
    link.symlink_to(first)
    with watching(link, second) as (watch, _):
        link.unlink()
        link.symlink_to(second)

        assert watch.check() == (str(link),), "what it means has changed, so it must be read again"


def test_link_within_the_path(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name / "manifests").mkdir(parents=True)
    link = tmp_path / "kubernetes"
    link.symlink_to("first")
    with watching(link / "manifests") as (watch, witness):
        assert sees_writes(watch, witness, tmp_path / "first" / "manifests")
        watch.consume()
        witness.forget()
        link.unlink()
        link.symlink_to("second")
        assert witness.woken()

        assert watch.check() == (str(link / "manifests"),)
        assert sees_writes(watch, witness, tmp_path / "second" / "manifests")


def test_chain_of_links_with_the_middle_one_changed(tmp_path: Path) -> None:
    for name in ("a", "b", "c", "first", "second"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "manifests").symlink_to("../b/middle")
    middle = tmp_path / "b" / "middle"
    middle.symlink_to(tmp_path / "first")
    with watching(tmp_path / "a" / "manifests") as (watch, witness):
        middle.unlink()
        middle.symlink_to("../second")
        assert witness.woken()

        assert watch.check() == (str(tmp_path / "a" / "manifests"),)
        assert sees_writes(watch, witness, tmp_path / "second")


def test_target_of_the_link_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "data" / "target", tmp_path / "manifests"
    target.mkdir(parents=True)
    link.symlink_to(target)
    with watching(link) as (watch, witness):
        target.rename(tmp_path / "old")
        target.mkdir()
        assert witness.woken()

        assert watch.check() == (str(link),)
        assert sees_writes(watch, witness, target)


def test_link_to_nothing_whose_target_is_made_late(tmp_path: Path) -> None:
    link = tmp_path / "manifests"
    link.symlink_to(tmp_path / "late")
    with watching(link) as (watch, witness):
        assert watch.armed == ()
        (tmp_path / "late").mkdir()
        assert witness.woken()

        assert watch.check() == (str(link),)


def test_links_in_a_circle_do_not_hang(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with watching(tmp_path / "a") as (watch, witness):
        assert watch.armed == ()
        (tmp_path / "b").unlink()
        (tmp_path / "b").mkdir()
        assert witness.woken()

        assert watch.check() == (str(tmp_path / "a"),)
