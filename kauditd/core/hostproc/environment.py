"""The variables that a unit's command line may name: ``Environment=`` and the files of ``EnvironmentFile=``.

``parse_environment_file`` follows systemd's src/basic/env-file.c character by character: it is no shell.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from kauditd.core.hostproc.source import EnvironmentFile, UnitSource
from kauditd.core.hostproc.syntax import WHITESPACE, Assignment, accumulated, refuse
from kauditd.core.hostproc.words import BadWords, Dialect, resolve_specifiers, split

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LINE_ENDS = "\n\r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """``values`` as far as they are known; ``passed`` names what systemd hands over from its own environment."""

    values: dict[str, str]
    passed: frozenset[str]

    def unknown(self, name: str) -> bool:
        """Whether the variable may be set to something that stands in no file."""
        return name in self.passed and name not in self.values


def environment_patterns(found: Sequence[Assignment], unit: str) -> tuple[tuple[str, bool], ...]:
    """The files that the unit names, in order: path or glob(7) pattern, and whether it may be missing."""
    patterns = []
    for item in accumulated(found, "EnvironmentFile"):
        with suppress(BadWords):  # systemd ignores the line
            path = resolve_specifiers(item.value.removeprefix("-"), unit)
            patterns.append((path, item.value.startswith("-")))
    return tuple(patterns)


def environment_of(found: Sequence[Assignment], source: UnitSource) -> Environment:
    """The variables of the service: files win over ``Environment=``, the later of two wins. Raises ManifestRefused."""
    values: dict[str, str] = {}
    for item in accumulated(found, "Environment"):
        # systemd keeps what it has read of a line before the fault.
        with suppress(BadWords):
            for token in split(item.value, Dialect.ASSIGNMENT):
                values |= _assigned(token.text, source.name)
    for pattern, _ in environment_patterns(found, source.name):
        for file in source.environment_files:
            if file.pattern == pattern:
                values |= _of_file(file)
    passed = {name for item in accumulated(found, "PassEnvironment") for name in item.value.split()}
    for item in accumulated(found, "UnsetEnvironment"):
        for word in item.value.split():
            name, equals, value = word.partition("=")
            if not equals or values.get(name) == value:
                values.pop(name, None)
                passed.discard(name)
    return Environment(values=values, passed=frozenset(passed))


def _assigned(text: str, unit: str) -> dict[str, str]:
    """What one word of an ``Environment=`` sets, nothing where it is no assignment."""
    try:
        name, equals, value = resolve_specifiers(text, unit).partition("=")
    except BadWords:
        return {}
    return {name: value} if equals and _NAME.fullmatch(name) else {}


def _of_file(file: EnvironmentFile) -> dict[str, str]:
    if file.content is None:
        return {}
    try:
        text = file.content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise refuse(file.path, 0, "it is not UTF-8", code="bad-environment") from error
    values = parse_environment_file(text)
    if values != parse_environment_file(text, comments_continue=True):
        cause = "a comment ends in a backslash, and before systemd 254 the next line is a part of it"
        raise refuse(file.path, 0, cause, code="bad-environment", hint="take the backslash away")
    return values


def parse_environment_file(text: str, *, comments_continue: bool = False) -> dict[str, str]:
    """The variables of an environment file; invalid names are left out, as systemd does.

    ``comments_continue``: as systemd before 254, where a backslash at its end carries a comment over the line.
    """
    values: dict[str, str] = {}
    position = 0
    while position < len(text):
        if text[position] in WHITESPACE:
            position += 1
        elif text[position] in "#;":
            position = _comment_end(text, position, continues=comments_continue)
        else:
            name, value, position = _entry(text, position)
            if value is not None and _NAME.fullmatch(name):
                values[name] = value
    return values


def _comment_end(text: str, position: int, *, continues: bool) -> int:
    while position < len(text) and text[position] not in _LINE_ENDS:
        position += 2 if continues and text[position] == "\\" else 1
    return position


def _entry(text: str, start: int) -> tuple[str, str | None, int]:
    """Name, value and end of the entry at ``start``; the value is None for a line without ``=``."""
    position = start + 1  # whatever its first character is, "=" too, it belongs to the name
    while position < len(text) and text[position] not in "=" + _LINE_ENDS:
        position += 1
    name = text[start:position].rstrip(WHITESPACE)
    if position == len(text) or text[position] != "=":
        return name, None, position
    value, position = _value(text, position + 1)
    return name, value, position


def _value(text: str, position: int) -> tuple[str, int]:
    """The value that begins behind ``=``. Blanks before it and around quoted parts do not count, nor at its end."""
    made, bare, blanks = "", False, 0
    while position < len(text) and text[position] not in _LINE_ENDS:
        character = text[position]
        position += 1
        if not bare and character in "'\"":
            read = _single if character == "'" else _double
            piece, position = read(text, position)
            made, blanks = made + piece, 0
        elif character == "\\":
            bare, blanks = True, 0
            made += "" if text[position : position + 1] in ("\n", "\r") else text[position : position + 1]
            position += 1
        elif bare or character not in WHITESPACE:
            bare = True
            blanks = blanks + 1 if character in WHITESPACE else 0
            made += character
    return made[: len(made) - blanks], position


def _single(text: str, position: int) -> tuple[str, int]:
    end = text.find("'", position)
    return (text[position:], len(text)) if end < 0 else (text[position:end], end + 1)


def _double(text: str, position: int) -> tuple[str, int]:
    return "".join(_double_pieces(text, position)), _double_end(text, position)


def _double_end(text: str, position: int) -> int:
    while position < len(text) and text[position] != '"':
        position += 2 if text[position] == "\\" else 1
    return min(position + 1, len(text))


def _double_pieces(text: str, position: int) -> Iterator[str]:
    while position < len(text) and text[position] != '"':
        character = text[position]
        if character != "\\":
            yield character
            position += 1
            continue
        escaped = text[position + 1 : position + 2]
        if escaped in tuple('"\\`$'):
            yield escaped
        elif escaped not in ("\n", ""):
            yield character + escaped
        position += 2
