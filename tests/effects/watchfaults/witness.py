"""What the watch tests share: a witness of wake-ups in this process, and a watch in a process of its own."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kauditd.effects.watch import Watch

ROOT = Path(__file__).resolve().parents[3]
DRIVER = Path(__file__).with_name("driver.py")
PATIENCE_S = 5.0


class Witness:
    """Counts wake-ups and lets a test wait for the next one."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.times_s: list[float] = []
        self.arrived = threading.Event()

    def __call__(self, path: str) -> None:
        self.times_s.append(time.perf_counter())
        self.paths.append(path)
        self.arrived.set()

    def woken(self, timeout_s: float = PATIENCE_S) -> bool:
        """Whether a wake-up came since ``forget``, waiting for it."""
        return self.arrived.wait(timeout_s)

    def forget(self) -> None:
        self.arrived.clear()
        self.paths.clear()
        self.times_s.clear()


@contextmanager
def watching(*directories: Path) -> Iterator[tuple[Watch, Witness]]:
    """A started watch and its witness; stopped at the end."""
    witness = Witness()
    watch = Watch([str(d) for d in directories], witness)
    watch.start()
    try:
        yield watch, witness
    finally:
        watch.stop()


def settle(watch: Watch, witness: Witness, *, quiet_s: float = 0.1) -> None:
    """Let what is under way arrive, then start from nothing."""
    time.sleep(quiet_s)
    watch.consume()
    witness.forget()


def sees_writes(watch: Watch, witness: Witness, directory: Path) -> bool:
    """Whether a file written into ``directory`` now wakes within a moment."""
    settle(watch, witness)
    (directory / "written-now").write_text("x")
    return witness.woken(2.0)


def until(condition: Callable[[], bool], *, timeout_s: float = PATIENCE_S) -> bool:
    """Wait for a condition that a thread brings about."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


class Driven:
    """A watch in another process, told what to do line by line (see ``driver.py``)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def ask(self, *words: str) -> dict[str, Any]:
        """Send one command; its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(words) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert isinstance(answer, dict)
        return answer


@contextmanager
def driven(directories: Sequence[Path], *, prefix: Sequence[str] = ()) -> Iterator[Driven]:
    """Start ``driver.py`` (under ``prefix``, for example ``unshare``) and end it."""
    process = subprocess.Popen(
        [*prefix, sys.executable, str(DRIVER), *map(str, directories)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Driven(process)
    finally:
        process.kill()
        process.communicate(timeout=10)
