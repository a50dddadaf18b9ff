"""SIGKILL at every named point and at every system call: the old manifest or the new one, and the next start knows."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kauditd.effects import files
from kauditd.effects.journal import Journal
from kauditd.effects.store import Store
from tests.effects.faults import scene

CHANGE_POINTS = ("change.copy-saved", "change.intent-written")


@pytest.fixture(params=["disk", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory where tests usually run, or on a file system in memory (tmpfs)."""
    if request.param == "disk":
        yield tmp_path
        return
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no /dev/shm to write to")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.mark.parametrize("action", ["replace", "change"])
def test_killed_at_every_crash_point(place: Path, action: str) -> None:
    points = (*CHANGE_POINTS, *files.CRASH_POINTS) if action == "change" else files.CRASH_POINTS
    standing = []
    with scene.driver() as driver:
        for point in points:
            root = place / point
            labelled = scene.label_of(scene.build(root)) is not None
            answer = driver.ask(root, action, crash_at=point)
            assert answer.killed, f"the point {point} is never passed"
            standing.append(scene.check(root, labelled=labelled, temps_allowed=True))
            if action == "change":
                scene.check_journal(root, standing[-1])
            scene.check_next_start(root)
    renamed = points.index("replace.renamed")
    assert standing == ["old"] * renamed + ["new"] * (len(points) - renamed)


def test_killed_at_every_system_call_of_a_change(tmp_path: Path) -> None:
    scene.need_strace()
    with scene.driver() as driver:
        root = tmp_path / "traced"
        scene.build(root)
        trace = tmp_path / "trace"
        assert driver.ask(root, "change", trace=str(trace)).result == {"error": ""}
        calls = scene.window(trace)
        standing = []
        for name, number, line in calls:
            root = tmp_path / f"{name}-{number}"
            labelled = scene.label_of(scene.build(root)) is not None
            answer = driver.ask(root, "change", inject=f"{name}:signal=KILL:when={number}")
            assert answer.killed, f"call {number} of {name} was not reached again: {line}"
            standing.append(scene.check(root, labelled=labelled, temps_allowed=True))
            scene.check_journal(root, standing[-1])
            scene.check_next_start(root)
    assert len(calls) > 60
    assert standing == sorted(standing, reverse=True), "the manifest went back and forth"
    assert {"old", "new"} == set(standing)


def build_own(root: Path) -> None:
    """Files of our own: a state, a journal with one record and one line of rubbish, a tampered policy."""
    store = Store(f"{root}/state", files=files)
    store.prepare()
    store.save_state({"n": 1})
    (root / "state" / "changes.ndjson").write_text('{"type":"first"}\nrubbish\n')
    (root / "policies").mkdir()
    (root / "policies" / "policy-0123456789ab.yaml").write_bytes(b"POLICY")


def check_own(root: Path) -> tuple[object, int, bytes]:
    """Assert that each file is the old or the new one; how far the writer came."""
    loaded = Store(f"{root}/state", files=files).load_state()
    assert loaded.problem == ""
    journal = Journal(f"{root}/state/changes.ndjson", files=files)
    found = journal.load().records
    assert found in (({"type": "first"},), ({"type": "first"}, {"type": "second"}))
    aside = root / "state" / "changes.ndjson.skipped"
    assert journal.load().skipped == 1 or aside.read_bytes() == b"rubbish\n", "the rubbish, which is evidence, is lost"
    policy = (root / "policies" / "policy-0123456789ab.yaml").read_bytes()
    assert policy in {b"POLICY", b"policy"}
    journal.append({"type": "third"})
    assert journal.load().records == (*found, {"type": "third"})
    return loaded.values["n"], len(found), policy


def test_killed_at_every_system_call_while_writing_our_own_files(tmp_path: Path) -> None:
    scene.need_strace()
    with scene.driver() as driver:
        traced = tmp_path / "traced"
        build_own(traced)
        trace = tmp_path / "trace"
        assert driver.ask(traced, "keep", trace=str(trace)).result == {"error": ""}
        reached = []
        for name, number, line in scene.window(trace):
            root = tmp_path / f"{name}-{number}"
            build_own(root)
            answer = driver.ask(root, "keep", inject=f"{name}:signal=KILL:when={number}")
            assert answer.killed, f"call {number} of {name} was not reached again: {line}"
            reached.append(check_own(root))
    assert reached[0] == (1, 1, b"POLICY")
    assert reached[-1] == (2, 2, b"policy")
    assert len(set(reached)) == 4, "the files were not written one after the other"
