"""What a path means at this moment, and which directory entries decide it."""

from dataclasses import dataclass
from pathlib import Path

from kauditd.core.layout import base_name, parent

_LINK_HOPS = 40  # the kernel's own limit (ELOOP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """How a path resolves now: ``entries`` are the (directory, name) pairs whose change would change the answer."""

    entries: tuple[tuple[str, str], ...]
    real: str | None


def resolve(path: str) -> Trail:
    """Follow ``path`` link by link. ``real`` is None where no directory is there; the last entry is then the gap."""
    entries: list[tuple[str, str]] = []
    current, todo, hops = "/", [p for p in reversed(path.split("/")) if p], 0
    while todo:
        name = todo.pop()
        if name in {".", ".."}:
            current = parent(current) if name == ".." else current
            continue
        entry = Path(current) / name
        if entry.is_symlink():
            entries.append((current, name))
            hops += 1
            try:
                target = str(entry.readlink())
            except OSError:
                return Trail(entries=tuple(entries), real=None)
            current = "/" if target.startswith("/") else current
            todo.extend(p for p in reversed(target.split("/")) if p)
        elif hops > _LINK_HOPS or not entry.is_dir():
            return Trail(entries=(*entries, (current, name)), real=None)
        else:
            current = str(entry)
        if hops > _LINK_HOPS:
            return Trail(entries=tuple(entries), real=None)
    return Trail(entries=(*entries, (parent(current), base_name(current))), real=current)


def identify(path: str) -> tuple[int, int] | None:
    """Device and inode of what is at ``path`` now, None where nothing can be seen."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
