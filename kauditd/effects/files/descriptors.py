"""File descriptors: opening without surprises, reading and writing whole files, identities.

Everything here raises OSError; its callers translate.
"""

import errno
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kauditd.core import records
from kauditd.core.model import FileId

TEMP_NAME = re.compile(r"\.kauditd\.[0-9a-f]{8}\.[0-9]+")
"""Names of our temporary files. The leading dot hides them from the kubelet (pkg/kubelet/config/file.go)."""

_READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 20


def file_id(status: os.stat_result) -> FileId:
    """The identity that a stat call shows."""
    return FileId(
        device=status.st_dev,
        inode=status.st_ino,
        size_bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
    )


@contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Closes ``descriptor`` at the end. A late error of close is void: what matters was synced before."""
    try:
        yield descriptor
    finally:
        with suppress(OSError):
            os.close(descriptor)


def open_directory(path: str) -> int:
    """A descriptor of the directory ``path``, which may be reached through links (the kubelet follows them too)."""
    return os.open(os.path.realpath(path, strict=True), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)


def open_for_reading(name: str, *, directory: int | None = None, follow: bool = False) -> int:
    """A descriptor for reading; never waits for the writer of a FIFO. ELOOP where a link is not to be followed."""
    return os.open(name, _READ_FLAGS if follow else _READ_FLAGS | os.O_NOFOLLOW, dir_fd=directory)


def read_whole(descriptor: int, *, limit_bytes: int) -> bytes | None:
    """Everything from the start, or None where it is more than ``limit_bytes``."""
    chunks: list[bytes] = []
    offset = 0
    while offset <= limit_bytes:
        chunk = os.pread(descriptor, min(_CHUNK_BYTES, limit_bytes + 1 - offset), offset)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        offset += len(chunk)
    return None


def write_whole(descriptor: int, content: bytes) -> None:
    """Write all of ``content``, however little the kernel takes at a time."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def create_temp(directory: int, content: bytes) -> tuple[str, int]:
    """A new temporary file (mode 0600) for ``content`` in ``directory``: its name and a descriptor for writing.

    The name carries the thread's id, which is unique on the node, so a file of that name is a dead process's.
    """
    name = f".kauditd.{records.digest_of(content)[:8]}.{threading.get_native_id()}"
    try:
        return name, os.open(name, _CREATE_FLAGS, 0o600, dir_fd=directory)
    except FileExistsError:
        os.unlink(name, dir_fd=directory)
        return name, os.open(name, _CREATE_FLAGS, 0o600, dir_fd=directory)


@contextmanager
def unlinked_on_error(name: str, directory: int) -> Iterator[None]:
    """Remove ``name`` again where the body fails; a failure to remove it changes nothing, for it is swept later."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise


def is_unlinked(descriptor: int) -> bool:
    """Whether the open file has lost its name.

    Its link count says so, save on an overlay: there the file of a lower layer keeps its count, and only the kernel's
    own words for the open file tell.
    """
    if os.fstat(descriptor).st_nlink == 0:
        return True
    try:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink()).endswith(" (deleted)")
    except OSError:
        return False


def sync_directory(directory: int) -> None:
    """Make names durable. Some file systems cannot sync a directory and say EINVAL: there is nothing to wait for."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def names_matching(pattern: re.Pattern[str], directory: int) -> tuple[str, ...]:
    """The names in ``directory`` that ``pattern`` matches as a whole, sorted."""
    return tuple(sorted(name for name in os.listdir(directory) if pattern.fullmatch(name)))


def remove_stale_temps(directory: int) -> tuple[str, ...]:
    """Remove our temporary files that a killed process left; their names, sorted. What cannot be removed stays."""
    removed = []
    for name in names_matching(TEMP_NAME, directory):
        with suppress(OSError):
            if stat.S_ISREG(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=directory)
                removed.append(name)
    return tuple(removed)
