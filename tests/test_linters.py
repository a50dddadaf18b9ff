"""Linters as tests, so that one command tells all.

A tool that ``make`` installs beside the interpreter may be missing on a laptop (skipped, with the reason) but not in
CI, where ``CI=true`` turns the skip into a failure.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tree import ROOT, cache_dir, relative, shell_scripts, tracked_files

UNIT_SUFFIXES = {".service", ".socket", ".timer", ".path", ".target", ".mount"}


def tool(name: str) -> str:
    """The path of a linter, the one beside this interpreter first."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        message = f"{name} is not installed beside {sys.executable}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def run(*command: str, **environment: str) -> None:
    """Run a linter in the checkout; its own words are the failure."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=280,
    )
    if done.returncode:
        pytest.fail(f"{Path(command[0]).name} exit {done.returncode}\n{done.stdout[-8000:]}", pytrace=False)


def python_files() -> list[str]:
    return [relative(path) for path in tracked_files() if path.suffix == ".py"]


def test_ruff_check() -> None:
    run(tool("ruff"), "check", "--quiet", *python_files(), RUFF_CACHE_DIR=str(cache_dir() / "ruff"))


def test_ruff_format() -> None:
    run(
        tool("ruff"),
        "format",
        "--check",
        "--quiet",
        "--diff",
        *python_files(),
        RUFF_CACHE_DIR=str(cache_dir() / "ruff"),
    )


@pytest.mark.timeout(300)
def test_mypy_strict() -> None:
    run(tool("mypy"), "--no-error-summary", MYPY_CACHE_DIR=str(cache_dir() / "mypy"))


def test_import_contracts() -> None:
    run(tool("lint-imports"), "--no-cache", PYTHONPATH=str(ROOT))


def test_shellcheck() -> None:
    scripts = shell_scripts()
    assert scripts, "tests/run.sh is one, so an empty list means that the search is broken"

    run(tool("shellcheck"), "--severity=style", "--external-sources", *(relative(path) for path in scripts))


def test_systemd_units_verify(tmp_path: Path) -> None:
    """systemd's own parser accepts every unit; programs and users of the package need not be installed here."""
    units = [path for path in tracked_files() if path.suffix in UNIT_SUFFIXES and path.parent.name == "systemd"]
    analyze = shutil.which("systemd-analyze")
    if not units or analyze is None:
        pytest.skip("systemd-analyze is not installed" if units else "no unit is in the tree")
    for unit in units:
        shutil.copy(unit, tmp_path)
    copies = [str(tmp_path / unit.name) for unit in units]
    done = subprocess.run(
        [analyze, "verify", "--man=no", *copies],
        env={
            **os.environ,
            "SYSTEMD_LOG_LEVEL": "warning",
            "SYSTEMD_LOG_COLOR": "0",
            "SYSTEMD_UNIT_PATH": f"{tmp_path}:",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    said = [line for line in done.stderr.splitlines() if _is_about(line, [unit.name for unit in units])]

    assert not [line for line in said if "is not executable: No such file or directory" not in line]


def _is_about(line: str, names: list[str]) -> bool:
    """Whether a complaint names one of our units: those of the machine are not our business."""
    return any(name in line for name in names)
