"""Our state directory: last-good manifests, strip records, one small state file; and the lock.

Layout: ``manifests/<sha256>.yaml``, ``records/<sha256 of the edited text>.json``, ``state.json``. Everything is for
root alone (0700, 0600): a manifest tells an attacker where the keys are.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from kauditd.core import faults, records
from kauditd.core.model import Digest, EditRecord
from kauditd.errors import FileFault, Refused, quote

STATE_LEVEL = 1
"""The version of the state file's meaning. A reader refuses what is newer; it grows when an old reader would err."""

_NEWEST_KEPT = 20
_SIZE_LIMIT_BYTES = 16 << 20
_MANIFEST_NAME = re.compile(r"([0-9a-f]{64})\.yaml")
_RECORD_NAME = re.compile(r"([0-9a-f]{64})\.json")


class OwnFiles(Protocol):
    """What the store needs of the file system; ``effects.files`` is one."""

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        """Make ``path`` hold ``data``, whole and on disk."""
        ...

    def ensure_directory(self, path: str, mode: int) -> bool:
        """Make the directory where it is missing; True where it was."""
        ...

    def sweep(self, directory: str) -> tuple[str, ...]:
        """Remove temporary files of ours that were left there."""
        ...

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        """The whole content of a regular file."""
        ...

    def set_aside(self, path: str) -> str:
        """Rename a file that cannot be used, keeping it; its new path."""
        ...

    def remove_files(self, directory: str, names: Iterable[str]) -> None:
        """Remove files in a directory of ours."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedState:
    """The persisted state. ``moved_aside`` is where an unreadable file was put ("" normally), ``problem`` why."""

    values: Mapping[str, object]
    moved_aside: str = ""
    problem: str = ""


class Store:
    """The state directory. Not for two processes at once (see ``lock``) nor two threads."""

    def __init__(self, state_dir: str, *, files: OwnFiles) -> None:
        self._files = files
        self._root = state_dir
        self._manifests = f"{state_dir}/manifests"
        self._records = f"{state_dir}/records"
        self._state = f"{state_dir}/state.json"

    def prepare(self) -> None:
        """Make the directories that are missing, and sweep what a killed process left. Raises ``errors.FileFault``."""
        for directory in (self._root, self._manifests, self._records):
            self._files.ensure_directory(directory, 0o700)
            self._files.sweep(directory)

    def save_manifest(self, content: bytes) -> Digest:
        """Keep a last-good copy, on disk when this returns; its digest. An intact copy is not written again."""
        digest = records.digest_of(content)
        path = self._manifest_path(digest)
        if self.load_manifest(digest) is None:
            self._files.write_durably(path, content, mode=0o600)
        else:
            _touch(path)
        return digest

    def load_manifest(self, digest: Digest) -> bytes | None:
        """The copy of that digest; None where there is none or it is no longer intact (it is then no copy)."""
        content = self._read(self._manifest_path(digest))
        return content if content is not None and records.digest_of(content) == digest else None

    def save_record(self, record: EditRecord) -> None:
        """Keep what gives the bytes before the edit back, under the digest of the text after it."""
        path = self._record_path(record.after)
        data = records.dump_record(record)
        if self._read(path) == data:
            _touch(path)
        else:
            self._files.write_durably(path, data, mode=0o600)

    def load_record(self, after: Digest) -> EditRecord | None:
        """The record of the edit whose outcome has this digest; None where there is none that can be used."""
        data = self._read(self._record_path(after))
        if data is None:
            return None
        try:
            record = records.load_record(data)
        except ValueError:
            return None
        return record if record.after == after else None

    def retain(self, keep: AbstractSet[Digest]) -> tuple[str, ...]:
        """Remove copies and records except those in ``keep`` and the 20 last used of each; the paths removed."""
        removed: list[str] = []
        for directory, pattern in ((self._manifests, _MANIFEST_NAME), (self._records, _RECORD_NAME)):
            names = _stale(directory, pattern, keep)
            self._files.remove_files(directory, names)
            removed += (f"{directory}/{name}" for name in names)
        return tuple(removed)

    def save_state(self, values: Mapping[str, object]) -> None:
        """Persist ``values`` (what JSON can hold), whole and durably."""
        text = json.dumps({"level": STATE_LEVEL, "values": dict(values)}, sort_keys=True, indent=1)
        self._files.write_durably(self._state, text.encode() + b"\n", mode=0o600)

    def load_state(self) -> LoadedState:
        """The persisted values, {} on the first start.

        A file that is no state is moved aside (``state.json.corrupt-<n>``) and reported in the result, never
        silently taken for an empty one. Raises ``errors.Refused`` for one that a newer kauditd wrote, and
        ``errors.FileFault`` where it cannot be read.
        """
        try:
            data = self._files.read_small(self._state, _SIZE_LIMIT_BYTES)
        except FileFault as fault:
            if fault.errno_name == "ENOENT":
                return LoadedState(values={})
            raise
        try:
            return LoadedState(values=_parse_state(data, self._state))
        except ValueError as error:
            aside = self._files.set_aside(self._state)
            problem = f"cannot use {quote(self._state)}: {quote(str(error))}; it was moved to {quote(aside)}"
            return LoadedState(values={}, moved_aside=aside, problem=problem)

    def _read(self, path: str) -> bytes | None:
        """The file's content, None where it is missing. Raises ``errors.FileFault`` for all else."""
        try:
            return self._files.read_small(path, _SIZE_LIMIT_BYTES)
        except FileFault as fault:
            if fault.errno_name == "ENOENT":
                return None
            raise

    def _manifest_path(self, digest: Digest) -> str:
        return f"{self._manifests}/{_checked(digest)}.yaml"

    def _record_path(self, digest: Digest) -> str:
        return f"{self._records}/{_checked(digest)}.json"


@contextmanager
def lock(path: str) -> Iterator[None]:
    """Hold the lock file ``path`` (flock): one kauditd per node writes.

    Never waits: raises ``errors.Refused`` naming the holder where it is held, ``errors.FileFault`` where the file
    cannot be had. The kernel drops the lock with the process, so a crash leaves none behind.
    """
    with faults.translated("lock", path):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o600)
    try:
        with faults.translated("lock", path):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise _held(path, descriptor) from error
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _held(path: str, descriptor: int) -> Refused:
    text = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
    holder = f"pid {text}" if text.isdecimal() else "another process"
    hint = "one kauditd at a time may write on a node; ask it with kauditctl, or stop it first"
    return Refused(f"cannot lock {quote(path)}: held by {holder}", hint=hint)


def _parse_state(data: bytes, path: str) -> Mapping[str, object]:
    """The values, or ValueError saying what is wrong."""
    document = json.loads(data)
    level = document.get("level") if isinstance(document, dict) else None
    if type(level) is not int or level < 1:
        raise ValueError("it has no level")
    if level > STATE_LEVEL:
        message = f"cannot use {quote(path)}: its level {level} is newer than this kauditd's {STATE_LEVEL}"
        raise Refused(message, hint="install the newer kauditd again, or move the file away to start without history")
    match document:
        case {"values": dict(values)}:
            return values
        case _:
            raise ValueError("it has no values")


def _stale(directory: str, pattern: re.Pattern[str], keep: AbstractSet[Digest]) -> tuple[str, ...]:
    """The names that nobody keeps and that are not among the last used."""
    aged: list[tuple[int, str, str]] = []
    with faults.translated("list", directory), os.scandir(directory) as entries:
        for entry in entries:
            matched = pattern.fullmatch(entry.name)
            if matched:
                aged.append((entry.stat(follow_symlinks=False).st_mtime_ns, matched[1], entry.name))
    aged.sort(reverse=True)
    return tuple(name for _, digest, name in aged[_NEWEST_KEPT:] if digest not in keep)


def _touch(path: str) -> None:
    """Mark a copy as used now. Where that fails it only ages sooner, but it is told like every fault."""
    with faults.translated("touch", path):
        os.utime(path)


def _checked(digest: Digest) -> Digest:
    """A digest makes a file name, so nothing but a digest may."""
    if not records.is_digest(digest):
        raise FileFault(f"cannot name a file: {quote(digest)} is not a digest", path=digest)
    return digest
