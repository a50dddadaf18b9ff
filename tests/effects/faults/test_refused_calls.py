"""The kernel says no: each call of the replacement refused in each way that it may be, by strace."""

from pathlib import Path

import pytest

from tests.effects.faults import scene

REFUSALS = {
    "openat": ("EACCES", "EMFILE", "EIO", "ENOSPC", "EROFS", "EDQUOT", "EPERM"),
    "fchmod": ("EPERM", "EIO", "EROFS"),
    "fchown": ("EPERM", "EIO", "EDQUOT"),
    "flistxattr": ("EIO", "EPERM"),
    "fgetxattr": ("EIO", "EPERM"),
    "fsetxattr": ("EPERM", "ENOSPC", "EDQUOT"),
    "getdents64": ("EIO",),
    "pread64": ("EIO",),
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "fsync": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "renameat": ("EXDEV", "EBUSY", "EPERM", "EACCES", "EROFS", "ENOSPC", "EIO", "EDQUOT"),
}


def test_every_call_of_a_replacement_refused(tmp_path: Path) -> None:
    scene.need_strace()
    with scene.driver() as driver:
        traced = tmp_path / "traced"
        labelled = scene.label_of(scene.build(traced)) is not None
        trace = tmp_path / "trace"
        driver.ask(traced, trace=str(trace))
        calls = [call for call in scene.window(trace) if call[0] in REFUSALS]
        renamed = next(index for index, call in enumerate(calls) if call[0] == "renameat")
        assert [call[0] for call in calls[renamed + 1 :]] == ["fsync"], "only the directory is synced after the rename"
        for index, (name, number, line) in enumerate(calls):
            for refusal in REFUSALS[name]:
                root = tmp_path / f"{name}-{number}-{refusal}"
                scene.build(root)
                answer = driver.ask(root, inject=f"{name}:error={refusal}:when={number}")
                assert answer.status == 0, line
                result = answer.result or {}
                assert result["errno"] == refusal, (line, result)
                assert result["renamed"] is (index > renamed), line
                assert result["error"] == ("RenamedFault" if index > renamed else "FileFault")
                assert str(result["message"]).startswith("cannot ")
                standing = scene.check(root, labelled=labelled, temps_allowed=False)
                assert standing == ("new" if index > renamed else "old"), line
                scene.check_next_start(root)


@pytest.mark.parametrize("call", ["openat", "write", "fsync", "pread64"])
def test_an_interrupted_call_is_taken_up_again(tmp_path: Path, call: str) -> None:
    scene.need_strace()
    labelled = scene.label_of(scene.build(tmp_path)) is not None
    with scene.driver() as driver:
        answer = driver.ask(tmp_path, inject=f"{call}:error=EINTR:when=1")
    assert answer.result == {"error": ""}
    assert scene.check(tmp_path, labelled=labelled, temps_allowed=False) == "new"
