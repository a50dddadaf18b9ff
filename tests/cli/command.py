"""Runs ``kauditctl`` as the launcher of the package does: isolated, without site, its path set in ``sys.path`` only."""

import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
LAUNCHER = "import sys; sys.path.insert(0, {path!r}); from kauditd.cli.main import run; sys.exit(run())"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str


def command(*words: str, source: Path = SOURCE) -> list[str]:
    """The command line of the launcher."""
    return [sys.executable, "-I", "-S", "-c", LAUNCHER.format(path=str(source)), *words]


def run(*words: str, source: Path = SOURCE, environment: dict[str, str] | None = None) -> Outcome:
    """Runs to the end, with pipes."""
    done = subprocess.run(
        command(*words, source=source),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={"PATH": os.environ["PATH"], **(environment or {})},
    )
    assert "Traceback" not in done.stderr
    return Outcome(code=done.returncode, out=done.stdout, err=done.stderr)


def run_on_terminal(*words: str, environment: dict[str, str] | None = None) -> Outcome:
    """Runs with a terminal as stdout and stderr; both come back in ``out``."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        command(*words),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env={"PATH": os.environ["PATH"], "TERM": "xterm", **(environment or {})},
    )
    os.close(theirs)
    parts = []
    try:
        while part := _read(ours):
            parts.append(part)
        code = child.wait(30)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    return Outcome(code=code, out=b"".join(parts).decode().replace("\r\n", "\n"), err="")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux says EIO where the other side has closed
        return b""
