"""Somebody reads or writes without end: the loop must not be flooded and the processor not be burnt."""

import os
import threading
import time
from pathlib import Path

import pytest

from tests.effects.watchfaults.witness import driven, settle, watching


@pytest.mark.serial
def test_a_thousand_rewrites_a_second(tmp_path: Path) -> None:
    target = tmp_path / "kube-apiserver.yaml"
    stop = threading.Event()
    written = 0

    def rewrite() -> None:
        nonlocal written
        due_s = time.monotonic()
        while not stop.is_set():
            (tmp_path / ".next").write_text(str(written))
            (tmp_path / ".next").rename(target)
            written += 1
            due_s += 0.001
            time.sleep(max(0.0, due_s - time.monotonic()))

    with watching(tmp_path) as (watch, witness):
        writer = threading.Thread(target=rewrite)
        writer.start()
        consumed = 0
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            witness.arrived.wait(0.1)
            witness.arrived.clear()
            watch.consume()
            consumed += 1
            time.sleep(0.05)  # a cycle of the reader
        stop.set()
        writer.join()
        assert written > 500, "this machine is too slow to make the storm"
        assert len(witness.paths) <= consumed + 1

        settle(watch, witness, quiet_s=0.5)
        target.write_text("the last word")
        assert witness.woken(), "nothing is stuck behind the storm"


@pytest.mark.serial
def test_read_storm_costs_next_to_nothing(tmp_path: Path) -> None:
    """With IN_OPEN and IN_CLOSE_NOWRITE in the mask, each of these reads would be two events through three threads."""
    target = tmp_path / "kube-apiserver.yaml"
    target.write_text("x" * 4096)
    with driven([tmp_path]) as watch:
        watch.ask("start")
        before = watch.ask("check")
        reads = 0
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            descriptor = os.open(target, os.O_RDONLY)
            os.read(descriptor, 4096)
            os.close(descriptor)
            reads += 1
        after = watch.ask("state")

    share = (after["cpu_s"] - before["cpu_s"]) / (after["monotonic_s"] - before["monotonic_s"])
    assert reads > 10_000
    assert after["wakes"] == before["wakes"]
    assert share < 0.02
