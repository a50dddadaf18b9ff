"""Writes to the terminal: finished bytes to stdout, one line per failure to stderr, colour where it is welcome."""

import sys

from kauditd.cli.exits import NO, Failure


def write(body: bytes) -> None:
    """Writes bytes to stdout and flushes, so that a broken pipe is noticed here and not at the interpreter's end."""
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:  # the shell's >&-
        raise Failure("cannot write the answer: stdout is closed", code=NO)
    stream.write(body)
    stream.flush()


def say(line: str) -> None:
    """Writes one line of text to stdout; what the terminal cannot show is escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    write(f"{line}\n".encode(encoding, "backslashreplace"))


def report(failure: Failure) -> None:
    """The one line of a failure and its hint, on stderr."""
    lines = [f"kauditctl: {failure.message}", *([f"hint: {failure.hint}"] if failure.hint else [])]
    print(*lines, sep="\n", file=sys.stderr, flush=True)


def wants_colour() -> bool:
    """Whether stdout is a terminal that likes colour (https://no-color.org: NO_COLOR set and not empty says no)."""
    is_terminal = getattr(sys.stdout, "isatty", None)
    if is_terminal is None or not is_terminal():
        return False
    import os

    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
