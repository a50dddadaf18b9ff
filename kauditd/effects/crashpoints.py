"""Named points at which a test may have the process killed, as by a power cut.

The composition root hands the hook to whoever walks through such points; without ``KAUDITD_CRASH_AT`` in the
environment it does nothing.
"""

import os
import signal
from collections.abc import Callable, Mapping

from kauditd.errors import Refused, quote

VARIABLE = "KAUDITD_CRASH_AT"


def crash_point_hook(environ: Mapping[str, str]) -> Callable[[str], None]:
    """A function to call with each point's name; it kills this process (SIGKILL) at the one the variable names.

    The value is ``name``, or ``name:N`` for the N-th time it is passed (from 1). Raises ``errors.Refused`` where N
    is not a positive number.
    """
    value = environ.get(VARIABLE, "")
    if not value:
        return _pass_by
    name, _, count = value.partition(":")
    if count and not (count.isascii() and count.isdigit() and int(count) > 0):
        raise Refused(f"cannot use {VARIABLE}={quote(value)}: the count behind the colon is not a positive number")
    remaining = int(count or "1")

    def kill_here(point: str) -> None:
        nonlocal remaining
        if point != name:
            return
        remaining -= 1
        if remaining == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_here


def _pass_by(_point: str) -> None:
    """No crash is asked for."""
