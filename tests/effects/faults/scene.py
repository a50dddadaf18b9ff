"""A manifests directory with one manifest, the driver process that replaces it, and what must hold afterwards."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from kauditd.core import history
from kauditd.core.history import Recovery
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.effects.files.descriptors import TEMP_NAME
from kauditd.effects.journal import Journal
from kauditd.effects.store import Store
from tests.effects.faults.driver import MARK_BEGIN, MARK_END

OLD = "# the old manifest\n" + "old: content\n" * 300
NEW = "# the new manifest\n" + "new: content that is longer\n" * 300
MODE = 0o640
LABEL = b"a label that must stay"
SIGKILL_STATUS = 9
NOT_OURS = {"brk", "mmap", "munmap", "mremap", "madvise", "futex"}
"""Calls of the memory allocator: they come and go between two runs, and touch no file."""


@dataclass(frozen=True)
class Answer:
    """How the driver's child ended."""

    killed: bool
    status: int
    result: dict[str, object] | None


class Driver:
    """The driver process; one request at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def ask(self, root: Path, action: str = "replace", **more: str) -> Answer:
        request = {"root": str(root), "action": action, "content": NEW, **more}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        reply = json.loads(self._process.stdout.readline())
        if reply["refused"]:
            pytest.skip(reply["refused"])
        return Answer(killed=reply["status"] == SIGKILL_STATUS, status=reply["status"], result=reply["result"])


@contextmanager
def driver(*prefix: str) -> Iterator[Driver]:
    """The driver, started by ``prefix`` where one is given (``unshare -m ...``)."""
    command = [*prefix, sys.executable, "-I", "-S", "-X", "utf8", str(Path(__file__).with_name("driver.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Driver(process)
        finally:
            process.stdin.close()
            process.wait(timeout=20)


def need_strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: system calls cannot be made to fail")


def build(root: Path) -> Path:
    """A fresh scene under ``root``: the old manifest, dressed so that a loss of dress shows."""
    manifests = root / "manifests"
    manifests.mkdir(parents=True)
    path = manifests / "kube-apiserver.yaml"
    path.write_text(OLD)
    if os.geteuid() == 0:
        os.chown(path, 0, 1)
    path.chmod(MODE)
    with suppress(OSError):
        os.setxattr(path, "user.label", LABEL)
    (root / "state").mkdir(mode=0o700)
    return path


def label_of(path: Path) -> bytes | None:
    try:
        return os.getxattr(path, "user.label")
    except OSError:
        return None


def check(root: Path, *, labelled: bool, temps_allowed: bool) -> str:
    """Assert what holds at every moment; "old" or "new", whichever manifest stands."""
    path = root / "manifests" / "kube-apiserver.yaml"
    assert files.list_visible(str(path.parent)) == ("kube-apiserver.yaml",)
    hidden = [name for name in os.listdir(path.parent) if name.startswith(".")]
    assert all(TEMP_NAME.fullmatch(name) for name in hidden)
    assert temps_allowed or not hidden
    status = path.stat()
    assert status.st_mode & 0o7777 == MODE
    assert status.st_nlink == 1
    assert os.geteuid() != 0 or (status.st_uid, status.st_gid) == (0, 1)
    assert label_of(path) == (LABEL if labelled else None)
    text = path.read_text()
    assert text in {OLD, NEW}
    return "old" if text == OLD else "new"


def check_journal(root: Path, standing: str) -> None:
    """Assert that the next start knows what happened, and can go on from there."""
    journal = Journal(f"{root}/state/changes.ndjson", files=files)
    changes = history.fold(journal.load().records)
    if not changes:
        assert standing == "old", "the manifest was written before its intent was on disk"
        return
    (change,) = changes
    store = Store(f"{root}/state", files=files)
    assert store.load_manifest(change.before) == OLD.encode(), "no way back: the last good copy is not there"
    current = digest_of((root / "manifests" / "kube-apiserver.yaml").read_bytes())
    expected = Recovery.NOT_WRITTEN if standing == "old" else Recovery.WRITTEN
    assert history.recover(change, current) is expected
    journal.append(history.outcome_record(1, history.Outcome.SUPERSEDED, finished_unix_s=1.0))
    assert history.open_change(history.fold(journal.load().records)) is None


def check_next_start(root: Path) -> None:
    """Assert that a restart sweeps what was left and that the next replacement succeeds."""
    directory = root / "manifests"
    files.sweep(str(directory))
    assert os.listdir(directory) == ["kube-apiserver.yaml"]
    found = files.read_manifest(str(directory / "kube-apiserver.yaml"))
    files.replace(
        files.Replacement(path=found.path, content=b"third", expected_digest=found.digest, expected_id=found.id)
    )
    assert (directory / "kube-apiserver.yaml").read_bytes() == b"third"


def window(trace: Path) -> list[tuple[str, int, str]]:
    """The system calls between the markers: name, its how-many-eth since strace attached, the whole line."""
    counts: Counter[str] = Counter()
    inside = False
    calls = []
    for line in trace.read_text().splitlines():
        matched = re.match(r"(?:\d+ +)?([a-z_0-9]+)\(", line)
        if not matched:
            continue
        name = matched[1]
        counts[name] += 1
        if MARK_END in line:
            break
        if inside and name not in NOT_OURS:
            calls.append((name, counts[name], line))
        inside = inside or MARK_BEGIN in line
    return calls
