"""Whether the API server writes the file that everybody looks at: its view, the host's view, its descriptors."""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kauditd.core.faults import explain
from kauditd.core.generations import FileKey, parse_generation
from kauditd.core.layout import Layout, base_name, parent
from kauditd.core.proof import Held, LogFacts
from kauditd.errors import quote

_LINKS_MAX = 40
_DELETED = " (deleted)"
_TRACES = (b'"apiVersion":"audit.k8s.io/', b' AUDIT: id="')
_SNIFFED_BYTES = 4096
_LOOKS = 5
_PAUSE_S = 0.005
_STANDARD_DESCRIPTORS = 3


def inspect_log(pid: int, log_path: str, layout: Layout, *, host_path: str | None = None) -> LogFacts:
    """The log ``log_path`` (logical, as the flag says) by the eyes of process ``pid`` and of the host.

    ``host_path`` (logical) is where the mounts put it on the host, where that differs from the flag. To be asked
    after a request was answered: the API server opens the log at its first event. Never raises; what could not be
    seen stands in ``fault``.
    """
    facts = _look(pid, log_path, layout, host_path or log_path)
    for _ in range(_LOOKS):
        if facts.held in {Held.OPEN, Held.UNKNOWN}:
            break
        # A rotation between the looks at path and descriptors shows two files where there is one.
        time.sleep(_PAUSE_S)
        before, facts = facts, _look(pid, log_path, layout, host_path or log_path)
        if (before.held, before.held_path, str(before.seen)) == (facts.held, facts.held_path, str(facts.seen)):
            break
    return facts


def _look(pid: int, log_path: str, layout: Layout, host_path: str) -> LogFacts:
    host_file = layout.host(host_path)
    host, host_fault = _identify(host_file)
    try:
        seen_file, seen_known = _resolve(f"/proc/{pid}/root", layout.host(log_path)), True
        seen, fault = _identify(seen_file)
    except OSError as error:
        seen_file, seen, seen_known, fault = host_file, host, False, explain(error)[0]
    held, held_path, scan_fault = _scan(pid, log_path, seen_file, seen)
    return LogFacts(
        path=log_path,
        seen_path=seen_file,
        host_path=host_path,
        seen=seen,
        host=host,
        held=held,
        held_path=held_path,
        process_root_seen=seen_known,
        free_bytes=_free_bytes(parent(seen_file)),
        fault="; ".join(dict.fromkeys(f for f in (fault, host_fault, scan_fault) if f)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Descriptor:
    """A regular file that a process holds open for writing. ``target`` is the name that the kernel gives for it."""

    link: Path
    target: str
    key: FileKey
    links: int

    @property
    def name(self) -> str:
        """The name without the kernel's remark."""
        return self.target.removesuffix(_DELETED)

    @property
    def deleted(self) -> bool:
        """Whether the file has lost its name. On an overlay only the remark tells, elsewhere the link count too."""
        return self.links == 0 or self.target.endswith(_DELETED)


def _resolve(root: str, path: str) -> str:
    """``path`` below ``root`` with its links followed as a process in that root follows them.

    The kernel would follow an absolute link to *our* root. A last part that does not exist stays as it is. Raises
    OSError where the root cannot be entered.
    """
    Path(f"{root}/.").stat()
    done: list[str] = []
    left = [part for part in path.split("/") if part][::-1]
    links = 0
    while left:
        part = left.pop()
        if part == ".." and done:
            done.pop()
        if part in {".", ".."}:
            continue
        try:
            target = str(Path("/".join([root, *done, part])).readlink())
        except OSError:
            done.append(part)
            continue
        links += 1
        if links > _LINKS_MAX:
            break
        if target.startswith("/"):
            done = []
        left += [piece for piece in target.split("/") if piece][::-1]
    return "/".join([root, *done])


def _identify(path: str) -> tuple[FileKey | None, str]:
    """The regular file at ``path``, or None and, where that is not plain absence, why."""
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"cannot look at {quote(path)}: {explain(error)[0]}"
    if not stat.S_ISREG(status.st_mode):
        return None, f"{quote(path)} is not a regular file"
    return FileKey(device=status.st_dev, inode=status.st_ino, size_bytes=status.st_size), ""


def _scan(pid: int, log_path: str, seen_file: str, seen: FileKey | None) -> tuple[Held, str, str]:
    """How the log is held, the name of another file that is held in its place, and a fault."""
    try:
        descriptors = list(_written_files(pid))
    except OSError as error:
        return Held.UNKNOWN, "", f"cannot see the descriptors of process {pid}: {explain(error)[0]}"
    now_seen, _ = _identify(seen_file)
    if any(d.key.same_file(seen) or d.key.same_file(now_seen) for d in descriptors):
        return Held.OPEN, "", ""
    for descriptor in descriptors:
        if not _is_log(descriptor, base_name(log_path)):
            continue
        if descriptor.deleted:
            return Held.DELETED, descriptor.name, ""
        moved = not descriptor.name.endswith(log_path)
        return Held.RENAMED if moved else Held.ELSEWHERE, descriptor.name, ""
    return Held.NOT_OPEN, "", ""


def _written_files(pid: int) -> Iterator[_Descriptor]:
    """The regular files that ``pid`` holds open for writing, standard streams apart. Raises OSError."""
    for entry in sorted(Path(f"/proc/{pid}/fd").iterdir(), key=lambda path: int(path.name)):
        if int(entry.name) < _STANDARD_DESCRIPTORS:
            continue
        # A descriptor may be closed between any two of these looks.
        with suppress(FileNotFoundError):
            target, status = str(entry.readlink()), entry.stat()
            if stat.S_ISREG(status.st_mode) and _is_writable(pid, entry.name):
                key = FileKey(device=status.st_dev, inode=status.st_ino, size_bytes=status.st_size)
                yield _Descriptor(link=entry, target=target, key=key, links=status.st_nlink)


def _is_writable(pid: int, number: str) -> bool:
    """The access mode in the flags of /proc/PID/fdinfo/N, which are octal (proc(5))."""
    for line in Path(f"/proc/{pid}/fdinfo/{number}").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("flags:"):
            return int(line.split()[1], 8) & os.O_ACCMODE in {os.O_WRONLY, os.O_RDWR}
    return False


def _is_log(descriptor: _Descriptor, log_name: str) -> bool:
    """Whether an open file is a log of this API server: by its name, or by what it begins with, for a file can be
    given any name while it is open."""
    name = base_name(descriptor.name)
    if name == log_name or parse_generation(log_name, name) is not None:
        return True
    try:
        with descriptor.link.open("rb", buffering=0) as file:
            head = file.read(_SNIFFED_BYTES) or b""
    except OSError:
        return False
    return any(trace in head for trace in _TRACES)


def _free_bytes(directory: str) -> int | None:
    """The room that root may still use on the file system of ``directory``; None where that cannot be told."""
    try:
        system = os.statvfs(directory)
    except OSError:
        return None
    return system.f_bfree * system.f_frsize
