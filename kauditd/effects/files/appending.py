"""One line more at the end of a file of ours, so that a crash or a full disk costs that line at most."""

import os
from contextlib import suppress

from kauditd.core import faults, layout, ndjson

_TAIL_BYTES = 1 << 20


def append_line(path: str, line: bytes, *, sync: bool) -> int:
    """Add ``line`` (with its newline) by one write; the file's size then. With ``sync`` it is on disk on return.

    The file is made where it is missing (0600); links are not followed. A last line that an earlier crash tore is cut
    off first; one that is a whole JSON object but for its newline gets that. Raises ``errors.FileFault``: the line
    is then not to be relied on, and what was there before still is. A failed sync is not tried again.
    """
    with faults.translated("append to", path):
        return _append(path, line, sync=sync)


def _append(path: str, line: bytes, *, sync: bool) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
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
        _sync_directory(layout.parent(path))
    return start + len(line)


def _heal(descriptor: int, size_bytes: int) -> bytes:
    """Cut a torn last line off; the bytes that must come before the next record (a newline that got lost, or none)."""
    if size_bytes == 0:
        return b""
    start = max(0, size_bytes - _TAIL_BYTES)
    before, newline, tail = os.pread(descriptor, size_bytes - start, start).rpartition(b"\n")
    if not tail:
        return b""
    if ndjson.record_of(tail) is not None:
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
