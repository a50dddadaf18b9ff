"""Reading files that other people write, while they write them."""

import errno
import os
import stat

from kauditd.core import faults, layout, records
from kauditd.core.model import FileId, ManifestFile
from kauditd.effects.files import descriptors
from kauditd.errors import FileFault, quote

_ATTEMPTS = 5
_ENTRIES_MAX = 4096


def read_manifest(path: str, *, limit_bytes: int = 1 << 20) -> ManifestFile:
    """The manifest at ``path`` as one consistent picture; never raises for what is wrong with the file.

    The directory may be reached through links, the file may not be one. A file that changes while it is read is
    read again, five times at most. ``missing`` where there is no such file; ``fault`` is a sentence where there is
    one that cannot be used: a link, not a regular file, larger than ``limit_bytes``, not readable, never at rest.
    """
    try:
        with descriptors.closing(descriptors.open_directory(layout.parent(path))) as directory:
            for _ in range(_ATTEMPTS):
                found = _read_once(path, directory, limit_bytes)
                if found is not None:
                    return found
    except FileNotFoundError:
        return ManifestFile(path=path, missing=True)
    except OSError as error:
        return _faulty(path, faults.explain(error)[0])
    return _faulty(path, "it keeps changing while it is read")


def identify(path: str) -> FileId | None:
    """The identity of the file at ``path`` by one lstat, or None where it cannot be seen. For cheap re-lists."""
    try:
        return descriptors.file_id(os.lstat(path))
    except OSError:
        return None


def list_visible(directory: str) -> tuple[str, ...]:
    """The names that the kubelet reads in ``directory``, sorted bytewise as it does; () where there is none.

    These are regular files and links to such, with any extension, whose name has no leading dot (kubelet
    pkg/kubelet/config/file.go). At most 4096 entries are looked at. Raises ``errors.FileFault``.
    """
    names = []
    with faults.translated("list", directory):
        try:
            with os.scandir(directory) as entries:
                for _, entry in zip(range(_ENTRIES_MAX), entries, strict=False):
                    if not entry.name.startswith(".") and _is_file(entry):
                        names.append(entry.name)
        except FileNotFoundError:
            return ()
    return tuple(sorted(names, key=os.fsencode))


def read_small(path: str, limit_bytes: int = 1 << 20) -> bytes:
    """The content of a regular file, reached through links or not. Raises ``errors.FileFault``.

    For settings and policy sources, which people may well keep elsewhere and link to.
    """
    with (
        faults.translated("read", path),
        descriptors.closing(descriptors.open_for_reading(path, follow=True)) as descriptor,
    ):
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileFault(f"cannot read {quote(path)}: {_kind(status.st_mode)}", path=path)
        content = descriptors.read_whole(descriptor, limit_bytes=limit_bytes)
    if content is None:
        message = f"cannot read {quote(path)}: it is larger than {limit_bytes} bytes"
        raise FileFault(message, path=path, errno_name=faults.errno_name(errno.EFBIG))
    return content


def _is_file(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _read_once(path: str, directory: int, limit_bytes: int) -> ManifestFile | None:
    """One look at the file; None where it moved under our eyes."""
    name = layout.base_name(path)
    try:
        descriptor = descriptors.open_for_reading(name, directory=directory)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO}:
            raise
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
        return _faulty(path, _kind(status.st_mode), status)
    with descriptors.closing(descriptor):
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            return _faulty(path, _kind(before.st_mode), before)
        content = descriptors.read_whole(descriptor, limit_bytes=limit_bytes)
        after = os.fstat(descriptor)
    if content is None:
        return _faulty(path, f"it is larger than {limit_bytes} bytes", after)
    identity = descriptors.file_id(after)
    if identity != descriptors.file_id(before) or len(content) != after.st_size:
        return None
    return ManifestFile(path=path, content=content, id=identity, digest=records.digest_of(content))


def _faulty(path: str, cause: str, status: os.stat_result | None = None) -> ManifestFile:
    identity = descriptors.file_id(status) if status is not None else None
    return ManifestFile(path=path, id=identity, fault=f"cannot read {quote(path)}: {cause}")


def _kind(mode: int) -> str:
    """Why a file of this type is not read."""
    if stat.S_ISLNK(mode):
        return "it is a symbolic link, and only a regular file can be replaced safely"
    if stat.S_ISDIR(mode):
        return "it is a directory"
    return "it is not a regular file"
