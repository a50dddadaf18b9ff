"""Opening the files of a log: the live one and the rotated ones, each by name once and then by descriptor."""

import gzip
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from kauditd.core.generations import FileKey, Generation, Position, list_generations
from kauditd.core.layout import base_name, parent
from kauditd.effects.logfile.birth import born_ns

CHUNK_BYTES = 1 << 18
_HEAD_BYTES = 256
_ENTRIES_MAX = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenFile:
    """One file of the log, open for reading. ``read`` gives the next bytes of its plain content, at most a chunk."""

    path: str
    key: FileKey
    descriptor: int
    generation: Generation | None
    read: Callable[[], bytes]
    seek: Callable[[int], None]

    def position(self, offset_bytes: int) -> Position:
        """A place in this file, with what tells it from another file that gets its number later."""
        head = b"" if self.generation is not None and self.generation.compressed else self._head(_HEAD_BYTES)
        head = head[:offset_bytes]
        return Position(
            device=self.key.device,
            inode=self.key.inode,
            offset_bytes=offset_bytes,
            head=hashlib.sha256(head).hexdigest() if head else "",
            head_bytes=len(head),
            born_ns=born_ns(self.descriptor),
        )

    def holds(self, position: Position) -> bool:
        """Whether ``position`` is a place in this very file."""
        if (self.key.device, self.key.inode) != (position.device, position.inode):
            return False
        if not position.head_bytes:
            # Nothing but its birth can tell this file from one that was given its number.
            return position.born_ns != 0 and position.born_ns == born_ns(self.descriptor)
        if position.born_ns and position.born_ns != born_ns(self.descriptor):
            return False
        long_enough = os.fstat(self.descriptor).st_size >= position.offset_bytes
        head = self._head(position.head_bytes)
        return long_enough and hashlib.sha256(head).hexdigest() == position.head

    def _head(self, length: int) -> bytes:
        return os.pread(self.descriptor, length, 0)


@contextmanager
def opened(path: str, generation: Generation | None = None) -> Iterator[OpenFile | None]:
    """The regular file at ``path``; None where there is none. Raises OSError where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            yield None
            return
        key = FileKey(device=status.st_dev, inode=status.st_ino, size_bytes=status.st_size)
        if generation is not None and generation.compressed:
            with _Expanded(descriptor) as expanded:
                yield OpenFile(
                    path=path,
                    key=key,
                    descriptor=descriptor,
                    generation=generation,
                    read=expanded.read,
                    seek=expanded.seek,
                )
            return
        yield OpenFile(
            path=path,
            key=key,
            descriptor=descriptor,
            generation=generation,
            read=lambda: os.read(descriptor, CHUNK_BYTES),
            seek=lambda offset: _seek(descriptor, offset),
        )
    finally:
        with suppress(OSError):
            os.close(descriptor)


def mark(path: str) -> Position | None:
    """The end of the live file now, to be remembered before a request is sent; None where there is no file yet.

    Raises OSError where there is one that cannot be read.
    """
    with opened(path) as file:
        return None if file is None else file.position(file.key.size_bytes)


def rotated(path: str) -> tuple[Generation, ...]:
    """The rotated files beside ``path``, the oldest first; () where the directory cannot be read."""
    names: list[str] = []
    with suppress(OSError), os.scandir(parent(path)) as entries:
        names = [entry.name for _, entry in zip(range(_ENTRIES_MAX), entries, strict=False)]
    return list_generations(base_name(path), names)


def path_of(path: str, generation: Generation) -> str:
    """Where the rotated file of the log ``path`` lies."""
    return f"{parent(path).rstrip('/')}/{generation.name}"


def _seek(descriptor: int, offset_bytes: int) -> None:
    os.lseek(descriptor, offset_bytes, os.SEEK_SET)


class _Expanded:
    """A compressed file as a stream. One that is cut short (its writer was killed) ends where it is cut."""

    def __init__(self, descriptor: int) -> None:
        self._raw = os.fdopen(os.dup(descriptor), "rb")
        self._stream = gzip.GzipFile(fileobj=self._raw)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._raw.close()

    def read(self) -> bytes:
        try:
            return self._stream.read1(CHUNK_BYTES)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return b""

    def seek(self, offset_bytes: int) -> None:
        self._stream.seek(offset_bytes)
