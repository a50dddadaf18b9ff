"""The listening socket as a file: made without a moment in which its mode is wrong, never stolen from the living.

The socket is bound under a dot name beside its final one, gets owner and mode, and only then listens and is renamed
into place. Before ``listen`` nobody can connect, whatever the umask was at ``bind``; the rename replaces a stale
socket in one step.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kauditd.errors import FileFault, KauditError, quote

BACKLOG = 128
"""How many may wait to be judged. Beyond it ``connect`` says EAGAIN at once, since a Unix socket has no SYN queue."""

_SUN_PATH_BYTES = 107  # sizeof(sockaddr_un.sun_path) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening socket. ``path`` and ``identity`` are None where somebody else made it."""

    socket: socket.socket
    path: Path | None = None
    identity: tuple[int, int] | None = None

    def close(self) -> None:
        """Closes the socket and removes its file, unless another file stands there by now."""
        self.socket.close()
        if self.path is not None:
            with contextlib.suppress(OSError):
                if _identity(self.path.lstat()) == self.identity:
                    self.path.unlink()


def adopt(listening: socket.socket) -> Listener:
    """A socket that the service manager opened; its file, owner and mode are the service manager's."""
    listening.settimeout(0)
    listening.listen(BACKLOG)
    return Listener(socket=listening)


def open_listener(path: str, *, group_id: int | None) -> Listener:
    """Binds ``path`` with mode 0660 for root and the group (0600 where no group may read). Blocks for file work.

    Errors: ``KauditError`` of kind conflict where another daemon answers there or a file that is no socket is in
    the way; ``FileFault`` where the operating system refuses. A missing directory is made with mode 0750.
    """
    try:
        place = Path(path)
        _make_directory(place.parent, group_id=group_id)
        _refuse_living(place)
        return _bind(place, group_id=group_id)
    except OSError as exc:
        name = errno.errorcode.get(exc.errno or 0, "")
        raise FileFault(
            f"cannot listen on {quote(path)}: {exc.strerror or exc}",
            path=path,
            errno_name=name,
            hint="the directory must exist and belong to the user that runs kauditd",
        ) from exc


def _make_directory(directory: Path, *, group_id: int | None) -> None:
    if directory.is_dir():
        return
    directory.mkdir(mode=0o750, parents=True)
    _give(directory, group_id=group_id)


def _refuse_living(path: Path) -> None:
    """Dials first: only a socket on which nobody listens may be replaced."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise KauditError(
            f"cannot listen on {quote(str(path))}: a file that is no socket is in the way",
            kind="conflict",
            hint="move it away",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, _address(path) as address:
        probe.settimeout(0)
        code = probe.connect_ex(address)
    if code in {0, errno.EAGAIN}:
        raise KauditError(
            f"cannot listen on {quote(str(path))}: another daemon answers there",
            kind="conflict",
            hint="stop it first: systemctl stop kauditd",
        )


def _bind(path: Path, *, group_id: int | None) -> Listener:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.settimeout(0)
        with _address(fresh) as address:
            listening.bind(address)
        _give(fresh, group_id=group_id)
        fresh.chmod(0o600 if group_id is None else 0o660)
        identity = _identity(fresh.lstat())
        listening.listen(BACKLOG)
        fresh.rename(path)
    except BaseException:
        listening.close()
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return Listener(socket=listening, path=path, identity=identity)


def _give(path: Path, *, group_id: int | None) -> None:
    """Hands a file to the group. Without privileges that may fail, and then the mode alone decides."""
    if group_id is None:
        return
    try:
        os.chown(path, -1, group_id, follow_symlinks=False)
    except PermissionError:
        if os.geteuid() == 0:
            raise


@contextlib.contextmanager
def _address(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits into a socket address, however deep the directory lies."""
    if len(os.fsencode(path)) <= _SUN_PATH_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def _identity(entry: os.stat_result) -> tuple[int, int]:
    return entry.st_dev, entry.st_ino
