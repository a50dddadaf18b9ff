"""The journal of changes on disk: one JSON object per line, only ever appended to.

A record is on disk when ``append`` returns. A crash can leave half a last line; the next append cuts it off. A line
that is no record (a bad sector, an editor) is skipped and counted, never a reason to lose the good ones.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from kauditd.core import faults, history, layout
from kauditd.core.history import Record
from kauditd.errors import FileFault

_READ_LIMIT_BYTES = 64 << 20
_SIDE_LIMIT_BYTES = 1 << 20
_TAIL_BYTES = 1 << 20


class OwnFiles(Protocol):
    """What the journal needs of the file system; ``effects.files`` is one."""

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        """Make ``path`` hold ``data``, whole and on disk."""
        ...

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        """The whole content of a regular file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The records in order; ``torn`` where the last line is incomplete; ``skipped`` lines that are no records."""

    records: tuple[Record, ...]
    torn: bool = False
    skipped: int = 0


class Journal:
    """The journal file at ``path`` (0600), in a directory that exists. For one process and one thread at a time.

    Above ``limit_bytes`` it is rewritten with the newest ``keep_changes`` changes and every open one; ``problem``
    says why that failed ("" normally), for the journal works on without it.
    """

    def __init__(self, path: str, *, files: OwnFiles, limit_bytes: int = 4 << 20, keep_changes: int = 500) -> None:
        self._path = path
        self._files = files
        self._limit_bytes = limit_bytes
        self._keep_changes = keep_changes
        self._floor_bytes = 0
        self.problem = ""

    def append(self, record: Record, *, sync: bool = True) -> None:
        """Add ``record`` by one write; with ``sync`` it is on disk when this returns.

        Raises ``errors.FileFault``: the record is then not to be relied on, and what was there before still is.
        """
        line = _line(record)
        with faults.translated("append to", self._path):
            size_bytes = self._append(line, sync=sync)
        if size_bytes > max(self._limit_bytes, 2 * self._floor_bytes):
            self._try_to_compact(size_bytes)

    def load(self) -> Loaded:
        """Everything that can be read; no records where there is no file. Changes nothing on disk.

        Raises ``errors.FileFault`` where there is a file that cannot be read.
        """
        data = self._read(self._path, _READ_LIMIT_BYTES)
        records, garbage, torn = _parse(data)
        return Loaded(records=records, torn=torn, skipped=len(garbage))

    def compact(self) -> None:
        """Rewrite the file with the newest changes; crash-safe. Lines that are no records go to ``<path>.skipped``."""
        data = self._read(self._path, _READ_LIMIT_BYTES)
        records, garbage, _ = _parse(data)
        if garbage:
            self._set_aside(garbage)
        keep = self._keep_changes
        kept = _lines(history.compact(records, keep_changes=keep))
        while len(kept) > self._limit_bytes // 2 and keep > 1:
            keep //= 2
            kept = _lines(history.compact(records, keep_changes=keep))
        self._files.write_durably(self._path, kept, mode=0o600)
        self._floor_bytes = len(kept)
        self.problem = ""

    def _try_to_compact(self, size_bytes: int) -> None:
        """The record is safe by now, so a fault here is kept in ``problem``; next try at twice the size."""
        try:
            self.compact()
        except FileFault as fault:
            self._floor_bytes = size_bytes
            self.problem = fault.message

    def _append(self, line: bytes, *, sync: bool) -> int:
        """Write ``line`` behind the last whole one; the file's size then."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._path, flags, 0o600)
        try:
            size_bytes = os.fstat(descriptor).st_size
            line = _heal(descriptor, size_bytes) + line
            start = os.fstat(descriptor).st_size
            _write_or_undo(descriptor, line, start)
            if sync:
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        if size_bytes == 0:
            _sync_directory(layout.parent(self._path))
        return start + len(line)

    def _set_aside(self, garbage: tuple[bytes, ...]) -> None:
        path = f"{self._path}.skipped"
        known = self._read(path, 2 * _SIDE_LIMIT_BYTES)
        present = set(known.split(b"\n"))
        added = b"".join(line + b"\n" for line in garbage if line not in present)
        if added:
            self._files.write_durably(path, (known + added)[-_SIDE_LIMIT_BYTES:], mode=0o600)

    def _read(self, path: str, limit_bytes: int) -> bytes:
        try:
            return self._files.read_small(path, limit_bytes)
        except FileFault as fault:
            if fault.errno_name == "ENOENT":
                return b""
            raise


def _line(record: Mapping[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def _lines(records: tuple[Record, ...]) -> bytes:
    return b"".join(_line(record) for record in records)


def _record(line: bytes) -> Record | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse(data: bytes) -> tuple[tuple[Record, ...], tuple[bytes, ...], bool]:
    """Records, garbage lines, and whether the last line is torn. A whole record that lacks but its newline counts."""
    *lines, tail = data.split(b"\n")
    records: list[Record] = []
    garbage: list[bytes] = []
    for line in lines:
        record = _record(line)
        if record is not None:
            records.append(record)
        elif line:
            garbage.append(line)
    last = _record(tail)
    if last is not None:
        records.append(last)
    return tuple(records), tuple(garbage), bool(tail) and last is None


def _heal(descriptor: int, size_bytes: int) -> bytes:
    """Cut a torn last line off; the bytes that must come before the next record (a newline that got lost, or none)."""
    if size_bytes == 0:
        return b""
    start = max(0, size_bytes - _TAIL_BYTES)
    before, newline, tail = os.pread(descriptor, size_bytes - start, start).rpartition(b"\n")
    if not tail:
        return b""
    if _record(tail) is not None:
        return b"\n"
    if newline or start == 0:
        os.ftruncate(descriptor, start + len(before) + len(newline))
        return b""
    return b"\n"


def _write_or_undo(descriptor: int, line: bytes, start: int) -> None:
    """Write the whole line, or leave the file as it was and raise OSError."""
    try:
        view = memoryview(line)
        while view:
            view = view[os.write(descriptor, view) :]
    except OSError:
        with suppress(OSError):
            os.ftruncate(descriptor, start)
        raise


def _sync_directory(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
