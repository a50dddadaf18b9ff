"""Keeps the ledger: every look goes in, what matters goes to disk, windows and sums come out.

Owned by the engine's worker thread, with no clock of its own: times come with the looks. A look is written only when
the state changes (a process came or went, a proof failed or came back, a window opened or closed, somebody
annotated), and at most every ``HEARTBEAT_S`` as a sign of life. A power cut so loses ``HEARTBEAT_S`` plus the time
between two looks at most, and the lost time reads back as unknown.
"""

from collections.abc import Mapping
from typing import Protocol

from kauditd.core import ledger as books
from kauditd.core.ledger import Ledger
from kauditd.core.ledger_records import is_changed, load_ledger, mark_record, month_of, prune
from kauditd.core.looks import Event, EventKind, Look
from kauditd.core.ndjson import Record
from kauditd.core.passage import Limits
from kauditd.core.windows import Coverage, Window
from kauditd.errors import FileFault, Refused

HEARTBEAT_S = 60.0
"""The longest time between two records while looks come."""


class LedgerPort(Protocol):
    """Where the ledger lies; ``effects.ledger.LedgerFile`` is one. Methods raise ``errors.FileFault``."""

    def load(self) -> tuple[Mapping[str, object], ...]:
        """Every record that can be read, oldest first."""
        ...

    def append(self, record: Record) -> None:
        """Add a record; it is on disk when this returns."""
        ...

    def compact(self) -> None:
        """Rewrite the same ledger in fewer records."""
        ...


class Bookkeeper:
    """The ledger in memory and on disk. ``fault`` is the last refusal of the disk, None once all is written.

    What could not be written is kept and tried again with every look. Where the file cannot be read, nothing is
    written over it: looks are dropped, and their time reads as unknown once it can be.
    """

    def __init__(self, port: LedgerPort, *, limits: Limits | None = None, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._port = port
        self._limits = limits or Limits()
        self._heartbeat_s = heartbeat_s
        self._ledger = Ledger(limits=self._limits)
        self._written = self._ledger
        self._loaded = False
        self._month = ""
        self.fault: FileFault | None = None

    def start(self, *, at_unix_s: float) -> None:
        """Begin a run: read the file and tidy it. The time since the last record counts as not watched."""
        try:
            self._load(at_unix_s)
            self._tidy(at_unix_s)
        except FileFault as fault:
            self.fault = fault

    def stop(self) -> None:
        """End a run: put what is known on disk. ``fault`` tells where that failed."""
        if self._loaded:
            self._write()

    def note(self, look: Look) -> None:
        """Take one look in. Never raises for the disk's sake; see ``fault``."""
        if not self._loaded:
            self.start(at_unix_s=look.at_unix_s)
            if not self._loaded:
                return
        self._ledger = books.advance(self._ledger, look)
        if self._is_due(look):
            self._write()
        if month_of(look.at_unix_s) != self._month and self.fault is None:
            try:
                self._tidy(look.at_unix_s)
            except FileFault as fault:
                self.fault = fault

    def tell(self, event: Event) -> None:
        """Take in what happened beside the looks; it is written at once where it changes a window."""
        self._ledger = books.tell(self._ledger, event)
        if self._loaded and is_changed(self._ledger, self._written):
            self._write()

    def windows(self) -> tuple[Window, ...]:
        """Every window of the ledger, oldest first."""
        return self._ledger.windows

    def coverage(self) -> Coverage | None:
        """The sums; None before the first look."""
        return books.coverage(self._ledger)

    def annotate(
        self, window_id: int, *, root_cause: str | None = None, prevention: str | None = None, owner: str | None = None
    ) -> Window | None:
        """Set people's columns of a window (None leaves one as it is); None where no window has this id.

        It is on disk when this returns. Raises ``errors.FileFault`` where that fails and ``errors.Refused`` while
        the ledger cannot be read; nothing is changed then.
        """
        if not self._loaded:
            raise Refused(
                "cannot annotate: the ledger cannot be read", kind="unavailable", hint="see: kauditctl status"
            )
        before = self._ledger
        self._ledger, window = books.annotate(
            before, window_id, root_cause=root_cause, prevention=prevention, owner=owner
        )
        if window is not None:
            try:
                self._append()
            except FileFault:
                self._ledger = before
                raise
        return window

    def _load(self, at_unix_s: float) -> None:
        found = load_ledger(self._port.load(), self._limits)
        self._ledger = self._written = books.tell(found, Event(kind=EventKind.STARTED, at_unix_s=at_unix_s))
        self._loaded = True

    def _tidy(self, at_unix_s: float) -> None:
        """Once a month and at every start: the file in fewer records, the memory without what is summed up."""
        self._month = month_of(at_unix_s)
        self._ledger, self._written = prune(self._ledger), prune(self._written)
        self._port.compact()

    def _is_due(self, look: Look) -> bool:
        if self._ledger.tail is None or self._written.tail is None or self.fault is not None:
            return True
        age_s = self._ledger.tail.position_s - self._written.tail.position_s
        # A good proof is worth more than a bare sign of life: it brings one that is half due forward.
        is_proof = look.proof is not None and look.proof.ok
        if age_s >= (self._heartbeat_s / 2 if is_proof else self._heartbeat_s):
            return True
        return is_changed(self._ledger, self._written)

    def _write(self) -> None:
        try:
            self._append()
        except FileFault as fault:
            self.fault = fault

    def _append(self) -> None:
        self._port.append(mark_record(self._ledger, self._written))
        self._written = self._ledger
        self.fault = None
