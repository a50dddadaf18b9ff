"""The ledger on disk: one JSON object per line, only ever appended to until it is compacted.

A record is on disk when ``append`` returns. A crash can leave half a last line; the next append cuts it off. What is
lost between two records is the time between them, which ``core.ledger_records`` reads back as unknown.
"""

from typing import Protocol

from kauditd.core import ledger_records, ndjson
from kauditd.core.ndjson import Record
from kauditd.errors import FileFault

_READ_LIMIT_BYTES = 64 << 20
_SIDE_LIMIT_BYTES = 1 << 20


class OwnFiles(Protocol):
    """What the ledger needs of the file system; ``effects.files`` is one."""

    def append_line(self, path: str, line: bytes, *, sync: bool) -> int:
        """Add a line, healing a torn end first; the file's size then."""
        ...

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        """Make ``path`` hold ``data``, whole and on disk."""
        ...

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        """The whole content of a regular file."""
        ...


class LedgerFile:
    """The file at ``path`` (0600), in a directory that exists. For one process and one thread at a time.

    Above ``limit_bytes`` it is compacted: finished months are summed up, every window stays. ``problem`` says why
    that failed ("" normally), for the ledger works on without it. A heartbeat a minute is about 1 MB a day.
    """

    def __init__(self, path: str, *, files: OwnFiles, limit_bytes: int = 4 << 20) -> None:
        self._path = path
        self._files = files
        self._limit_bytes = limit_bytes
        self._floor_bytes = 0
        self.problem = ""

    def append(self, record: Record) -> None:
        """Add ``record``; it is on disk when this returns.

        Raises ``errors.FileFault``: the record is then not to be relied on, and what was there before still is.
        """
        size_bytes = self._files.append_line(self._path, ndjson.line_of(record), sync=True)
        if size_bytes > max(self._limit_bytes, 2 * self._floor_bytes):
            self._try_to_compact(size_bytes)

    def load(self) -> tuple[Record, ...]:
        """Every record that can be read, oldest first; none where there is no file. Changes nothing on disk.

        Raises ``errors.FileFault`` where there is a file that cannot be read.
        """
        return ndjson.parse(self._read(self._path, _READ_LIMIT_BYTES))[0]

    def compact(self) -> None:
        """Rewrite the file in fewer records; crash-safe. Lines that are no records go to ``<path>.skipped``.

        Nothing is made where there is no file. Raises ``errors.FileFault``; the old file is then still in place.
        """
        data = self._read(self._path, _READ_LIMIT_BYTES)
        if not data:
            return
        records, garbage, _ = ndjson.parse(data)
        if garbage:
            self._set_aside(garbage)
        kept = ndjson.lines_of(ledger_records.compact(records))
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
        content = ndjson.set_aside(self._read(path, 2 * _SIDE_LIMIT_BYTES), garbage, limit_bytes=_SIDE_LIMIT_BYTES)
        if content is not None:
            self._files.write_durably(path, content, mode=0o600)

    def _read(self, path: str, limit_bytes: int) -> bytes:
        try:
            return self._files.read_small(path, limit_bytes)
        except FileFault as fault:
            if fault.errno_name == "ENOENT":
                return b""
            raise
