"""A pessimistic disk: what may be on it after a power cut, given the calls that were made before.

The rules are those that file systems actually promise: fsync of a file makes its bytes durable, fsync of a directory
makes the names in it durable, a rename is atomic. All else may be there or not, in any combination: names that were
not synced in any subset, bytes that were not synced up to any point.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest


@dataclass(frozen=True)
class Operation:
    """One call: ``create``, ``write``, ``sync``, ``rename`` or ``unlink``. Paths are absolute, inodes are numbers."""

    kind: str
    path: str = ""
    target: str = ""
    inode: int = 0
    data: bytes = b""

    @property
    def directory(self) -> str:
        return os.path.dirname(self.path)


@dataclass
class Recorder:
    """Listens to the calls of this process. ``initial`` is what was durable at the beginning."""

    operations: list[Operation] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)

    def know(self, *paths: str) -> None:
        """Take the files at ``paths`` as they stand for durable."""
        for path in paths:
            inode = os.stat(path).st_ino
            self.names[path] = inode
            with open(path, "rb") as file:
                self.contents[inode] = file.read()

    @contextmanager
    def listening(self) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("open", "write", "fsync", "fdatasync", "rename", "unlink"):
                patch.setattr(os, name, self._listen(name, getattr(os, name)))
            yield

    def _listen(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            outcome = real(*arguments, **options)
            operation = getattr(self, f"_{name}")(outcome, *arguments, **options)
            if operation is not None:
                self.operations.append(operation)
            return outcome

        return call

    def _open(self, fd: int, _path: str, flags: int, *_mode: int, dir_fd: int | None = None) -> Operation | None:
        path, inode = path_of(fd), os.fstat(fd).st_ino
        if not flags & os.O_CREAT or (self.names.get(path) == inode and not flags & os.O_EXCL):
            return None
        return Operation("create", path=path, inode=inode)

    def _write(self, count: int, fd: int, data: bytes) -> Operation:
        return Operation("write", path=path_of(fd), inode=os.fstat(fd).st_ino, data=bytes(data[:count]))

    def _fsync(self, _outcome: None, fd: int) -> Operation:
        return Operation("sync", path=path_of(fd), inode=os.fstat(fd).st_ino)

    _fdatasync = _fsync

    def _rename(self, _outcome: None, source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> Operation:
        return Operation("rename", path=f"{path_of(src_dir_fd)}/{source}", target=f"{path_of(dst_dir_fd)}/{target}")

    def _unlink(self, _outcome: None, name: str, *, dir_fd: int) -> Operation:
        return Operation("unlink", path=f"{path_of(dir_fd)}/{name}")


def path_of(fd: int) -> str:
    return os.readlink(f"/proc/self/fd/{fd}")


State = dict[str, bytes]


def states_after(recorder: Recorder, operations: list[Operation]) -> Iterator[State]:
    """Every content of the disk that a power cut right after ``operations`` may leave."""
    naming = [i for i, op in enumerate(operations) if op.kind in {"create", "rename", "unlink"}]
    pending = [i for i in naming if not _synced(operations, i, operations[i].directory)]
    bytes_left = list(_byte_choices(recorder, operations))
    for chosen in itertools.product((False, True), repeat=len(pending)):
        lost = {i for i, there in zip(pending, chosen, strict=True) if not there}
        names = _named(recorder, operations, lost)
        for contents in bytes_left:
            yield {path: contents.get(inode, b"") for path, inode in names.items()}


def states_at_any_time(recorder: Recorder, operations: list[Operation]) -> Iterator[State]:
    """Every content of the disk that a power cut at any moment may leave."""
    for length in range(len(operations) + 1):
        yield from states_after(recorder, operations[:length])


def _synced(operations: list[Operation], index: int, path: str) -> bool:
    return any(op.kind == "sync" and op.path == path for op in operations[index + 1 :])


def _named(recorder: Recorder, operations: list[Operation], lost: set[int]) -> dict[str, int]:
    names = dict(recorder.names)
    inodes = {op.path: op.inode for op in operations if op.kind == "create"} | recorder.names
    for index, op in enumerate(operations):
        if index in lost:
            continue
        if op.kind == "create":
            names[op.path] = op.inode
        elif op.kind == "unlink":
            names.pop(op.path, None)
        elif op.kind == "rename":
            names.pop(op.path, None)
            names[op.target] = inodes[op.path]
    return names


def _byte_choices(recorder: Recorder, operations: list[Operation]) -> Iterator[dict[int, bytes]]:
    """For each file its durable bytes, followed by none, some or all of those that were not synced."""
    written: dict[int, list[bytes]] = {}
    for inode in {op.inode for op in operations if op.kind == "write"}:
        durable, loose = recorder.contents.get(inode, b""), b""
        for op in operations:
            if op.kind == "write" and op.inode == inode:
                loose += op.data
            elif op.kind == "sync" and op.inode == inode:
                durable, loose = durable + loose, b""
        cuts = sorted({0, min(1, len(loose)), len(loose) // 2, max(0, len(loose) - 1), len(loose)})
        # The size may be durable before the bytes are: then zeros stand there.
        written[inode] = [durable + loose[:cut] for cut in cuts] + ([durable + b"\0" * len(loose)] if loose else [])
    for chosen in itertools.product(*written.values()):
        yield recorder.contents | dict(zip(written, chosen, strict=True))
