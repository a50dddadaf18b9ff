"""Counting the lines of one API server's lifetime, through rotations, without reading anything twice.

A count goes on where the last one ended. It holds its place by the file, not by the name, so that a rotation in
between or in the middle loses and doubles nothing.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from kauditd.core.canary import unix_s
from kauditd.core.counters import Tally
from kauditd.core.generations import FileKey, Generation, Position, Retention
from kauditd.effects.logfile.opening import OpenFile, mark, opened, path_of, rotated

BEFORE_START_S, AFTER_START_S = 1.0, 0.1
"""Lines that are so much older or younger than the process may be its own or its predecessor's."""

_STEPS = 10_000
_LINE_END_BYTES = 1 << 16
_PENDING_BYTES = 1 << 20
_GONE = "a file of this API server's lifetime was deleted or compressed before it was counted"
_STAGE_TIME = re.compile(rb'"stageTimestamp":"([0-9TZ:.+-]{10,40})"')
_LEGACY_TIME = re.compile(rb"([0-9TZ:.+-]{10,40}) AUDIT: ")


def begin_count(path: str) -> Tally:
    """A count that begins at the end of the log now: for whoever is there before a new API server writes.

    Raises OSError where the log cannot be read.
    """
    position = mark(path)
    if position is None and (every := rotated(path)):
        with _open(path, every[-1]) as file:
            position = None if file is None else file.position(file.key.size_bytes)
    return Tally(low=0, high=0, position=position)


def count_lines(path: str, *, started_unix_s: float, now_unix_s: float, retention: Retention) -> Tally:
    """The lines in ``path`` and its rotated files that the API server started at ``started_unix_s`` wrote.

    Where its lifetime begins is told from the lines' own times, so lines of the moments around the start are counted
    in ``high`` only. Incomplete where ``retention`` may have deleted files of this lifetime. Every byte since the
    start is read, in bounded memory. Raises OSError where a file cannot be read.
    """
    with opened(path) as live:
        # Listed while the live file is held, so that a rotation in between shows in the list.
        every = rotated(path)
        files = [g for g in every if g.rotated_unix_s >= started_unix_s - BEFORE_START_S]
        first = None if live is None else live.position(0)
    if files:
        with _open(path, files[0]) as file:
            if file is None:
                return Tally(low=0, high=0, position=None, complete=False, by_clock=True, detail=_GONE)
            first = file.position(0)
    border = _Border(started_unix_s=started_unix_s, older=len(files) < len(every))

    def absorb(file: OpenFile, start: int, tally: Tally) -> Tally:
        return _add(file, start, tally) if border.crossed else _cross(file, border, tally)

    tally = _advance(path, Tally(low=0, high=0, position=first, by_clock=True), absorb)
    deleted = retention.may_have_deleted(len(every), now_unix_s - started_unix_s)
    if tally.complete and deleted and not border.older:
        return replace(tally, complete=False, detail="the first files of this API server's lifetime may be deleted")
    return tally


def count_more(path: str, tally: Tally) -> Tally:
    """``tally`` brought up to the end of the log. Raises OSError where a file cannot be read.

    Incomplete where the file that it had come to is no longer there; then count anew with ``count_lines``.
    """
    return _advance(path, tally, _add) if tally.complete else tally


@dataclass(slots=True, kw_only=True)
class _Border:
    """Where the predecessor's lines end. ``older``: a line or a file from before the start was seen."""

    started_unix_s: float
    older: bool
    crossed: bool = False

    def side(self, line: bytes) -> int:
        """-1: the predecessor's, 0: not certain, 1: this API server's."""
        found = _STAGE_TIME.findall(line[-_LINE_END_BYTES:])
        legacy = None if found else _LEGACY_TIME.match(line)
        moment = unix_s((found[-1] if found else legacy.group(1) if legacy else b"").decode("ascii"))
        if moment is None:
            return 0
        if moment < self.started_unix_s - BEFORE_START_S:
            return -1
        return 1 if moment > self.started_unix_s + AFTER_START_S else 0


def _open(path: str, generation: Generation | None) -> AbstractContextManager[OpenFile | None]:
    return opened(path) if generation is None else opened(path_of(path, generation), generation)


def _cross(file: OpenFile, border: _Border, tally: Tally) -> Tally:
    """Count from the start of ``file``; once a line is certainly ours, so is everything behind it."""
    low, high, offset = tally.low, tally.high, 0
    pending = b""
    while chunk := file.read():
        offset += len(chunk)
        if border.crossed:
            lines = chunk.count(b"\n")
            low, high = low + lines, high + lines
            continue
        *whole, pending = (pending + chunk).split(b"\n")
        for line in whole:
            if border.crossed:
                low, high = low + 1, high + 1
                continue
            match border.side(line):
                case -1:
                    border.older, low, high = True, 0, 0
                case 0:
                    high += 1
                case _:
                    border.crossed, low, high = True, low + 1, high + 1
        if len(pending) > _PENDING_BYTES:
            pending = pending[-_LINE_END_BYTES:]
    return replace(tally, low=low, high=high, position=file.position(offset))


def _add(file: OpenFile, start: int, tally: Tally) -> Tally:
    """Count the rest of ``file`` from ``start``."""
    file.seek(start)
    lines, offset = 0, start
    while chunk := file.read():
        lines += chunk.count(b"\n")
        offset += len(chunk)
    return replace(tally, low=tally.low + lines, high=tally.high + lines, position=file.position(offset))


def _advance(path: str, tally: Tally, absorb: Callable[[OpenFile, int, Tally], Tally]) -> Tally:
    """Go on file by file. Whether a file is still the live one is asked before it is read to its end, so that what
    was rotated away is complete when it is left, and a live one was counted as it stood at some moment in between."""
    if tally.position is None:
        tally = replace(tally, position=_oldest(path))
        if tally.position is None:
            return tally
    for _ in range(_STEPS):
        with _locate(path, tally.position) as file:
            if file is None:
                return replace(tally, complete=False, detail=_GONE)
            live = _is_live(path, file.key)
            tally = absorb(file, tally.position.offset_bytes, tally)
            if live:
                return tally
            found, following = _successor(path, file.key)
        if not found:
            return replace(tally, complete=False, detail=_GONE)
        if following is None:
            return tally
        tally = replace(tally, position=following)
    return replace(tally, complete=False, detail="the log is rotated faster than it can be counted")


@contextmanager
def _locate(path: str, position: Position | None) -> Iterator[OpenFile | None]:
    """The file that ``position`` lies in, whatever its name is now. The live one first: what is rotated after that
    look is in the list that is read after it."""
    for generation in _candidates(path):
        with _open(path, generation) as file:
            if file is not None and position is not None and file.holds(position):
                yield file
                return
    yield None


def _candidates(path: str) -> Iterator[Generation | None]:
    yield None
    yield from reversed(rotated(path))


def _oldest(path: str) -> Position | None:
    """The start of the oldest file, where there was no file when the count began."""
    for generation in (*rotated(path), None):
        with _open(path, generation) as file:
            if file is not None:
                return file.position(0)
    return None


def _successor(path: str, key: FileKey) -> tuple[bool, Position | None]:
    """The start of the file that followed the rotated file ``key``, None where none has been made yet. False where
    ``key`` is no longer among the rotated files: then more than that one may have gone.

    The live file is opened before the list is read: if ``key`` then is the newest rotated file, nothing lies between.
    """
    with opened(path) as live:
        following: Generation | None = None
        for generation in reversed(rotated(path)):
            with _open(path, generation) as file:
                if file is not None and key.same_file(file.key):
                    break
            following = generation
        else:
            return False, None
        if following is None:
            return True, None if live is None else live.position(0)
    with _open(path, following) as file:
        return file is not None, None if file is None else file.position(0)


def _is_live(path: str, key: FileKey) -> bool:
    with opened(path) as file:
        return file is not None and file.key.same_file(key)
