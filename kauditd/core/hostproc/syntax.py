"""The grammar of unit files, as systemd's src/shared/conf-parser.c reads it: sections, comments, continuation lines."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kauditd.core.hostproc.source import UnitFile
from kauditd.errors import ManifestRefused, quote

LIMIT_BYTES = 1 << 20
WHITESPACE = " \t\n\r"
_COMMENTS = ("#", ";")
_BOM = "\ufeff"
_LINE_END = re.compile(r"\r\n|\n\r|[\r\n]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """One ``key=value`` of a section; ``line`` counts from 1 in the file at ``path`` and is where it begins."""

    section: str
    key: str
    value: str
    path: str
    line: int


def assignments(file: UnitFile) -> Iterator[Assignment]:
    """The assignments of one file, in order. Lines that systemd ignores with a warning are left out.

    Raises ManifestRefused where systemd would not load the unit, or where two of its releases read it differently.
    """
    section = ""
    for number, line in _logical_lines(file):
        text = line.strip(WHITESPACE)
        if text.startswith("["):
            if not text.endswith("]"):
                raise refuse(file.path, number, f"the section header {quote(text)} is not closed")
            section = text[1:-1]
            continue
        key, equals, value = text.partition("=")
        if section and equals and key.strip(WHITESPACE):
            yield Assignment(
                section=section,
                key=key.strip(WHITESPACE),
                value=value.strip(WHITESPACE),
                path=file.path,
                line=number,
            )


def accumulated(found: Iterable[Assignment], key: str) -> list[Assignment]:
    """The assignments of a list-valued ``key`` that are in force: an empty one clears what came before it."""
    kept: list[Assignment] = []
    for item in found:
        if item.key == key:
            kept = [*kept, item] if item.value else []
    return kept


def last_value(found: Iterable[Assignment], key: str) -> str:
    """The value in force of a single-valued ``key``, "" where it is not set."""
    value = ""
    for item in found:
        if item.key == key:
            value = item.value
    return value


def refuse(path: str, line: int, cause: str, *, code: str = "bad-unit", hint: str = "") -> ManifestRefused:
    """The refusal of a unit for something in one of its files."""
    place = f"{quote(path)}:{line}" if line else quote(path)
    return ManifestRefused(f"cannot edit the API server's unit: {place}: {cause}", code=code, line=line, hint=hint)


def _logical_lines(file: UnitFile) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined: the backslash becomes a blank, comments in between do not count."""
    joined, began = "", 0
    for number, line in enumerate(_LINE_END.split(_decode(file)), start=1):
        bare = line.strip(WHITESPACE)
        if bare.startswith(_COMMENTS):
            continue
        began = began or number
        if _continues(line):
            # The kept indentation matters inside quotes only; systemd.syntax(7) replaces the backslash alone.
            joined += line[:-1] + " "
            continue
        whole, joined = joined + line, ""
        if whole.strip(WHITESPACE):
            yield began, whole
        began = 0
    if joined.strip(WHITESPACE):
        yield began, joined


def _decode(file: UnitFile) -> str:
    if len(file.content) > LIMIT_BYTES:
        raise refuse(file.path, 0, f"it is larger than {LIMIT_BYTES} bytes", code="too-large")
    try:
        text = file.content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = file.content.count(b"\n", 0, error.start) + 1
        hint = "systemd ignores such a line; save the file as UTF-8"
        raise refuse(file.path, line, "it is not UTF-8", code="not-utf8", hint=hint) from error
    if "\0" in text:
        raise refuse(file.path, text.count("\n", 0, text.index("\0")) + 1, "it holds a NUL character")
    return text.removeprefix(_BOM)


def _continues(line: str) -> bool:
    """Whether a line ends in a backslash that no other backslash escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1
