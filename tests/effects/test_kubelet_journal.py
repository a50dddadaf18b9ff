"""The kubelet's journal through a child that may be absent, fail, hang or never stop talking."""

import asyncio
import time
from pathlib import Path

import pytest

from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.layout import Layout
from kauditd.effects.kubelet_journal import read_kubelet_words

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
COMPLAINT = 'E1 x] "Error" err="back-off 40s restarting failed container" pod="kube-system/kube-apiserver-cp1"'


def journalctl(directory: Path, script: str) -> str:
    path = directory / "journalctl"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def read(program: str, *, root: str = "", timeout_s: float = 10.0) -> tuple[KubeletWords, ...] | None:
    words = read_kubelet_words(
        Layout(root),
        since_unix_s=1_800_000_000.9,
        manifest=MANIFEST,
        pod_name="kube-apiserver",
        timeout_s=timeout_s,
        program=program,
    )
    return asyncio.run(words)


def test_complaint_is_read(tmp_path: Path) -> None:
    program = journalctl(tmp_path, f"printf '%s ' \"$@\" >{tmp_path}/arguments; printf '\\377\\n%s\\n' '{COMPLAINT}'")
    words = read(program)
    assert words is not None
    assert [w.code for w in words] == ["crash-back-off"]
    arguments = (tmp_path / "arguments").read_text()
    assert "--unit kubelet" in arguments
    assert "--since @1800000000 " in arguments
    assert "--lines 200" in arguments


def test_quiet_kubelet(tmp_path: Path) -> None:
    assert read(journalctl(tmp_path, "exit 0")) == ()


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", f"echo '{COMPLAINT}'; exit 1"])
def test_journal_that_cannot_be_read(tmp_path: Path, script: str) -> None:
    assert read(journalctl(tmp_path, script)) is None


def test_no_journalctl(tmp_path: Path) -> None:
    assert read(str(tmp_path / "absent")) is None


def test_root_has_no_journal_of_its_own(tmp_path: Path) -> None:
    assert read(journalctl(tmp_path, f"echo '{COMPLAINT}'"), root=str(tmp_path)) is None


@pytest.mark.parametrize("script", ["exec sleep 60", "exec yes"])
def test_journalctl_that_does_not_end(tmp_path: Path, script: str) -> None:
    start = time.monotonic()
    assert read(journalctl(tmp_path, script), timeout_s=0.5) is None
    assert time.monotonic() - start < 5.0


def test_newest_lines_of_a_large_answer_count(tmp_path: Path) -> None:
    script = f"head -c 3000000 /dev/zero | tr '\\0' x; echo; echo '{COMPLAINT}'"
    words = read(journalctl(tmp_path, script))
    assert words is not None
    assert len(words) == 1
