"""A root directory with the place where the daemon listens."""

from pathlib import Path

import pytest


@pytest.fixture
def socket_path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "kauditd" / "kauditd.sock"
