"""Writes to the terminal: finished bytes to stdout, one line per failure to stderr, colour where it is welcome."""

import sys

from kauditd.cli.exits import Failure


def write(body: bytes) -> None:
    """Writes bytes to stdout and flushes, so that a broken pipe is noticed here and not at the interpreter's end."""
    sys.stdout.buffer.write(body)
    sys.stdout.buffer.flush()


def say(line: str) -> None:
    """Writes one line of text to stdout; what the terminal cannot show is escaped."""
    write(f"{line}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def report(failure: Failure) -> None:
    """The one line of a failure and its hint, on stderr."""
    lines = [f"kauditctl: {failure.message}", *([f"hint: {failure.hint}"] if failure.hint else [])]
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def wants_colour() -> bool:
    """Whether stdout is a terminal that likes colour (https://no-color.org: NO_COLOR set and not empty says no)."""
    if not sys.stdout.isatty():
        return False
    import os

    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
