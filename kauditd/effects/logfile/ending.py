"""How far the log reaches: the time of its newest events."""

import os
import re

from kauditd.core.canary import unix_s
from kauditd.effects.logfile.opening import opened, path_of, rotated

_TAIL_BYTES = 1 << 18
_STAGE_TIME = re.compile(rb'"stageTimestamp":"([0-9TZ:.+-]{10,40})"')


def last_event_unix_s(path: str) -> float | None:
    """The newest stage time in the last 256 KiB of whole lines, the newest rotated file's where the live one is empty.

    Lines are ordered by when they were written, their times nearly so; None where none can be read.
    """
    times = _newest(path)
    every = rotated(path) if times is None else ()
    return _newest(path_of(path, every[-1])) if every else times


def _newest(path: str) -> float | None:
    try:
        with opened(path) as file:
            if file is None:
                return None
            size = os.fstat(file.descriptor).st_size
            start = max(0, size - _TAIL_BYTES)
            tail = os.pread(file.descriptor, size - start, start)
    except OSError:
        return None
    whole = tail[: tail.rfind(b"\n") + 1]
    found = [unix_s(m.group(1).decode("ascii")) for m in _STAGE_TIME.finditer(whole)]
    return max((t for t in found if t is not None), default=None)
