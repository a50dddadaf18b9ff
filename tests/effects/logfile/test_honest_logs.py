"""An honest API server is never accused, whatever rotations, restarts, failures and deletions come between; a
dishonest log is found out where the count is possible at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.counters import Agreed, Counters, CountFacts, CountResult, Mismatch, Tally, Unknown, compare
from kauditd.core.generations import Retention
from kauditd.effects.logfile import begin_count, count_lines, count_more
from tests.effects.logfile.writer import noise, rotated_name

BEGAN_S = 1_800_000_000.0
ACTIONS = st.lists(
    st.sampled_from(["write", "write", "write", "fail", "tear", "count", "rotate", "restart", "quick-restart", "look"]),
    max_size=25,
)


@dataclass
class Server:
    """One API server after the other on one log, with a clock of its own. It deletes what its retention tells it."""

    log: Path
    max_backups: int
    now_s: float = BEGAN_S
    started_s: float = BEGAN_S
    pid: int = 100
    events: int = 0
    errors: int = 0
    under_way: int = 0
    torn: bool = False
    results: list[CountResult] = field(default_factory=list)
    tally: Tally | None = None

    def do(self, action: str) -> None:
        """One thing, a tenth of a second after the last one."""
        self.now_s += 0.1
        match action:
            case "count":  # an event is counted and not yet written
                self.events += 1
                self.under_way += 1
            case "write":
                self.events += 1
                self._append(noise(1, unix_s=self.now_s))
            case "fail":
                self.events += 1
                self.errors += 1
            case "tear":  # ENOSPC: a part of the line stays, and the next line goes on there
                self.events += 1
                self.errors += 1
                self._append(noise(1, unix_s=self.now_s)[:70])
            case "rotate":
                self._rotate()
            case "restart" | "quick-restart":
                self._restart(pause_s=10.0 if action == "restart" else 1.2)
            case _:
                self.look()

    def _append(self, content: bytes) -> None:
        with self.log.open("ab") as file:
            file.write(content)

    def _rotate(self) -> None:
        if self.log.exists():
            self.log.rename(self.log.with_name(rotated_name(self.now_s)))
            self.log.touch()
        backups = sorted(self.log.parent.glob("audit-*"))
        for old in backups[: max(0, len(backups) - self.max_backups)] if self.max_backups else []:
            old.unlink()

    def _restart(self, *, pause_s: float) -> None:
        self._finish()
        self.now_s += pause_s / 2
        self.tally = begin_count(str(self.log))
        self.now_s += pause_s / 2
        self.pid, self.started_s = self.pid + 1, self.now_s
        self.events = self.errors = 0
        self.now_s += 0.2  # no API server serves in the first moment of its life

    def _finish(self) -> None:
        self._append(noise(self.under_way, unix_s=self.now_s))
        self.under_way = 0

    def counters(self) -> Counters:
        return Counters(events=self.events, errors=(("log", self.errors),))

    def look(self) -> None:
        """Both counts, compared with the counters around them."""
        before = self.counters()
        self._finish()
        retention = Retention(max_backups=self.max_backups)
        tallies = [
            count_lines(str(self.log), started_unix_s=self.started_s, now_unix_s=self.now_s, retention=retention)
        ]
        if self.tally is not None:
            self.tally = count_more(str(self.log), self.tally)
            tallies.append(self.tally)
        life = (self.pid, self.started_s)
        self.results += [
            compare(CountFacts(before=before, tally=t, after=self.counters(), lifetimes=(life, life), settled_s=2.0))
            for t in tallies
        ]


@contextmanager
def server(max_backups: int) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "audit.log")
        log.touch()
        made = Server(log=log, max_backups=max_backups)
        made.tally = begin_count(str(log))
        yield made


@given(ACTIONS, st.integers(0, 3))
def test_an_honest_log_is_never_accused(actions: list[str], max_backups: int) -> None:
    with server(max_backups) as running:
        for action in [*actions, "look"]:
            running.do(action)

    assert running.results
    assert not [r for r in running.results if isinstance(r, Mismatch)]


@given(ACTIONS, st.integers(1, 5), st.booleans())
def test_without_retention_every_difference_is_found(actions: list[str], wrong: int, foreign: bool) -> None:
    """Everything is still there, so every count is possible, and at rest it is exact."""
    with server(0) as running:
        for action in [*actions, "restart", *["write"] * 6, "rotate", "write", "look"]:
            running.do(action)
        assert all(isinstance(r, Agreed) for r in running.results)
        if foreign:
            running._append(noise(wrong, unix_s=running.now_s))
        else:
            running.events += wrong
        running.results.clear()
        running.look()

    code = "lines-foreign" if foreign else "lines-lost"
    assert [(r.code, r.count) for r in running.results if isinstance(r, Mismatch)] == [(code, wrong)] * 2


def test_files_deleted_by_retention_before_they_were_counted() -> None:
    with server(1) as running:
        for action in ["write", "rotate", "write", "rotate", "write", "rotate", "write", "look"]:
            running.do(action)

    assert len(running.results) == 2
    assert all(isinstance(r, Unknown) for r in running.results)


def test_files_deleted_by_retention_after_they_were_counted() -> None:
    """Whoever counts often enough needs no old file."""
    with server(1) as running:
        for _ in range(5):
            for action in ["write", "write", "look", "rotate"]:
                running.do(action)
        continued = running.results[1::2]

    assert all(isinstance(r, Agreed) for r in continued)


def test_the_log_is_deleted_under_the_server() -> None:
    """Every metric stays green upstream; the lines are missing here."""
    with server(0) as running:
        for action in ["restart", *["write"] * 5]:
            running.do(action)
        held = os.open(running.log, os.O_WRONLY | os.O_APPEND)
        running.log.unlink()
        os.write(held, noise(3, unix_s=running.now_s))
        os.close(held)
        running.events += 3
        running.look()

    anew, continued = running.results
    assert isinstance(anew, Mismatch)
    assert (anew.code, anew.count) == ("lines-lost", 8)
    assert isinstance(continued, Unknown)
