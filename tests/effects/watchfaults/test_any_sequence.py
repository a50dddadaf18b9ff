"""Whatever was done to the path, one check later the directory that it means now is the one that is watched."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.effects.watchfaults.witness import settle, watching


def remove(path: Path) -> None:
    """Take away whatever is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def move_away(path: Path) -> None:
    if path.is_symlink() or path.exists():
        path.rename(tempfile.mkdtemp(dir=path.parents[1]) + "/old")


def make(path: Path) -> None:
    if path.parent.is_dir() and not path.is_symlink():
        path.mkdir(exist_ok=True) if not path.is_file() else None


def link(path: Path, target: Path) -> None:
    if path.parent.is_dir():
        remove(path)
        path.symlink_to(target)


OPERATIONS: dict[str, Callable[[Path], None]] = {
    "remove": lambda base: remove(base / "kubernetes" / "manifests"),
    "make": lambda base: make(base / "kubernetes" / "manifests"),
    "move away": lambda base: move_away(base / "kubernetes" / "manifests"),
    "link to first": lambda base: link(base / "kubernetes" / "manifests", base / "first"),
    "link to second": lambda base: link(base / "kubernetes" / "manifests", Path("../second")),
    "remove parent": lambda base: remove(base / "kubernetes"),
    "make parent": lambda base: make(base / "kubernetes"),
    "link parent": lambda base: link(base / "kubernetes", base / "other"),
    "move parent away": lambda base: move_away(base / "kubernetes"),
    "remove first": lambda base: remove(base / "first"),
    "make first": lambda base: make(base / "first"),
    "make other": lambda base: make(base / "other" / "manifests"),
}


@settings(max_examples=25)
@given(st.lists(st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=1, max_size=4), min_size=1, max_size=4))
def test_any_sequence_of_replacements(rounds: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        base = Path(name).resolve() / "node"
        for directory in ("kubernetes/manifests", "first", "second", "other/manifests"):
            (base / directory).mkdir(parents=True)
        manifests = base / "kubernetes" / "manifests"
        with watching(manifests) as (watch, witness):
            for operations in rounds:
                for operation in operations:
                    OPERATIONS[operation](base)
                settle(watch, witness, quiet_s=0.03)
                watch.check()

                assert watch.armed == ((str(manifests),) if manifests.is_dir() else ())
                if manifests.is_dir():
                    settle(watch, witness, quiet_s=0.01)
                    (manifests / "kube-apiserver.yaml").write_text(str(operations))
                    assert witness.woken(2.0), operations
