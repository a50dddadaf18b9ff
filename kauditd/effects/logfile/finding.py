"""Looking for one event in a log that is being written and rotated."""

import time
from collections.abc import Iterator

from kauditd.core.canary import Canary, CanaryAnswer, Event, Found, match_line
from kauditd.core.generations import Position
from kauditd.effects.logfile.opening import OpenFile, opened, path_of, rotated

LIMIT_BYTES = 64 << 20
"""How much one search reads at most; a question and its event are kilobytes apart, on a busy server megabytes."""

_PENDING_BYTES = 1 << 20
_KEPT_BYTES = 1 << 16


def find_event(
    path: str, canary: Canary, answer: CanaryAnswer, *, since: Position | None, limit_bytes: int = LIMIT_BYTES
) -> Found | None:
    """The event of ``canary`` in the log ``path``, the latest stage of it that is there; None: not (yet) there.

    ``since`` is what ``mark`` gave before the request was sent. The live file is read from there; where it was rotated
    meanwhile, the rotated files are read too, the newest first, back to the one that ``since`` lies in. Files that
    were rotated before the question are left alone. Only lines that end in a newline count.
    Raises OSError where the live file cannot be read.
    """
    budget = _Budget(limit_bytes)
    seen: set[tuple[int, int]] = set()
    with opened(path) as file:
        if file is not None:
            seen.add((file.key.device, file.key.inode))
            found, reached = _search(file, canary, answer, since, budget)
            if found is not None or reached:
                return found
    for generation in reversed(rotated(path)):
        if generation.rotated_unix_s < answer.timeframe.not_before_unix_s or budget.left_bytes <= 0:
            return None
        try:
            with opened(path_of(path, generation), generation) as file:
                if file is None or (file.key.device, file.key.inode) in seen:
                    continue
                found, reached = _search(file, canary, answer, since, budget)
        except OSError:
            continue
        if found is not None or reached:
            return found
    return None


class _Budget:
    """How much may still be read."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_bytes = limit_bytes


def _search(
    file: OpenFile, canary: Canary, answer: CanaryAnswer, since: Position | None, budget: _Budget
) -> tuple[Found | None, bool]:
    """What one file holds, and whether it is the file that ``since`` lies in, so that older ones need no look."""
    reached = since is not None and file.holds(since)
    start = since.offset_bytes if since is not None and reached else 0
    file.seek(start)
    found: Found | None = None
    for place, block in _whole_lines(file, start, budget):
        for event, offset, length in _matches(block, place, canary, answer):
            found = Found(
                event=event,
                file=file.path,
                position=file.position(offset),
                length_bytes=length,
                latency_s=max(0.0, time.time() - answer.asked_unix_s),
            )
    return found, reached


def _matches(block: bytes, place: int, canary: Canary, answer: CanaryAnswer) -> Iterator[tuple[Event, int, int]]:
    """The canary's events in a block of whole lines, each with the place and the length of its line."""
    if canary.audit_id.encode() not in block:
        return
    start = 0
    while start < len(block):
        end = block.index(b"\n", start) + 1
        event = match_line(block[start : end - 1], canary, answer.timeframe)
        if event is not None:
            yield event, place + start, end - start
        start = end


def _whole_lines(file: OpenFile, start: int, budget: _Budget) -> Iterator[tuple[int, bytes]]:
    """Blocks of whole lines with the place where each begins. Of a line without end only the last bytes are kept."""
    pending, place = b"", start
    while budget.left_bytes > 0 and (chunk := file.read()):
        budget.left_bytes -= len(chunk)
        pending += chunk
        end = pending.rfind(b"\n") + 1
        if end:
            yield place, pending[:end]
            pending, place = pending[end:], place + end
        if len(pending) > _PENDING_BYTES:
            place += len(pending) - _KEPT_BYTES
            pending = pending[-_KEPT_BYTES:]
