"""Power cuts, by enumeration: every state of a pessimistic disk at every moment of a journalled replacement."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kauditd.core import history
from kauditd.core.history import Recovery
from kauditd.core.model import Change, Outcome
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.effects.journal import Journal
from kauditd.effects.store import Store
from tests.effects.faults import scene
from tests.effects.faults.disk_model import Operation, Recorder, State, states_after, states_at_any_time

CHANGE = Change(
    id=1,
    cause="repair",
    target="/etc/kubernetes/manifests/kube-apiserver.yaml",
    summary="put the flags back",
    before=digest_of(scene.OLD.encode()),
    after=digest_of(scene.NEW.encode()),
    started_unix_s=1.0,
)


@pytest.fixture
def recorded(tmp_path: Path) -> Recorder:
    """The operations of one whole change: copy, intent, replacement, outcome."""
    root = tmp_path.resolve()
    path = scene.build(root)
    store = Store(f"{root}/state", files=files)
    store.prepare()
    journal = Journal(f"{root}/state/changes.ndjson", files=files)
    found = files.read_manifest(str(path))
    assert found.id is not None
    assert found.digest is not None
    recorder = Recorder()
    recorder.know(str(path))
    with recorder.listening():
        store.save_manifest(scene.OLD.encode())
        journal.append(history.intent_record(CHANGE))
        files.replace(
            files.Replacement(
                path=str(path), content=scene.NEW.encode(), expected_digest=found.digest, expected_id=found.id
            )
        )
        journal.append(history.outcome_record(1, Outcome.PROVEN, finished_unix_s=2.0))
    return recorder


def manifest_in(state: State) -> str:
    """The manifest that the kubelet finds, after asserting that it finds one manifest and no more."""
    visible = [path for path in state if "/manifests/" in path and not os.path.basename(path).startswith(".")]
    visible = [path for path in visible if "/state/" not in path]
    assert [os.path.basename(path) for path in visible] == ["kube-apiserver.yaml"]
    return state[visible[0]].decode()


def judge(state: State) -> None:
    """Assert promises P1 and P2 of one state of the disk."""
    manifest = manifest_in(state)
    assert manifest in {scene.OLD, scene.NEW}
    journal = next((data for path, data in state.items() if path.endswith("/changes.ndjson")), b"")
    changes = history.fold(parse(journal))
    if manifest == scene.NEW:
        (change,) = changes
        assert history.recover(change, digest_of(manifest.encode())) is Recovery.WRITTEN
    if changes:
        copy = next(path for path in state if path.endswith(f"/state/manifests/{CHANGE.before}.yaml"))
        assert state[copy] == scene.OLD.encode()


def judge_all(recorder: Recorder, operations: list[Operation]) -> None:
    """Assert the promises at every moment, and that the new manifest is there for good at the end."""
    for state in states_at_any_time(recorder, operations):
        judge(state)
    for state in states_after(recorder, operations):
        assert manifest_in(state) == scene.NEW


def parse(journal: bytes) -> list[history.Record]:
    lines = []
    for line in journal.split(b"\n"):
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return lines


def test_power_cut_at_any_moment_leaves_the_old_or_the_new(recorded: Recorder) -> None:
    judge_all(recorded, recorded.operations)
    states = list(states_at_any_time(recorded, recorded.operations))
    assert len(states) > 50
    assert {manifest_in(state) for state in states} == {scene.OLD, scene.NEW}


def test_power_cut_after_the_end_leaves_the_new(recorded: Recorder) -> None:
    for state in states_after(recorded, recorded.operations):
        assert manifest_in(state) == scene.NEW
        journal = next(data for path, data in state.items() if path.endswith("/changes.ndjson"))
        assert history.fold(parse(journal))[0].outcome is Outcome.PROVEN


def is_sync_of(name: str, *, ours: bool) -> Callable[[Operation], bool]:
    """Whether an operation syncs a file or directory whose path contains ``name``, in the state directory or not."""
    return lambda op: op.kind == "sync" and name in f"{op.path}/" and ("/state" in op.path) is ours


@pytest.mark.parametrize(
    "skipped",
    [
        pytest.param(is_sync_of("/.kauditd.", ours=False), id="new-manifest"),
        pytest.param(
            lambda op: op.kind == "sync" and op.path.endswith("/manifests") and "/state/" not in op.path,
            id="manifests-directory",
        ),
        pytest.param(is_sync_of("/.kauditd.", ours=True), id="last-good-copy"),
        pytest.param(is_sync_of("/state/manifests/", ours=True), id="copies-directory"),
        pytest.param(is_sync_of("/changes.ndjson/", ours=True), id="journal"),
        pytest.param(lambda op: op.kind == "sync" and op.path.endswith("/state"), id="journal-directory"),
    ],
)
def test_each_sync_is_needed(recorded: Recorder, skipped: Callable[[Operation], bool]) -> None:
    """The model is no rubber stamp: without any one kind of sync it finds a state that breaks a promise."""
    operations = [op for op in recorded.operations if not skipped(op)]
    assert len(operations) < len(recorded.operations)
    with pytest.raises((AssertionError, ValueError, StopIteration)):
        judge_all(recorded, operations)
