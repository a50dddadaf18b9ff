"""A place for a log."""

from pathlib import Path

import pytest


@pytest.fixture(name="log")
def _log(tmp_path: Path) -> Path:
    (tmp_path / "audit").mkdir()
    return tmp_path / "audit" / "audit.log"
