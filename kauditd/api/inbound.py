"""Reads what a caller sent, strictly: known names only, bounded sizes, one meaning.

Every check refuses; none repairs. A request that two parsers could read differently (chunked, encoded, with a
duplicate key or an absolute target) has no use on a local socket.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kauditd.api.envelope import Rejected
from kauditd.errors import quote

_TARGET = re.compile(r"/[A-Za-z0-9/_.-]*(\?[A-Za-z0-9=&_.-]*)?")
_DIGITS = re.compile(r"[0-9]{1,12}")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)  # a string may lack its end, so no rescan is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """A query parameter that is a whole number inside bounds."""

    name: str
    text: str
    default: int
    minimum: int
    maximum: int

    def read(self, raw: str) -> int:
        """The value, or ``Rejected``."""
        if not _DIGITS.fullmatch(raw) or not self.minimum <= int(raw) <= self.maximum:
            hint = f"give a whole number from {self.minimum} to {self.maximum}"
            raise Rejected(f"cannot use {self.name}={quote(raw, limit=32)}: out of bounds", hint=hint)
        return int(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A query parameter that is one word of a closed set."""

    name: str
    text: str
    default: str
    words: tuple[str, ...]

    def read(self, raw: str) -> str:
        """The value, or ``Rejected``."""
        if raw not in self.words:
            hint = f"give one of: {', '.join(self.words)}"
            raise Rejected(f"cannot use {self.name}={quote(raw, limit=32)}: unknown word", hint=hint)
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A body key that is a number of seconds inside bounds, or null."""

    name: str
    text: str
    minimum: float
    maximum: float

    def read(self, raw: object) -> float | None:
        """The value, or ``Rejected``. A JSON true is not a number here."""
        if raw is None:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int | float) or not self.minimum <= raw <= self.maximum:
            hint = f"give seconds from {self.minimum:g} to {self.maximum:g}, or null"
            raise Rejected(f"cannot use {self.name}: not a number inside the bounds", hint=hint)
        return float(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A body key that is a text of at most ``limit`` characters, or null."""

    name: str
    text: str
    limit: int

    def read(self, raw: object) -> str | None:
        """The value, or ``Rejected``."""
        if raw is None:
            return None
        if not isinstance(raw, str) or len(raw) > self.limit:
            hint = f"give a text of at most {self.limit} characters, or null"
            raise Rejected(f"cannot use {self.name}: not such a text", hint=hint)
        return raw


def check_target(raw: str) -> None:
    """Only the origin form with plain characters: no absolute URI, no ``*``, no percent-encoding, no fragment."""
    if not _TARGET.fullmatch(raw):
        raise Rejected(f"cannot serve {quote(raw, limit=64)}: not a plain path")


def check_framing(headers: Mapping[str, str], *, length: int | None, takes_body: bool, limit_bytes: int) -> None:
    """Refuses every way to send a body but a bounded Content-Length, and any body where none belongs."""
    if "Transfer-Encoding" in headers:
        raise Rejected("cannot read the body: chunked bodies are not taken", status=411, hint="send Content-Length")
    if "Content-Encoding" in headers:
        raise Rejected("cannot read the body: encoded bodies are not taken", status=415, hint="send it as it is")
    if "Expect" in headers:
        raise Rejected("cannot meet Expect: not supported", status=417, hint="send the request at once")
    if "Upgrade" in headers:
        raise Rejected("cannot upgrade: not supported")
    if (length or 0) > limit_bytes:
        raise Rejected(f"cannot read the body: more than {limit_bytes} bytes", status=413)
    if length and not takes_body:
        raise Rejected("cannot read the body: this route takes none")


def read_query(pairs: Iterable[tuple[str, str]], parameters: tuple[Count | Choice, ...]) -> dict[str, int | str]:
    """Every parameter's value, defaults filled in. Unknown and repeated names are ``Rejected``."""
    known = {parameter.name: parameter for parameter in parameters}
    values: dict[str, int | str] = {}
    for name, raw in pairs:
        if name not in known:
            raise Rejected(f"cannot use parameter {quote(name, limit=32)}: unknown here")
        if name in values:
            raise Rejected(f"cannot use parameter {name}: given twice")
        values[name] = known[name].read(raw)
    return {parameter.name: values.get(parameter.name, parameter.default) for parameter in parameters}


def read_body(raw: bytes, keys: tuple[Seconds | Text, ...], *, depth: int) -> dict[str, float | str | None]:
    """The body's keys; those left out are None. An empty body is an empty object."""
    document = _parse(raw, depth=depth) if raw.strip() else {}
    if not isinstance(document, dict):
        raise Rejected("cannot read the body: not a JSON object")
    known = {key.name: key for key in keys}
    for name in document:
        if name not in known:
            raise Rejected(f"cannot use key {quote(str(name), limit=32)}: unknown here")
    return {name: key.read(document.get(name)) for name, key in known.items()}


def _parse(raw: bytes, *, depth: int) -> object:
    try:
        text = raw.decode("utf-8")
        if _nesting(text) > depth:
            raise Rejected(f"cannot read the body: nested deeper than {depth}")
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise Rejected("cannot read the body: not valid JSON") from exc


def _nesting(text: str) -> int:
    """The deepest nesting of brackets outside strings, found before a recursive parser sees them."""
    deepest = level = 0
    for mark in _TOKEN.findall(text):
        level += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, level)
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in an object")
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
