"""What a unit's sandbox does to the directories that audit needs: the service's form of a pod's mounts."""

from collections.abc import Sequence

from kauditd.core.hostproc.syntax import Assignment, accumulated, last_value, refuse
from kauditd.core.model import Edit, Mount

_TRUE = frozenset(["1", "yes", "y", "true", "t", "on"])
_HIDING = ("InaccessiblePaths", "InaccessibleDirectories", "TemporaryFileSystem")
_READ_ONLY = ("ReadOnlyPaths", "ReadOnlyDirectories")
_WRITABLE = ("ReadWritePaths", "ReadWriteDirectories")
_OWN_ROOT = ("RootDirectory", "RootImage")
_PROTECTED = {"strict": ("/",), "full": ("/usr", "/boot", "/efi", "/etc")}
_ALWAYS_PROTECTED = ("/usr", "/boot", "/efi")


def open_directories(settings: Sequence[Assignment], mounts: Sequence[Mount]) -> tuple[list[str], list[Edit]]:
    """Lines that let the service write where it must, and what they change. Raises ManifestRefused.

    Refused (``sandboxed``) where the service does not see the host's directories at all. The lines only ever open
    the directories of ``mounts`` that are not read-only; systemd.exec(5): the deepest path that covers a file
    decides.
    """
    _require_visible(settings, mounts)
    lines, edits = [], []
    for mount in mounts:
        if mount.read_only or not _closed(settings, mount.host_path):
            continue
        # Without the minus a directory that is missing keeps the whole service from starting.
        lines.append(f"ReadWritePaths=-{mount.host_path}")
        line = next(item.line for item in settings if item.key == "ExecStart")
        edits.append(Edit(code="mount-missing", subject=mount.name, line=line, before=None, after=mount.host_path))
    return lines, edits


def _require_visible(settings: Sequence[Assignment], mounts: Sequence[Mount]) -> None:
    for key in _OWN_ROOT:
        if last_value(settings, key) not in {"", "/"}:
            item = next(item for item in reversed(settings) if item.key == key)
            raise refuse(item.path, item.line, f"{key}= gives the service a root of its own", code="sandboxed")
    for mount in mounts:
        for key in _HIDING:
            for item in accumulated(settings, key):
                if any(_covers(path, mount.host_path) for path in _paths(item)):
                    cause = f"{key}= hides {mount.host_path} from the service"
                    raise refuse(item.path, item.line, cause, code="sandboxed", hint="let the service see it")


def _closed(settings: Sequence[Assignment], directory: str) -> bool:
    """Whether the service may not write below ``directory``."""
    protect = last_value(settings, "ProtectSystem")
    if last_value(settings, "DynamicUser") in _TRUE:
        protect = "strict"
    read_only = list(_PROTECTED.get(protect, _ALWAYS_PROTECTED if protect in _TRUE else ()))
    read_only += _listed(settings, _READ_ONLY)
    deepest = {
        writable: max((len(path) for path in paths if _covers(path, directory)), default=-1)
        for writable, paths in ((False, read_only), (True, _listed(settings, _WRITABLE)))
    }
    return deepest[False] > deepest[True]


def _listed(settings: Sequence[Assignment], keys: Sequence[str]) -> list[str]:
    return [path for key in keys for item in accumulated(settings, key) for path in _paths(item)]


def _paths(item: Assignment) -> list[str]:
    """The paths of a list; a ``:`` begins the mount options of a temporary file system."""
    return [word.lstrip("-+").partition(":")[0].rstrip("/") or "/" for word in item.value.split()]


def _covers(outer: str, inner: str) -> bool:
    return outer in {"/", inner} or inner.startswith(outer + "/")
