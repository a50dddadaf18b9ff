"""The journal of changes on disk: one JSON object per line, only ever appended to.

A record is on disk when ``append`` returns. A crash can leave half a last line; the next append cuts it off. A line
that is no record (a bad sector, an editor) is skipped and counted, never a reason to lose the good ones.
"""

from dataclasses import dataclass
from typing import Protocol

from kauditd.core import history, ndjson
from kauditd.core.history import Record
from kauditd.errors import FileFault

_READ_LIMIT_BYTES = 64 << 20
_SIDE_LIMIT_BYTES = 1 << 20


class OwnFiles(Protocol):
    """What the journal needs of the file system; ``effects.files`` is one."""

    def append_line(self, path: str, line: bytes, *, sync: bool) -> int:
        """Add a line, healing a torn end first; the file's size then."""
        ...

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        """Make ``path`` hold ``data``, whole and on disk."""
        ...

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        """The whole content of a regular file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The records in order; ``torn`` where the last line is incomplete; ``skipped`` lines that are no records."""

    records: tuple[Record, ...]
    torn: bool = False
    skipped: int = 0


class Journal:
    """The journal file at ``path`` (0600), in a directory that exists. For one process and one thread at a time.

    Above ``limit_bytes`` it is rewritten with the newest ``keep_changes`` changes and every open one; ``problem``
    says why that failed ("" normally), for the journal works on without it.
    """

    def __init__(self, path: str, *, files: OwnFiles, limit_bytes: int = 4 << 20, keep_changes: int = 500) -> None:
        self._path = path
        self._files = files
        self._limit_bytes = limit_bytes
        self._keep_changes = keep_changes
        self._floor_bytes = 0
        self.problem = ""

    def append(self, record: Record, *, sync: bool = True) -> None:
        """Add ``record`` by one write; with ``sync`` it is on disk when this returns.

        Raises ``errors.FileFault``: the record is then not to be relied on, and what was there before still is.
        """
        size_bytes = self._files.append_line(self._path, ndjson.line_of(record), sync=sync)
        if size_bytes > max(self._limit_bytes, 2 * self._floor_bytes):
            self._try_to_compact(size_bytes)

    def load(self) -> Loaded:
        """Everything that can be read; no records where there is no file. Changes nothing on disk.

        Raises ``errors.FileFault`` where there is a file that cannot be read.
        """
        data = self._read(self._path, _READ_LIMIT_BYTES)
        records, garbage, torn = ndjson.parse(data)
        return Loaded(records=records, torn=torn, skipped=len(garbage))

    def compact(self) -> None:
        """Rewrite the file with the newest changes; crash-safe. Lines that are no records go to ``<path>.skipped``."""
        data = self._read(self._path, _READ_LIMIT_BYTES)
        records, garbage, _ = ndjson.parse(data)
        if garbage:
            self._set_aside(garbage)
        keep = self._keep_changes
        kept = ndjson.lines_of(history.compact(records, keep_changes=keep))
        while len(kept) > self._limit_bytes // 2 and keep > 1:
            keep //= 2
            kept = ndjson.lines_of(history.compact(records, keep_changes=keep))
        self._files.write_durably(self._path, kept, mode=0o600)
        self._floor_bytes = len(kept)
        self.problem = ""

    def _try_to_compact(self, size_bytes: int) -> None:
        """The record is safe by now, so a fault here is kept in ``problem``; next try at twice the size."""
        try:
            self.compact()
        except FileFault as fault:
            self._floor_bytes = size_bytes
            self.problem = fault.message

    def _set_aside(self, garbage: tuple[bytes, ...]) -> None:
        path = f"{self._path}.skipped"
        known = self._read(path, 2 * _SIDE_LIMIT_BYTES)
        content = ndjson.set_aside(known, garbage, limit_bytes=_SIDE_LIMIT_BYTES)
        if content is not None:
            self._files.write_durably(path, content, mode=0o600)

    def _read(self, path: str, limit_bytes: int) -> bytes:
        try:
            return self._files.read_small(path, limit_bytes)
        except FileFault as fault:
            if fault.errno_name == "ENOENT":
                return b""
            raise
