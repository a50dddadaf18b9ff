"""The files of a log: the names that rotation gives, their order, and places inside them.

Upstream: natefinch/lumberjack v2 (``backupName``, ``timeFromName``). A rotated file is ``<stem>-<time><ext>``, the
time in UTC with milliseconds; with compression ``.gz`` follows. Lumberjack closes before it renames, so a rotated
file is complete and never changes again, save that it may be compressed and deleted.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from kauditd.core.model import ApiServerProcess

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d\.\d{3})", re.ASCII)
_GZIP = ".gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One rotated file: its name, when it was rotated away, and whether it is compressed."""

    name: str
    rotated_unix_s: float
    compressed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKey:
    """Which file it is, whatever its name, and how long it was when looked at."""

    device: int
    inode: int
    size_bytes: int

    def same_file(self, other: "FileKey | None") -> bool:
        """Whether both are one file; the size does not matter."""
        return other is not None and (self.device, self.inode) == (other.device, other.inode)

    def __str__(self) -> str:
        return f"{self.device}:{self.inode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """A place in a file that survives its renaming.

    An inode number may be given to a new file when the old one is deleted: ``born_ns`` is when the file was made, 0
    where that is not known. And a file may be emptied and written again: ``head`` is the SHA-256 of the first
    ``head_bytes`` bytes as they were, and other bytes are another file.
    """

    device: int
    inode: int
    offset_bytes: int
    head: str = ""
    head_bytes: int = 0
    born_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """The flags that let the API server delete rotated files by itself; 0 stands for no limit."""

    max_backups: int = 0
    max_age_days: int = 0

    def may_have_deleted(self, kept: int, age_s: float) -> bool:
        """Whether a file written ``age_s`` ago may be gone while ``kept`` rotated files are there."""
        too_many = 0 < self.max_backups <= kept
        too_old = 0 < self.max_age_days * 86400 <= age_s
        return too_many or too_old


def retention_of(process: ApiServerProcess) -> Retention:
    """What the flags of ``process`` let it delete.

    An absent flag meant no limit up to Kubernetes 1.35 and means 100 files and 366 days since. It counts as a limit
    here whatever the version: to expect a deletion that never comes costs less than to overlook one.
    """
    return Retention(
        max_backups=_number(process.flag("audit-log-maxbackup"), 100),
        max_age_days=_number(process.flag("audit-log-maxage"), 366),
    )


def _number(text: str | None, default: int) -> int:
    """A flag's value as Go's strconv.ParseInt with base 0 reads it."""
    try:
        return default if text is None else int(text, 0)
    except ValueError:
        return default


def parse_generation(log_name: str, name: str) -> Generation | None:
    """``name`` as a rotated file of ``log_name`` ("audit.log"), or None where it is something else.

    The log itself is no rotated file; neither is what other tools make of it ("audit.log.1", "audit-20260101.log").
    """
    stem, extension = _split(log_name)
    plain = name.removesuffix(_GZIP)
    if not plain.startswith(f"{stem}-") or not plain.endswith(extension):
        return None
    text = plain[len(stem) + 1 : len(plain) - len(extension)]
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        rotated = datetime.strptime(":".join(found.groups()), "%Y-%m-%dT%H:%M:%S.%f").replace(tzinfo=UTC)
    except ValueError:
        return None
    return Generation(name=name, rotated_unix_s=rotated.timestamp(), compressed=plain != name)


def list_generations(log_name: str, names: Iterable[str]) -> tuple[Generation, ...]:
    """The rotated files of ``log_name`` among ``names``, the oldest first.

    Where a file and its compressed form are both there, the compressed one is not finished and does not count.
    """
    found = [g for name in names if (g := parse_generation(log_name, name)) is not None]
    plain = {g.name for g in found if not g.compressed}
    whole = [g for g in found if not (g.compressed and g.name.removesuffix(_GZIP) in plain)]
    return tuple(sorted(whole, key=lambda g: (g.rotated_unix_s, g.name)))


def _split(log_name: str) -> tuple[str, str]:
    """Stem and extension as Go's ``filepath.Ext`` sees them: the extension begins at the last dot."""
    stem, dot, extension = log_name.rpartition(".")
    return (stem, dot + extension) if dot else (log_name, "")
