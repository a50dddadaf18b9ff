"""Words of a command line in a unit: split, unquoted, expanded and quoted, by systemd's rules (systemd.syntax(7)).

The source of the rules: src/basic/extract-word.c (quotes anywhere in a word, C escapes, an unknown escape kept as it
stands), src/shared/specifier.c (``%`` and one letter), src/basic/env-util.c (``$NAME`` only as a word of its own and
split at blanks, ``${NAME}`` anywhere and never split, ``$$`` for one dollar).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.hostproc.syntax import WHITESPACE

_QUOTES = ("'", '"')
_SIMPLE_ESCAPES: Mapping[str, str] = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    '"': '"',
    "'": "'",
    "s": " ",
}
_NUMBERED_ESCAPE = re.compile(
    r"x(?P<hex>[0-9a-fA-F]{2})|u(?P<u4>[0-9a-fA-F]{4})|U(?P<u8>[0-9a-fA-F]{8})|(?P<oct>[0-7]{3})"
)
_BRACED = re.compile(r"\$\$|\$\{(?:(?P<name>[^}]*)\}|.*\Z)", re.DOTALL)
_OF_THE_NODE = frozenset("aAbBCdDEfgGhHIJlLmMoPqsStTuUvVwWyY")
_PLAIN = re.compile(r"[A-Za-z0-9_@+=:,./%$-]+")


class BadWords(ValueError):
    """A line that systemd refuses to split; the text says why."""


class Dialect(StrEnum):
    """Which of systemd's three ways of reading a backslash and a quote that is never closed."""

    COMMAND = "command"
    """``ExecStart=``: C escapes, an unknown one stays as it stands; a quote must be closed."""

    ASSIGNMENT = "assignment"
    """``Environment=``: C escapes, an unknown one is an error; a quote must be closed."""

    VARIABLE = "variable"
    """The value of ``$NAME``: a backslash takes the next character as it is; anything may be left open."""


@dataclass(frozen=True, slots=True)
class Token:
    """One word as it stands (``raw``) and what it means (``text``): unquoted, neither ``%`` nor ``$`` resolved."""

    raw: str
    text: str


def split(value: str, dialect: Dialect = Dialect.COMMAND) -> Iterator[Token]:
    """The words of a value, one after the other. Raises BadWords at the first that cannot be read."""
    position = 0
    while True:
        while position < len(value) and value[position] in WHITESPACE:
            position += 1
        if position == len(value):
            return
        token, position = _word(value, position, dialect)
        yield token


def _word(value: str, start: int, dialect: Dialect) -> tuple[Token, int]:
    text, quote, position = bytearray(), "", start
    while position < len(value):
        character = value[position]
        position += 1
        if character == "\\":
            piece, position = _escape(value, position, dialect)
            text += piece
        elif character == quote:
            quote = ""
        elif quote:
            text += character.encode("utf-8")
        elif character in WHITESPACE:
            position -= 1
            break
        elif character in _QUOTES:
            quote = character
        else:
            text += character.encode("utf-8")
    if quote and dialect != Dialect.VARIABLE:
        raise BadWords(f"a {quote} is never closed")
    return Token(value[start:position], text.decode("utf-8", "surrogateescape")), position


def _escape(value: str, position: int, dialect: Dialect) -> tuple[bytes, int]:
    """What the escape behind a backslash stands for, and where it ends."""
    character = value[position : position + 1]
    if dialect == Dialect.VARIABLE:
        return character.encode("utf-8"), position + len(character)
    if not character:
        raise BadWords("it ends in a backslash")
    if character in _SIMPLE_ESCAPES:
        return _SIMPLE_ESCAPES[character].encode(), position + 1
    match = _NUMBERED_ESCAPE.match(value, position)
    if match is not None:
        one_byte = bool(match["oct"] or match["hex"])
        number = int(match["oct"], 8) if match["oct"] else int(match["hex"] or match["u4"] or match["u8"], 16)
        if _allowed(number, one_byte=one_byte):
            return (bytes([number]) if one_byte else chr(number).encode("utf-8")), match.end()
    if dialect == Dialect.ASSIGNMENT:
        raise BadWords(f"\\{character} is no escape")
    return b"\\" + character.encode("utf-8"), position + 1


def _allowed(number: int, *, one_byte: bool) -> bool:
    """NUL, a byte above 255, a surrogate and what is beyond Unicode are no escapes."""
    if one_byte:
        return 0 < number < 256
    return 0 < number < 0x110000 and not 0xD800 <= number < 0xE000


def resolve_specifiers(text: str, unit: str) -> str:
    """``text`` with the specifiers that follow from the unit's name; the node's own (``%H``) stay as they stand.

    Raises BadWords for a letter or digit that is no specifier: systemd does not load such a command.
    """
    stem = unit.rpartition(".")[0] or unit
    prefix, at, instance = stem.partition("@")
    known = {"%": "%", "n": unit, "N": stem, "p": prefix, "i": instance if at else "", "j": prefix.rpartition("-")[2]}

    def value(match: re.Match[str]) -> str:
        letter = match[1]
        if letter in known or letter in _OF_THE_NODE or not (letter.isascii() and letter.isalnum()):
            return known.get(letter, match[0])
        raise BadWords(f"%{letter} is no specifier (%% stands for a percent sign)")

    return re.sub(r"%(.)", value, text, flags=re.DOTALL)


def is_variable(text: str) -> bool:
    """Whether a word is ``$NAME``: replaced as a whole, by any number of words."""
    return text.startswith("$") and text[1:2] not in ("{", "$")


def replace_variables(text: str, environment: Mapping[str, str]) -> str:
    """``text`` with every ``${NAME}`` replaced, one that is not set by nothing, and ``$$`` by one dollar.

    What follows a ``${`` that is never closed stays as it stands.
    """

    def value(match: re.Match[str]) -> str:
        if match["name"] is not None:
            return environment.get(match["name"], "")
        return "$" if match[0] == "$$" else match[0]

    return _BRACED.sub(value, text)


def quoted(text: str, *, expands: bool) -> str:
    """``text`` as one word of a unit's command line that means exactly ``text``.

    ``expands``: whether ``$`` is special there (it is not behind the prefix ``:``).
    """
    doubled = text.replace("%", "%%")
    if expands:
        doubled = doubled.replace("$", "$$")
    if _PLAIN.fullmatch(doubled):
        return doubled
    return f'"{"".join(_escaped(character) for character in doubled)}"'


def _escaped(character: str) -> str:
    if character in ('"', "\\"):
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
