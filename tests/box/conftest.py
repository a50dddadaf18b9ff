"""A box per test: half a second each, and none sees what another left behind."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box.driving import DRIVER, PRODUCT
from tests.box.machine import Machine
from tests.box.tree import CannotBoot, ready_tree
from tests.tree import ROOT


@pytest.fixture(scope="session")
def tree() -> Path:
    """The tree of a bare Debian; the first run makes it."""
    try:
        return ready_tree()
    except CannotBoot as reason:
        pytest.skip(str(reason))


@pytest.fixture
def machine(tree: Path, tmp_path: Path) -> Iterator[Machine]:
    """A booted Debian with this checkout's package in it."""
    binds = {ROOT / "kauditd": f"{PRODUCT}/kauditd", ROOT / "tests/box": DRIVER}
    try:
        box = Machine(tree, tmp_path / "box", name=f"box-{os.getpid()}", binds=binds)
        with box:
            yield box
    except CannotBoot as reason:
        pytest.skip(str(reason))
