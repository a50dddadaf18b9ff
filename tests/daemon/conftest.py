"""A machine image: a manifest, and nothing that runs."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import NODE_DIRECTORIES
from tests.daemon.process import MANIFEST, has_flags, plain, put, run


@pytest.fixture
def image(node_root: Path) -> Path:
    put(node_root / MANIFEST, plain())
    return node_root


@pytest.fixture(scope="session")
def once_edited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root in which audit was turned on once."""
    root = tmp_path_factory.mktemp("edited")
    for name in NODE_DIRECTORIES:
        (root / name).mkdir(parents=True)
    put(root / MANIFEST, plain())
    assert run("kauditd", "--once", "--root", str(root)).returncode == 1
    assert has_flags((root / MANIFEST).read_bytes())
    return root


@pytest.fixture
def edited(once_edited: Path, short_tmp: Path) -> Path:
    """A copy of an image with audit turned on, no daemon running."""
    shutil.copytree(once_edited, short_tmp, dirs_exist_ok=True)
    return short_tmp
