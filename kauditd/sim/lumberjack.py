"""The rotating log writer of the API server: natefinch/lumberjack v2.2.1, file operation by file operation.

What matters to a reader of the log is kept exactly: the size counter that is never compared with the file again, the
rename to a name with the time of rotation in UTC, the re-open without O_APPEND, the deletion of old backups by count
and then by the time in their *name*, and the silence of every error of that clean-up.
"""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePath

MIB = 1024 * 1024
DEFAULT_MAX_SIZE_MIB = 100
BACKUP_TIME_FORMAT = "%Y-%m-%dT%H-%M-%S"


def now_utc() -> datetime:
    """The clock of a rotation; a test passes its own."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class RotationLimits:
    """Size in MiB (0 means 100, lumberjack's own default), age in days of 24 h, backups in files (0: no limit)."""

    max_size_mib: int = 0
    max_age_days: int = 0
    max_backups: int = 0

    @property
    def max_size_bytes(self) -> int:
        """The size that one write must not exceed and one file must not pass."""
        return (self.max_size_mib or DEFAULT_MAX_SIZE_MIB) * MIB


def backup_name(name: str, when: datetime) -> str:
    """``audit.log`` rotated at ``when``: ``audit-2026-07-23T18-30-00.123.log``."""
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    stamp = when.astimezone(UTC)
    return f"{stem}-{stamp.strftime(BACKUP_TIME_FORMAT)}.{stamp.microsecond // 1000:03d}{suffix}"


def backup_time(name: str, backup: str) -> datetime | None:
    """The time in the name of a backup of ``name``, or None where ``backup`` is not one."""
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    prefix = f"{stem}-"
    if not backup.startswith(prefix) or not backup.endswith(suffix) or len(backup) <= len(prefix) + len(suffix):
        return None
    text = backup[len(prefix) : len(backup) - len(suffix)]
    seconds, _, millis = text.rpartition(".")
    if len(millis) != 3 or not millis.isascii() or not millis.isdigit():
        return None
    try:
        parsed = datetime.strptime(seconds, BACKUP_TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return parsed + timedelta(milliseconds=int(millis))


class EventTooLarge(OSError):
    """One write longer than the whole file may be: lumberjack refuses it and the event is lost."""


class RotatingFile:
    """``lumberjack.Logger``: opened at the first write, rotated when the counter would pass the limit.

    Not thread-safe; the audit backend serialises writes as lumberjack's mutex does.
    """

    def __init__(self, path: str, limits: RotationLimits, *, clock: Callable[[], datetime] = now_utc) -> None:
        self._path = Path(path)
        self._limits = limits
        self._clock = clock
        self._fd = -1
        self._size_bytes = 0

    def write(self, line: bytes) -> None:
        """One event, one write. Raises OSError where the event did not reach the file whole."""
        limit = self._limits.max_size_bytes
        if len(line) > limit:
            raise EventTooLarge(f"write length {len(line)} exceeds maximum file size {limit}")
        if self._fd < 0:
            self._open_existing_or_new(len(line))
        elif self._size_bytes + len(line) > limit:
            self._rotate()
        written = os.write(self._fd, line)
        self._size_bytes += written
        if written < len(line):
            raise OSError(f"short write: {written} of {len(line)} bytes")

    def close(self) -> None:
        """Give the descriptor up; a later write opens the file again."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open_existing_or_new(self, length: int) -> None:
        self._mill()
        try:
            size = self._path.stat().st_size
        except FileNotFoundError:
            self._open_new()
            return
        if size + length >= self._limits.max_size_bytes:
            self._rotate()
            return
        try:
            self._fd = os.open(self._path, os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        except OSError:
            self._open_new()
            return
        self._size_bytes = size

    def _rotate(self) -> None:
        self.close()
        self._open_new()
        self._mill()

    def _open_new(self) -> None:
        self._path.parent.mkdir(0o755, parents=True, exist_ok=True)
        mode = 0o600
        owner = None
        with contextlib.suppress(FileNotFoundError):
            status = self._path.stat()
            mode, owner = status.st_mode & 0o7777, (status.st_uid, status.st_gid)
            self._path.rename(self._path.with_name(backup_name(self._path.name, self._clock())))
        self._fd = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, mode)
        if owner is not None and owner != (os.geteuid(), os.getegid()):
            os.fchown(self._fd, *owner)
        self._size_bytes = 0

    def _mill(self) -> None:
        """Delete what is too many or too old; every error is swallowed, as upstream's goroutine does."""
        limits = self._limits
        if not limits.max_backups and not limits.max_age_days:
            return
        with contextlib.suppress(OSError):
            entries = [path.name for path in self._path.parent.iterdir()]
            for doomed in expired(entries, name=self._path.name, limits=limits, now=self._clock()):
                with contextlib.suppress(OSError):
                    self._path.with_name(doomed).unlink()


def expired(entries: list[str], *, name: str, limits: RotationLimits, now: datetime) -> list[str]:
    """The backups of ``name`` among ``entries`` that a mill run at ``now`` deletes, a raw file and its .gz as one."""
    dated: dict[str, datetime] = {}
    for entry in entries:
        when = backup_time(name, entry.removesuffix(".gz"))
        if when is not None:
            dated[entry] = when
    newest_first = sorted(dated, key=lambda entry: (dated[entry], entry), reverse=True)
    doomed: list[str] = []
    kept: list[str] = []
    seen: set[str] = set()
    for entry in newest_first:
        seen.add(entry.removesuffix(".gz"))
        (doomed if limits.max_backups and len(seen) > limits.max_backups else kept).append(entry)
    if limits.max_age_days:
        cutoff = now - timedelta(days=limits.max_age_days)
        doomed += [entry for entry in kept if dated[entry] < cutoff]
    return doomed
