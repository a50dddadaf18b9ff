"""Replacing a foreign file that somebody reads all the time: the API server's manifest or its unit file.

At every instruction the visible name holds the old bytes or the new ones, whole. The way there is one rename of a
dot-named file within the directory; names are never exchanged and the file is never moved away, for the kubelet
takes a name that disappears as the pod's deletion (kubelet pkg/kubelet/config/file_linux.go).
"""

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from kauditd.core import faults, layout, records
from kauditd.core.model import Digest, FileId
from kauditd.effects.files import descriptors
from kauditd.errors import FileFault, LostUpdate, quote

CRASH_POINTS = (
    "replace.opened",
    "replace.swept",
    "replace.temp-created",
    "replace.temp-dressed",
    "replace.temp-written",
    "replace.temp-synced",
    "replace.before-rename",
    "replace.renamed",
    "replace.directory-synced",
)
"""Every point that ``replace`` passes, in order; up to ``before-rename`` the old file stands, then the new one."""

_COMPUTED_ATTRIBUTES = frozenset({"security.ima", "security.evm"})
"""Extended attributes that the kernel computes over content; a copy would belie the new file."""

_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """What to write where, and what must be there until the last moment: both identity and digest as read."""

    path: str
    content: bytes
    expected_digest: Digest
    expected_id: FileId


def replace(request: Replacement, *, at: Callable[[str], None] = lambda _point: None) -> FileId:
    """Replace the file's content; owner, mode, ACL and labels stay. Returns the new file's identity.

    The caller holds the lock and has put the last-good copy and the intent on disk. ``at`` is called with each of
    ``CRASH_POINTS``. Raises:

    - ``errors.LostUpdate``: the file is not, or no longer, the expected one. Nothing was written.
    - ``errors.FileFault``: the file is not fit to be replaced, or the system refused. The old file is untouched.
    - ``faults.RenamedFault`` (a FileFault with ``renamed``): the new file is in place, but the directory could not
      be synced, or it shows that somebody moved or wrote the old file between the last look and the rename. (Linux
      has no rename on condition, and a rename over the old file in those microseconds leaves no trace.)

    Not tried again here: after a failed fsync the kernel may have dropped the dirty pages, and a second fsync that
    succeeds proves nothing.
    """
    if not request.content:
        raise FileFault(f"cannot replace {quote(request.path)}: the new content is empty", path=request.path)
    with (
        faults.translated("replace", request.path),
        descriptors.closing(descriptors.open_directory(layout.parent(request.path))) as directory,
    ):
        _check_directory(request.path, os.fstat(directory))
        return _Protocol(request, directory, at).run()


def sweep(directory: str) -> tuple[str, ...]:
    """Remove the temporary files that a killed process left in ``directory``; their names. For the start.

    A directory that does not exist holds none. Raises ``errors.FileFault`` where it cannot be read.
    """
    with faults.translated("sweep", directory):
        try:
            descriptor = descriptors.open_directory(directory)
        except FileNotFoundError:
            return ()
        with descriptors.closing(descriptor):
            return descriptors.remove_stale_temps(descriptor)


class _Protocol:
    """One walk through the protocol. ``directory`` is an open descriptor."""

    def __init__(self, request: Replacement, directory: int, at: Callable[[str], None]) -> None:
        self._request = request
        self._path = request.path
        self._name = layout.base_name(request.path)
        self._directory = directory
        self._at = at

    def run(self) -> FileId:
        with descriptors.closing(self._open_expected()) as old:
            self._at("replace.opened")
            descriptors.remove_stale_temps(self._directory)
            self._at("replace.swept")
            temp, new = descriptors.create_temp(self._directory, self._request.content)
            with descriptors.closing(new):
                with descriptors.unlinked_on_error(temp, self._directory):
                    self._fill(old, new)
                    with descriptors.closing(self._open_expected()):
                        self._at("replace.before-rename")
                        os.rename(temp, self._name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                self._at("replace.renamed")
                try:
                    return self._settle(old, new)
                except OSError as error:
                    raise faults.renamed_fault(error, path=self._path) from error

    def _fill(self, old: int, new: int) -> None:
        """The temporary file: dressed like the old one before it holds data, then written and synced."""
        self._at("replace.temp-created")
        self._dress(old, new)
        self._at("replace.temp-dressed")
        descriptors.write_whole(new, self._request.content)
        self._at("replace.temp-written")
        os.fsync(new)
        self._at("replace.temp-synced")

    def _settle(self, old: int, new: int) -> FileId:
        """After the rename: make the name durable, then tell whether it replaced what was looked at."""
        descriptors.sync_directory(self._directory)
        self._at("replace.directory-synced")
        gone = os.fstat(old)
        expected = self._request.expected_id
        written = (gone.st_size, gone.st_mtime_ns) != (expected.size_bytes, expected.mtime_ns)
        if written or not descriptors.is_unlinked(old):
            message = (
                f"cannot tell what the new {quote(self._path)} replaced: somebody changed the file in that instant"
            )
            raise faults.RenamedFault(message, path=self._path, hint="it is read again by itself")
        return descriptors.file_id(os.fstat(new))

    def _open_expected(self) -> int:
        """A descriptor of the target, which is the expected one in identity and bytes and fit to be replaced."""
        try:
            descriptor = descriptors.open_for_reading(self._name, directory=self._directory)
        except FileNotFoundError as error:
            raise self._lost("it is gone") from error
        try:
            self._check(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _check(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        _check_file(self._path, status)
        expected = self._request.expected_id
        if descriptors.file_id(status) != expected:
            raise self._lost("it is not the file that was read")
        content = descriptors.read_whole(descriptor, limit_bytes=expected.size_bytes)
        if content is None or records.digest_of(content) != self._request.expected_digest:
            raise self._lost("its content is not what was read")

    def _lost(self, cause: str) -> LostUpdate:
        message = f"cannot replace {quote(self._path)}: {cause}"
        return LostUpdate(message, path=self._path, hint="nothing was written; it is read again by itself")

    def _dress(self, old: int, new: int) -> None:
        """Owner, mode and extended attributes of ``old`` for ``new``, in the order in which none undoes another."""
        status = os.fstat(old)
        made = os.fstat(new)
        if (status.st_uid, status.st_gid) != (made.st_uid, made.st_gid):
            os.fchown(new, status.st_uid, status.st_gid)
        os.fchmod(new, stat.S_IMODE(status.st_mode))
        wanted = _attributes(old)
        found = _attributes(new)
        if _ACCESS_LIST in found and _ACCESS_LIST not in wanted:
            os.removexattr(new, _ACCESS_LIST)
        for name, value in wanted.items():
            if found.get(name) != value and name not in _COMPUTED_ATTRIBUTES:
                self._copy_attribute(new, name, value)

    def _copy_attribute(self, new: int, name: str, value: bytes) -> None:
        try:
            os.setxattr(new, name, value)
        except OSError as error:
            if error.errno == errno.ENOTSUP:
                return
            cause, _ = faults.explain(error)
            message = f"cannot replace {quote(self._path)}: its attribute {quote(name)} cannot be kept: {cause}"
            hint = "without it the kubelet or the API server may not be able to read the file; nothing was written"
            raise FileFault(message, path=self._path, errno_name=faults.errno_name(error.errno), hint=hint) from error


def _attributes(descriptor: int) -> dict[str, bytes]:
    """The extended attributes; none where the file system has no such thing."""
    try:
        return {name: os.getxattr(descriptor, name) for name in os.listxattr(descriptor)}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def _check_directory(path: str, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise _unfit(path, "its directory belongs to another user", "give the directory to root (chown root)")
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise _unfit(path, "everybody may write to its directory", "take that right away (chmod o-w)")


def _check_file(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(path, "it is not a regular file", "put a regular file in its place")
    if status.st_nlink > 1:
        raise _unfit(path, "it has another hard link, which would keep the old content", "make it a file of its own")
    if status.st_uid not in {0, os.geteuid()}:
        raise _unfit(path, "it belongs to another user", "give it to root (chown root)")
    if status.st_mode & stat.S_IWOTH:
        raise _unfit(path, "everybody may write to it", "take that right away (chmod o-w)")


def _unfit(path: str, cause: str, hint: str) -> FileFault:
    return FileFault(f"cannot replace {quote(path)}: {cause}", path=path, hint=hint)
