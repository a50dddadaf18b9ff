"""The health probe in a short-lived child process.

TLS costs the daemon's memory for ever (libssl, libcrypto, a context), and it is needed once in a quarter of a minute.
So the child pays for it: it starts, asks, prints one line of JSON and ends. It runs ``effects.probe``.
"""

import asyncio
import json
import sys
from contextlib import suppress

from kauditd.core.observed import HealthFacts

_START_S = 5.0
_LINE_LIMIT_BYTES = 4096
_PROGRAM = "kauditd.effects.probe"


async def probe_in_child(address: str, port: int, *, timeout_s: float) -> HealthFacts:
    """What ``effects.probe.probe`` answers. Never raises but when cancelled; the child never outlives the call."""
    child = await asyncio.create_subprocess_exec(
        *_command(),
        address,
        str(port),
        str(timeout_s),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(timeout_s + _START_S):
            line, _ = await child.communicate()
    except TimeoutError:
        return HealthFacts(livez=None, readyz=None, detail="the probe did not end in time")
    finally:
        with suppress(ProcessLookupError):
            if child.returncode is None:
                child.kill()
                await child.wait()
    return _read(line[:_LINE_LIMIT_BYTES])


def _command() -> list[str]:
    """This interpreter, isolated as we are, with our search path: a launcher sets it where no option could."""
    program = (
        f"import sys; sys.path[:] = {sys.path!a}; import runpy; runpy.run_module({_PROGRAM!r}, run_name='__main__')"
    )
    flags = [name for name, is_set in (("-I", sys.flags.isolated), ("-S", sys.flags.no_site)) if is_set]
    return [sys.executable, *flags, "-c", program]


def _read(line: bytes) -> HealthFacts:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    match value:
        case {"livez": int() | None as livez, "readyz": int() | None as readyz, "detail": str(detail)}:
            return HealthFacts(livez=livez, readyz=readyz, detail=detail)
        case _:
            return HealthFacts(livez=None, readyz=None, detail="the probe ended without an answer")
