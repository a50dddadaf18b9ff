"""A socket path and other users' credentials for the tests of the API."""

from pathlib import Path

import pytest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a test's server listens; the directories above can be entered by any user, the socket decides."""
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        if directory.stat().st_mode & 0o011 != 0o011 and directory.name.startswith(("pytest", "test", "popen")):
            directory.chmod(directory.stat().st_mode | 0o011)
    return tmp_path / "kauditd.sock"
