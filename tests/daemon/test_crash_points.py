"""SIGKILL at every point of the replace protocol: the kubelet sees old or new bytes, and the next start says which."""

import os
import signal
import time
from pathlib import Path

import pytest

from kauditd.effects.files import CRASH_POINTS
from tests.daemon.process import MANIFEST, Daemon, daemon, has_flags, journal, plain, put, wait_until

pytestmark = pytest.mark.serial

NEW = "v1.37.2"


@pytest.mark.parametrize("point", CRASH_POINTS)
def test_killed_during_a_repair(image: Path, point: str) -> None:
    made = Daemon(image, {"KAUDITD_CRASH_AT": f"{point}:2"})  # the first time is the first edit
    made.spawn()
    try:
        wait_until(lambda: has_flags((image / MANIFEST).read_bytes()), what="the first edit")
        made.wait_answering()
        time.sleep(0.1)
        put(image / MANIFEST, plain(NEW))
        assert made.process.wait(timeout=20) == -signal.SIGKILL
    finally:
        if made.process.poll() is None:
            made.process.kill()
            made.process.wait(timeout=20)
    content = (image / MANIFEST).read_bytes()
    renamed = CRASH_POINTS.index(point) > CRASH_POINTS.index("replace.before-rename")
    assert has_flags(content) is renamed
    assert b":v1.37.2" in content
    if not renamed:
        assert content == plain(NEW)
    visible = [n for n in os.listdir(image / "etc/kubernetes/manifests") if not n.startswith(".")]
    assert visible == ["kube-apiserver.yaml"]
    assert journal(image)[-1]["type"] == "intent"

    began = time.monotonic()
    with daemon(image) as again:
        wait_until(lambda: has_flags(again.manifest.read_bytes()), what="the end of the story")
        wait_until(lambda: _outcomes(image)[-1:] == ["unproven"], what="an outcome")
        assert time.monotonic() - began < 30, "promise P2"
        status = again.wait_answering()
        assert status["verdict"] == "unknown"
        assert status["last_change"]["outcome"] == "unproven"
        assert os.listdir(again.manifest.parent) == ["kube-apiserver.yaml"], "no temporary file is left"
        assert again.end() == 0
    if not renamed:
        assert "refused" in _outcomes(image), "the killed change says that nothing was written"


def _outcomes(root: Path) -> list[str]:
    return [r["outcome"] for r in journal(root) if r["type"] == "outcome"]
