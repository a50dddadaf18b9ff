"""JSON text that people write -> the same values with line and column as ``yamltext`` gives.

The API server reads a policy whose first character is ``{`` as JSON and nothing else (apimachinery
pkg/util/yaml/decoder.go), so YAML rules must not be applied to it. Depth and number of values are bounded.
"""

import json
import re
from bisect import bisect_right

from kauditd.core.marked import MAX_DEPTH, MAX_NODES, Fault, Mapping, Node, Scalar, Sequence, decode
from kauditd.errors import quote

_BLANK = re.compile(r"[ \t\r\n]*")
_LITERAL = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_STRINGS = json.JSONDecoder()


def looks_like_json(text: bytes) -> bool:
    """Whether the API server would choose its JSON decoder: the first byte that is no space is ``{``.

    A byte-order mark is no space, so a file with one is read as YAML.
    """
    return text.decode("utf-8", "replace").lstrip().startswith("{")


def read_json(text: bytes, *, file: str, limit_bytes: int) -> Node:
    """The one value of a JSON file. Raises ``BadFile`` naming the place. Strings become quoted scalars.

    Lone surrogates are refused: Go would silently read another character (U+FFFD).
    """
    try:
        return _Reader(decode(text, limit_bytes=limit_bytes)).document()
    except Fault as fault:
        raise fault.bad_file(file) from fault


class _Reader:
    """A recursive reader whose depth is bounded by MAX_DEPTH."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._count = 0
        self._starts = [0, *(match.end() for match in re.finditer("\r\n|\r|\n", text))]

    def document(self) -> Node:
        root = self._value(0)
        if self._next():
            raise self._fault("more text follows the JSON value", "remove what stands behind the last }")
        return root

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._starts, at)
        return line, at - self._starts[line - 1] + 1

    def _fault(self, message: str, hint: str = "check commas, quotes and brackets") -> Fault:
        line, column = self._place(self._at)
        return Fault(f"it is not valid JSON: {message}", line=line, column=column, hint=hint)

    def _next(self) -> str:
        """The next character that is no blank, "" at the end."""
        blank = _BLANK.match(self._text, self._at)
        self._at = blank.end() if blank else self._at
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Node:
        self._count += 1
        if depth > MAX_DEPTH or self._count > MAX_NODES:
            raise self._fault(f"more than {MAX_DEPTH} levels or {MAX_NODES} values", "is this the right file?")
        match self._next():
            case "{":
                return self._mapping(depth)
            case "[":
                return self._sequence(depth)
            case '"':
                return self._string()
            case _:
                return self._literal()

    def _literal(self) -> Scalar:
        found = _LITERAL.match(self._text, self._at)
        if not found:
            raise self._fault("expected a value")
        line, column = self._place(self._at)
        self._at = found.end()
        return Scalar(line=line, column=column, text=found.group(), plain=True)

    def _string(self) -> Scalar:
        line, column = self._place(self._at)
        try:
            value, end = _STRINGS.raw_decode(self._text, self._at)
        except json.JSONDecodeError as exc:
            raise self._fault(quote(exc.msg)) from exc
        if re.search("[\ud800-\udfff]", value):
            raise self._fault("half of a surrogate pair", "write the whole character")
        self._at = end
        return Scalar(line=line, column=column, text=value)

    def _more(self, close: str, *, first: bool) -> bool:
        """Whether another element follows; steps over the comma, or over the closing bracket."""
        found = self._next()
        if found == close:
            self._at += 1
            return False
        if not first:
            if found != ",":
                raise self._fault(f"expected , or {close}")
            self._at += 1
            if self._next() == close:
                raise self._fault("a comma before the closing bracket")
        return True

    def _sequence(self, depth: int) -> Sequence:
        line, column = self._place(self._at)
        self._at += 1
        items: list[Node] = []
        while self._more("]", first=not items):
            items.append(self._value(depth + 1))
        return Sequence(line=line, column=column, items=tuple(items), size=len(items))

    def _mapping(self, depth: int) -> Mapping:
        line, column = self._place(self._at)
        self._at += 1
        entries: list[tuple[Scalar, Node]] = []
        while self._more("}", first=not entries):
            if self._next() != '"':
                raise self._fault("expected a key in double quotes")
            key = self._string()
            if self._next() != ":":
                raise self._fault("expected : behind the key")
            self._at += 1
            entries.append((key, self._value(depth + 1)))
        return Mapping(line=line, column=column, entries=tuple(entries), size=len(entries))
