"""SIGKILL at every point of the replace protocol: the kubelet sees old or new bytes, and the next start says which."""

import os
import signal
import time
from pathlib import Path

import pytest

from kauditd.effects.files import CRASH_POINTS
from tests.daemon.process import MANIFEST, daemon, has_flags, journal, plain, put, run

NEW = "v1.37.2"


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_during_a_repair(edited: Path, point: str) -> None:
    manifest = edited / MANIFEST
    with daemon(edited, {"KAUDITD_CRASH_AT": point}) as killed:
        put(manifest, plain(NEW))
        assert killed.process.wait(timeout=20) == -signal.SIGKILL
    content = manifest.read_bytes()
    renamed = CRASH_POINTS.index(point) > CRASH_POINTS.index("replace.before-rename")
    assert has_flags(content) is renamed
    assert b":v1.37.2" in content
    if not renamed:
        assert content == plain(NEW)
    assert [n for n in os.listdir(manifest.parent) if not n.startswith(".")] == [manifest.name]
    assert journal(edited)[-1]["type"] == "intent"

    began = time.monotonic()
    again = run("kauditd", "--once", "--root", str(edited))
    assert time.monotonic() - began < 30, "promise P2"
    assert has_flags(manifest.read_bytes())
    assert b":v1.37.2" in manifest.read_bytes()
    assert os.listdir(manifest.parent) == [manifest.name], "no temporary file is left"
    assert "no API server is to be seen" in again.stderr
    outcomes = [r["outcome"] for r in journal(edited) if r["type"] == "outcome"][1:]
    assert outcomes == (["unproven"] if renamed else ["refused", "unproven"]), "it says what became of the killed one"


def test_kill_that_cannot_be_read_is_refused(image: Path) -> None:
    done = run("kauditd", "--once", "--root", str(image), extra={"KAUDITD_CRASH_AT": "replace.opened:soon"})
    assert done.returncode == 1
    assert "KAUDITD_CRASH_AT" in done.stderr
    assert "Traceback" not in done.stderr
    assert (image / MANIFEST).read_bytes() == plain()
