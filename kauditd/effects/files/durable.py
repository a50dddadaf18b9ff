"""Our own files and directories: written whole and durably, or not at all."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from contextlib import suppress
from enum import StrEnum

from kauditd.core import faults, layout
from kauditd.effects.files import descriptors
from kauditd.errors import FileFault, quote

DURABLE_POINTS = ("durable.temp-written", "durable.temp-synced", "durable.renamed", "durable.directory-synced")
"""Every point that ``write_durably`` passes, in order; up to ``temp-synced`` the old content stands."""

_POLICY_NAME = re.compile(r"policy-[0-9a-f]{12}\.yaml")


class Published(StrEnum):
    """What ``publish_immutable`` found and did: nothing there, the same there, or something else there."""

    WRITTEN = "written"
    PRESENT = "present"
    REPAIRED = "repaired"


def write_durably(
    path: str,
    data: bytes,
    *,
    mode: int,
    owner: tuple[int, int] | None = None,
    at: Callable[[str], None] = lambda _point: None,
) -> None:
    """Make ``path`` hold ``data``, whole and on disk, with ``mode`` and ``owner`` (uid, gid; None: ours).

    A link at ``path`` is replaced, not followed. Raises ``errors.FileFault``: before the rename the old content
    stands, ``faults.RenamedFault`` after it.
    """
    with (
        faults.translated("write", path),
        descriptors.closing(descriptors.open_directory(layout.parent(path))) as directory,
    ):
        temp, new = descriptors.create_temp(directory, data)
        with descriptors.closing(new), descriptors.unlinked_on_error(temp, directory):
            if owner is not None:
                os.fchown(new, *owner)
            os.fchmod(new, mode)
            descriptors.write_whole(new, data)
            at("durable.temp-written")
            os.fsync(new)
            at("durable.temp-synced")
            os.rename(temp, layout.base_name(path), src_dir_fd=directory, dst_dir_fd=directory)
        at("durable.renamed")
        try:
            descriptors.sync_directory(directory)
        except OSError as error:
            raise faults.renamed_fault(error, path=path) from error
        at("durable.directory-synced")


def publish_immutable(directory: str, name: str, data: bytes, *, mode: int = 0o644) -> Published:
    """Make ``directory/name``, whose name stands for its content, hold ``data``.

    The same bytes there already, with the same mode and ours: nothing is written. Anything else there (changed bytes,
    mode or owner, a link) was tampered with and is replaced. Raises ``errors.FileFault``.
    """
    path = f"{directory}/{name}"
    with faults.translated("publish", path):
        found = _inspect(path, data, mode)
    if found is not Published.PRESENT:
        write_durably(path, data, mode=mode)
    return found


def ensure_directory(path: str, mode: int, *, owner: tuple[int, int] | None = None) -> bool:
    """Make the directory ``path``, and its parents (0755), durably; True where it was not there.

    An existing directory keeps its mode and owner: whoever made it had a reason. A link in the last place is
    refused, for it would let another directory take the place of ours. Raises ``errors.FileFault``.
    """
    path = path.rstrip("/")
    with faults.translated("make directory", path):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if _make_directory(path, mode, owner):
                return True
            status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        cause = "it is a symbolic link" if stat.S_ISLNK(status.st_mode) else "something else has that name"
        message = f"cannot make directory {quote(path)}: {cause}"
        raise FileFault(
            message, path=path, errno_name="ENOTDIR", hint="move it away; kauditd makes the directory itself"
        )
    return False


def prune(directory: str, keep: AbstractSet[str]) -> tuple[str, ...]:
    """Remove published policies (``policy-<12 hex>.yaml``) whose name is not in ``keep``; the names removed.

    Nothing else in the directory is looked at. Raises ``errors.FileFault``.
    """
    with faults.translated("prune", directory):
        try:
            opened = descriptors.open_directory(directory)
        except FileNotFoundError:
            return ()
        with descriptors.closing(opened):
            names = descriptors.names_matching(_POLICY_NAME, opened)
            stale = tuple(name for name in names if name not in keep)
            for name in stale:
                os.unlink(name, dir_fd=opened)
    return stale


def remove_files(directory: str, names: Iterable[str]) -> None:
    """Remove ``names`` in a directory of ours; one that is gone already is as good. Raises ``errors.FileFault``."""
    with (
        faults.translated("remove files in", directory),
        descriptors.closing(descriptors.open_directory(directory)) as opened,
    ):
        for name in names:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=opened)


def set_aside(path: str) -> str:
    """Rename a file of ours that cannot be used to ``<path>.corrupt-<n>``, durably; its new path.

    Evidence is kept, whatever was set aside before. Raises ``errors.FileFault``.
    """
    number = 1
    while os.path.lexists(f"{path}.corrupt-{number}"):
        number += 1
    aside = f"{path}.corrupt-{number}"
    with (
        faults.translated("set aside", path),
        descriptors.closing(descriptors.open_directory(layout.parent(path))) as directory,
    ):
        names = (layout.base_name(path), layout.base_name(aside))
        os.rename(*names, src_dir_fd=directory, dst_dir_fd=directory)
        descriptors.sync_directory(directory)
    return aside


def free_bytes(path: str) -> int:
    """Space for ordinary users on the file system that holds ``path``, or would hold it once its directories exist."""
    existing = path
    while existing != "/" and not os.path.lexists(existing):
        existing = layout.parent(existing)
    with faults.translated("measure", path):
        status = os.statvfs(existing)
    return status.f_bavail * status.f_frsize


def probe_writable(directory: str) -> None:
    """Return where a file could be made in ``directory`` now, else raise ``errors.FileFault`` saying why not.

    A nameless file is made, so that nobody who watches the directory wakes up; a file system that has no such
    thing is only asked.
    """
    with faults.translated("write to", directory):
        try:
            descriptor = os.open(directory, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}:
                raise
            if not os.access(directory, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), directory) from error
        else:
            os.close(descriptor)


def _inspect(path: str, data: bytes, mode: int) -> Published:
    """What stands at ``path``, compared with what should."""
    try:
        descriptor = descriptors.open_for_reading(path)
    except FileNotFoundError:
        return Published.WRITTEN
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENXIO}:
            return Published.REPAIRED
        raise
    with descriptors.closing(descriptor):
        status = os.fstat(descriptor)
        if (stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid) != (
            stat.S_IFREG,
            mode,
            os.geteuid(),
        ):
            return Published.REPAIRED
        same = descriptors.read_whole(descriptor, limit_bytes=len(data)) == data
    return Published.PRESENT if same else Published.REPAIRED


def _make_directory(path: str, mode: int, owner: tuple[int, int] | None) -> bool:
    """Make one directory and sync its name; False where somebody else was faster.

    It has its mode from the first moment, as far as the umask lets it: nobody corrects the mode of a directory that
    was there at the start, should this process die in between.
    """
    with descriptors.closing(_open_parent(path)) as above:
        name = layout.base_name(path)
        try:
            os.mkdir(name, mode, dir_fd=above)
        except FileExistsError:
            return False
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        with descriptors.closing(os.open(name, flags, dir_fd=above)) as made:
            if owner is not None:
                os.fchown(made, *owner)
            if stat.S_IMODE(os.fstat(made).st_mode) != mode:
                os.fchmod(made, mode)
        descriptors.sync_directory(above)
    return True


def _open_parent(path: str) -> int:
    """A descriptor of the directory above ``path``, which is made where it is missing."""
    parent = layout.parent(path)
    try:
        return descriptors.open_directory(parent)
    except FileNotFoundError:
        _make_directory(parent, 0o755, None)
        return descriptors.open_directory(parent)
