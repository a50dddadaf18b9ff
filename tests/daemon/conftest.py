"""A machine image: a manifest, and nothing that runs."""

from pathlib import Path

import pytest

from tests.daemon.process import MANIFEST, plain, put


@pytest.fixture
def image(node_root: Path) -> Path:
    put(node_root / MANIFEST, plain())
    return node_root
