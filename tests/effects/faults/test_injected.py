"""Every operating-system call that the code makes, refused in every way, in this process: the full cross product.

The calls go through the module ``os``; here each is made to fail at its N-th use, for every N until none is left.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kauditd.core import faults
from kauditd.effects import files
from kauditd.effects.journal import Journal
from kauditd.effects.store import Store
from kauditd.errors import FileFault
from tests.effects.faults import scene

CALLS = (
    "open",
    "fstat",
    "stat",
    "lstat",
    "pread",
    "listdir",
    "scandir",
    "write",
    "fsync",
    "fdatasync",
    "rename",
    "fchmod",
    "fchown",
    "listxattr",
    "getxattr",
    "setxattr",
    "mkdir",
    "ftruncate",
    "pwrite",
    "utime",
)
ERRORS = (
    errno.EIO, errno.ENOSPC, errno.EROFS, errno.EPERM, errno.EACCES, errno.EXDEV, errno.EBUSY, errno.EDQUOT,
    errno.EMFILE, errno.ENFILE, errno.EINTR, errno.ESTALE, errno.ENOMEM,
)  # fmt: skip


class Injection:
    """Makes the N-th of the listed calls fail; ``failed`` names it, "" where there were fewer."""

    def __init__(self, number: int, error: int) -> None:
        self._left = number
        self._error = error
        self.failed = ""

    def wrap(self, name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            self._left -= 1
            if self._left == 0:
                self.failed = name
                raise OSError(self._error, os.strerror(self._error))
            return real(*arguments, **options)

        return call


@contextmanager
def injected(number: int, error: int) -> Iterator[Injection]:
    injection = Injection(number, error)
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, injection.wrap(name, getattr(os, name)))
        yield injection


def request_for(path: Path) -> files.Replacement:
    found = files.read_manifest(str(path))
    assert found.id is not None
    assert found.digest is not None
    return files.Replacement(
        path=str(path), content=scene.NEW.encode(), expected_digest=found.digest, expected_id=found.id
    )


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: errno.errorcode[e])
def test_a_replacement_is_refused_whole_at_every_call(tmp_path: Path, error: int) -> None:
    seen = []
    for number in range(1, 60):
        root = tmp_path / str(number)
        path = scene.build(root)
        labelled = scene.label_of(path) is not None
        request = request_for(path)
        fault = None
        with injected(number, error) as injection:
            try:
                files.replace(request)
            except FileFault as raised:
                fault = raised
        if not injection.failed:
            break
        seen.append(injection.failed)
        standing = scene.check(root, labelled=labelled, temps_allowed=False)
        assert (standing == "new") is ("rename" in seen[:-1]), injection.failed
        assert fault is not None, f"{injection.failed} failed and nobody was told"
        assert fault.errno_name == errno.errorcode[error]
        assert isinstance(fault, faults.RenamedFault) is (standing == "new")
    assert seen.count("fsync") == 2
    assert {"open", "write", "rename", "fchmod"} <= set(seen)


@pytest.mark.parametrize("step", [1, 7, 4096])
def test_short_writes_are_continued(tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = scene.build(tmp_path)
    labelled = scene.label_of(path) is not None
    request = request_for(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, bytes(data[:step])))
    files.replace(request)
    monkeypatch.undo()
    assert scene.check(tmp_path, labelled=labelled, temps_allowed=False) == "new"


def refuse_attribute(patch: pytest.MonkeyPatch, name: str, error: int) -> None:
    """The old file carries ``name``; setting it on another file fails with ``error``."""
    patch.setattr(os, "listxattr", lambda _descriptor: [name])
    values = iter([b"wanted", b"inherited"])
    patch.setattr(os, "getxattr", lambda _descriptor, _name: next(values))

    def refuse(_descriptor: int, _name: str, _value: bytes) -> None:
        raise OSError(error, os.strerror(error))

    patch.setattr(os, "setxattr", refuse)


@pytest.mark.parametrize("name", ["security.selinux", "system.posix_acl_access"])
def test_label_that_cannot_be_kept_refuses_the_replacement(tmp_path: Path, name: str) -> None:
    path = scene.build(tmp_path)
    request = request_for(path)
    with pytest.MonkeyPatch.context() as patch:
        refuse_attribute(patch, name, errno.EPERM)
        with pytest.raises(FileFault, match=name) as raised:
            files.replace(request)
    assert raised.value.errno_name == "EPERM"
    assert os.listdir(path.parent) == [path.name]
    assert path.read_text() == scene.OLD


def test_label_that_the_file_system_does_not_know_is_no_obstacle(tmp_path: Path) -> None:
    path = scene.build(tmp_path)
    request = request_for(path)
    with pytest.MonkeyPatch.context() as patch:
        refuse_attribute(patch, "user.label", errno.ENOTSUP)
        files.replace(request)
    assert path.read_text() == scene.NEW


def test_label_that_is_already_there_is_not_set_again(tmp_path: Path) -> None:
    path = scene.build(tmp_path)
    request = request_for(path)
    with pytest.MonkeyPatch.context() as patch:
        refuse_attribute(patch, "security.selinux", errno.EPERM)
        patch.setattr(os, "getxattr", lambda _descriptor, _name: b"the same")
        files.replace(request)
    assert path.read_text() == scene.NEW


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS], ids=lambda e: errno.errorcode[e])
def test_our_own_files_are_old_or_new_at_every_refused_call(tmp_path: Path, error: int) -> None:
    for number in range(1, 200):
        root = tmp_path / str(number)
        store = Store(str(root), files=files)
        store.prepare()
        store.save_state({"n": 1})
        journal = Journal(f"{root}/changes.ndjson", files=files)
        journal.append({"type": "first"})
        failed = True
        with injected(number, error) as injection:
            try:
                store.save_state({"n": 2})
                journal.append({"type": "second"})
                journal.compact()
                failed = False
            except FileFault:
                pass
        assert store.load_state().values["n"] in {1, 2}
        loaded = journal.load()
        assert (loaded.torn, loaded.skipped) == (False, 0)
        assert loaded.records[0] == {"type": "first"}
        assert loaded.records[1:] in ((), ({"type": "second"},))
        if not failed:
            assert store.load_state().values["n"] == 2
            assert len(loaded.records) == 2
        if not injection.failed:
            return
    pytest.fail("the calls never come to an end")
