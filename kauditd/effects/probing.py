"""The questions to the API server in a short-lived child process.

TLS costs the daemon's memory for ever (libssl, libcrypto, a context), and it is needed once in a quarter of a minute.
So the child pays for it: it starts, asks, prints one line of JSON and ends. It runs ``effects.probe``. What it is
asked goes through a pipe where secrets may be in it: arguments are there for everybody to read.
"""

import asyncio
import json
import sys
import time
from contextlib import suppress

from kauditd.core.canary import CanaryAnswer
from kauditd.core.counters import CountersAnswer
from kauditd.core.observed import HealthFacts
from kauditd.core.question import Answers, Question, dump_question, load_answers
from kauditd.errors import KauditError

_START_S = 5.0
_LINE_LIMIT_BYTES = 1 << 16
_PROGRAM = "kauditd.effects.probe"
_NOT_IN_TIME = "the probe did not end in time"
_NO_ANSWER = "the probe ended without an answer"


async def probe_in_child(address: str, port: int, *, timeout_s: float) -> HealthFacts:
    """What ``effects.probe.probe`` answers. Never raises but when cancelled; the child never outlives the call."""
    line = await _run(address, str(port), str(timeout_s), timeout_s=timeout_s)
    return HealthFacts(livez=None, readyz=None, detail=_NOT_IN_TIME) if line is None else _read(line)


async def ask_in_child(question: Question) -> Answers:
    """What ``effects.probe.ask`` answers, by one child. Never raises but when cancelled; the child never outlives the
    call. A child that fails gives an answer without status for each thing that was wanted."""
    asked_unix_s = time.time()
    line = await _run(given=dump_question(question), timeout_s=question.timeout_s)
    if line is None:
        return _failed(question, asked_unix_s, _NOT_IN_TIME)
    try:
        return load_answers(line)
    except (ValueError, KauditError):
        return _failed(question, asked_unix_s, _NO_ANSWER)


async def _run(*arguments: str, given: bytes | None = None, timeout_s: float) -> bytes | None:
    """The line that the child prints; None where it did not end in time."""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        child = await asyncio.create_subprocess_exec(
            *_command(), *arguments, stdin=null if given is None else pipe, stdout=pipe, stderr=null
        )
    except OSError:
        # No memory or no process number left on the node: that is no answer, and no reason to fall over.
        return b""
    try:
        async with asyncio.timeout(timeout_s + _START_S):
            line, _ = await child.communicate(given)
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            if child.returncode is None:
                child.kill()
                await child.wait()
    return line[:_LINE_LIMIT_BYTES]


def _failed(question: Question, asked_unix_s: float, detail: str) -> Answers:
    """No status for anything that was wanted."""
    now_unix_s = time.time()
    health = HealthFacts(livez=None, readyz=None, detail=detail) if question.health else None
    canary = CanaryAnswer(status=None, asked_unix_s=asked_unix_s, answered_unix_s=now_unix_s, detail=detail)
    counters = CountersAnswer(
        status=None, counters=None, asked_unix_s=asked_unix_s, answered_unix_s=now_unix_s, detail=detail
    )
    return Answers(
        health=health,
        canary=canary if question.canary is not None else None,
        counters=counters if question.counters else None,
    )


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
            return HealthFacts(livez=None, readyz=None, detail=_NO_ANSWER)
