"""What a refused system call means to an operator: one translation from OSError to ``errors.FileFault``.

Pure: it looks at a number and words, never at the file system.
"""

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from kauditd.errors import FileFault, quote

_CAUSES: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        errno.ENOSPC: (
            "no space is left on the file system",
            "free space there (df -h and df -i show which is used up); it is tried again by itself",
        ),
        errno.EDQUOT: ("the disk quota is used up", "raise the quota or free space there"),
        errno.EIO: (
            "the disk reports an input/output error",
            "look at dmesg and replace the disk before anything else; nothing is trusted that it did not confirm",
        ),
        errno.EROFS: (
            "it is read-only here",
            "perhaps because the service started before the directory existed: restart kauditd, or see dmesg",
        ),
        errno.EPERM: (
            "the operation is not permitted",
            "it may be immutable (lsattr shows it, chattr -i ends it) or a security module denies it",
        ),
        errno.EACCES: (
            "access is denied",
            "kauditd must run as root; a security module (SELinux, AppArmor) may deny it, look for its denials",
        ),
        errno.EXDEV: (
            "the two names are on different file systems",
            "a file or directory below is a mount of its own; mount the directory, never the file",
        ),
        errno.EBUSY: (
            "it is in use as a mount point",
            "the file itself is bind-mounted and cannot be replaced; mount its directory instead",
        ),
        errno.EMFILE: ("this process has too many open files", "restart kauditd and report it with its open files"),
        errno.ENFILE: (
            "the node has too many open files",
            "find the process that leaks them (lsof), or raise fs.file-max",
        ),
        errno.ELOOP: ("it is a symbolic link", "put a regular file in its place; links are not followed here"),
        errno.ENOENT: ("it does not exist", ""),
        errno.ENOTDIR: ("a part of the path is not a directory", ""),
        errno.EISDIR: ("it is a directory", ""),
        errno.ENXIO: ("it is not a regular file", ""),
        errno.EEXIST: ("it exists already", ""),
        errno.ESTALE: ("the network file system lost it", "mount it again"),
    }
)


class RenamedFault(FileFault):
    """Something went wrong *after* the rename: the new file is in place, ``renamed`` says so for every caller.

    The content is complete and on disk; what is not certain stands in the message (that the new name survives a
    power cut, or what exactly it replaced). Read the world again.
    """

    renamed = True


def errno_name(number: int | None) -> str:
    """The symbolic name of an error number ("ENOSPC"), its decimal form where it has none, "" for None."""
    if number is None:
        return ""
    return errno.errorcode.get(number, str(number))


def explain(error: OSError) -> tuple[str, str]:
    """The cause in plain words with the symbolic name behind it, and a hint ("" where there is nothing to advise)."""
    name = errno_name(error.errno)
    words, hint = _CAUSES.get(error.errno or 0, (error.strerror or str(error) or "unknown error", ""))
    return (f"{words} ({name})" if name else words), hint


def file_fault(error: OSError, *, verb: str, path: str) -> FileFault:
    """``error`` as the exception of our tree: "cannot <verb> <path>: <cause>"."""
    cause, hint = explain(error)
    message = f"cannot {verb} {quote(path)}: {cause}"
    return FileFault(message, path=path, errno_name=errno_name(error.errno), hint=hint)


def renamed_fault(error: OSError, *, path: str) -> RenamedFault:
    """``error`` of the directory's fsync, after the rename: in place, perhaps not for good."""
    cause, hint = explain(error)
    message = f"cannot make the new {quote(path)} durable (it is in place, its directory was not synced): {cause}"
    return RenamedFault(message, path=path, errno_name=errno_name(error.errno), hint=hint)


@contextmanager
def translated(verb: str, path: str) -> Iterator[None]:
    """Inside, every OSError leaves as ``errors.FileFault`` about ``path``."""
    try:
        yield
    except OSError as error:
        raise file_fault(error, verb=verb, path=path) from error
