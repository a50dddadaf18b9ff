"""YAML text that people write -> values that know their line and column.

One reader serves settings and policies. It walks ruamel.yaml's events instead of composing a document, so that
depth, number of values and expansion of aliases are bounded while they are read: no file, however hostile, makes it
recurse, hang or fill memory. What YAML 1.1 (the API server's go-yaml) and YAML 1.2 (ruamel) may read differently is
never guessed at: see ``plain_kind``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from kauditd.errors import BadFile, KauditError, Problem, quote

MAX_DEPTH = 32
MAX_NODES = 50_000

PlainKind = Literal["null", "bool", "int", "float", "ambiguous", "str"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One scalar. ``plain`` = written without quotes, so that its text may mean something other than a string.

    ``line`` and ``column`` count from 1, as in every node. ``spread`` = a plain scalar folded over several lines.
    """

    line: int
    column: int
    text: str
    plain: bool = False
    spread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list of nodes. ``size`` counts the nodes below, aliases expanded."""

    line: int
    column: int
    items: tuple["Node", ...]
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """Key and value pairs in document order. Duplicate keys are still there: whoever knows their names reports them."""

    line: int
    column: int
    entries: tuple[tuple[Scalar, "Node"], ...]
    size: int


Node = Scalar | Sequence | Mapping


class Fault(KauditError):
    """What stops the reading, with its place; becomes a ``BadFile`` that names the file before it leaves ``core``."""

    kind = "bad-request"

    def __init__(self, message: str, *, line: int = 0, column: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.line = line
        self.column = column

    def bad_file(self, file: str) -> BadFile:
        """The same as an error that names ``file``."""
        problem = Problem(file=file, line=self.line, column=self.column, message=self.message, hint=self.hint)
        return BadFile(f"cannot read {quote(file)}: {self.message}", problems=(problem,), hint=self.hint)


_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_AMBIGUOUS = re.compile(
    r"""(?ix)
      y | n | yes | no | on | off | true | false | null      # YAML 1.1 booleans; any odd case of the others
    | = | << | [-+]?\.inf | \.nan
    | [-+]?0o?[0-7_]+ | [-+]?0b[01_]* | [-+]?0x[0-9a-f_]*    # octal, binary, hexadecimal
    | [-+]?[0-9.][0-9_,.]*(?:e[-+]?[0-9_]*)?                 # grouped, dotted and padded numbers
    | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?       # sexagesimal
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[t\s].*)?             # dates
    """
)


def plain_kind(text: str) -> PlainKind:
    """What an unquoted scalar is, where YAML 1.1 and 1.2 agree; ``ambiguous`` where any reader might differ.

    ``yes``, ``on``, ``017``, ``1_000``, ``1:20`` and ``2024-01-01`` are ambiguous: their author meant one thing, and
    which one depends on the reader (go-yaml v2 resolve.go keeps the last two as strings, YAML 1.1 does not).
    """
    if text in {"", "~", "null", "Null", "NULL"}:
        return "null"
    if text in {"true", "True", "TRUE", "false", "False", "FALSE"}:
        return "bool"
    if _INT.fullmatch(text):
        return "int"
    if _FLOAT.fullmatch(text):
        return "float"
    return "ambiguous" if _AMBIGUOUS.fullmatch(text) else "str"


def is_null(node: Node) -> bool:
    """Whether the node is an unquoted null, written out or left empty."""
    return isinstance(node, Scalar) and node.plain and plain_kind(node.text) == "null"


_KIND_NAMES: dict[PlainKind, str] = {
    "null": "nothing (null)",
    "bool": "the boolean {}",
    "int": "the number {}",
    "float": "the number {}",
    "ambiguous": "{}, which YAML readers understand differently",
    "str": "the string '{}'",
}


def describe(node: Node) -> str:
    """What a node is, in a few words fit for a message: ``the string 'x'``, ``a list``, ``nothing (null)``."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    kind = plain_kind(node.text) if node.plain else "str"
    return _KIND_NAMES[kind].replace("{}", quote(node.text, limit=60))


def nearest(word: str, known: tuple[str, ...]) -> str:
    """The hint "did you mean ..." for a word nobody knows, or the list of known words."""
    folded = {k.lower(): k for k in known}
    close = get_close_matches(word.lower()[:64], list(folded), n=1, cutoff=0.6)
    return f"did you mean {folded[close[0]]}?" if close else f"known here: {', '.join(known)}"


def decode(text: bytes, *, limit_bytes: int) -> str:
    """The characters of a file: UTF-8, a byte-order mark allowed. Raises ``Fault`` with line and column.

    Control characters and Unicode's own line breaks are refused: go-yaml counts NEL, LS and PS as line breaks, YAML
    1.2 does not, so a comment might end where its author did not see it end.
    """
    if len(text) > limit_bytes:
        raise Fault(f"it has {len(text)} bytes, at most {limit_bytes} are read", hint="is this the right file?")
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line, column = _place(text[: exc.start].decode("utf-8", "replace"))
        raise Fault("it is not UTF-8", line=line, column=column, hint="save the file as UTF-8") from exc
    odd = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", decoded)
    if odd:
        line, column = _place(decoded[: odd.start()])
        raise Fault(f"it contains the control character {odd.group()!a}", line=line, column=column, hint="remove it")
    return decoded


def read_yaml(text: bytes, *, file: str, limit_bytes: int, aliases: bool = False) -> Node | None:
    """The one document of a YAML file, or None where it holds nothing but comments.

    Refused with a ``BadFile`` naming the place: anything that is not YAML, tabs outside of quotes and comments, a
    second document, directives, tags, merge keys, keys that are not scalars, anchors unless ``aliases``, and more
    than MAX_DEPTH levels or MAX_NODES values (aliases expanded).
    """
    try:
        decoded = decode(text, limit_bytes=limit_bytes)
        return _Builder(aliases=aliases).build(decoded)
    except Fault as fault:
        raise fault.bad_file(file) from fault


def _place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows ``before``."""
    lines = re.split("\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1


def _events(text: str) -> Iterator[Any]:
    """ruamel.yaml's events, with whatever it raises on broken input turned into a ``Fault``."""
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        cause = quote(" ".join(str(part) for part in (exc.context, exc.problem) if part))
        tab = "\t" in _line(text, line)
        hint = "YAML does not allow tabs here: use spaces" if tab else "check indentation, quotes and brackets"
        raise Fault(f"it is not valid YAML: {cause}", line=line, column=column, hint=hint) from exc
    except (
        YAMLError,
        ValueError,
        LookupError,
        ArithmeticError,
        TypeError,
        AttributeError,
        AssertionError,
        RuntimeError,
    ) as exc:
        # Beside its own errors ruamel lets a few accidents through, for example chr() of an escape out of range.
        raise Fault(f"it is not valid YAML: {quote(str(exc))}", hint="check escapes and brackets") from exc


def _line(text: str, number: int) -> str:
    lines = re.split("\r\n|\r|\n", text)
    return lines[number - 1] if 0 < number <= len(lines) else ""


class _Open:
    """A collection whose end has not been read yet."""

    __slots__ = ("anchor", "column", "is_mapping", "line", "nodes", "size")

    def __init__(self, event: Any) -> None:
        self.is_mapping = isinstance(event, MappingStartEvent)
        self.line, self.column = _start(event)
        self.anchor: str | None = event.anchor
        self.nodes: list[Node] = []
        self.size = 0

    def close(self) -> Node:
        if not self.is_mapping:
            return Sequence(line=self.line, column=self.column, items=tuple(self.nodes), size=self.size)
        entries: list[tuple[Scalar, Node]] = []
        for key, value in zip(self.nodes[::2], self.nodes[1::2], strict=True):
            entries.append((_key(key), value))
        return Mapping(line=self.line, column=self.column, entries=tuple(entries), size=self.size)


def _start(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def _key(node: Node) -> Scalar:
    """A mapping's key: a scalar that is no merge key."""
    if not isinstance(node, Scalar):
        raise Fault("a key is a list or a mapping", line=node.line, column=node.column, hint="keys are plain words")
    if node.plain and node.text == "<<":
        raise Fault("merge keys are not read", line=node.line, column=node.column, hint="write the keys out")
    return node


class _Builder:
    """Turns events into nodes with a stack of its own, counting as it goes."""

    def __init__(self, *, aliases: bool) -> None:
        self._aliases = aliases
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._documents = 0
        self._count = 0

    def build(self, text: str) -> Node | None:
        for event in _events(text):
            match event:
                case DocumentStartEvent():
                    self._start_document(event)
                case ScalarEvent() | SequenceStartEvent() | MappingStartEvent():
                    self._start_node(event)
                case AliasEvent():
                    self._add(self._resolve(event), event)
                case SequenceEndEvent() | MappingEndEvent():
                    opened = self._stack.pop()
                    self._finish(opened.close(), opened.anchor, event)
                case _:
                    pass
        return self._root

    def _start_document(self, event: DocumentStartEvent) -> None:
        line, column = _start(event)
        if event.version or event.tags:
            raise Fault("directives are not read", line=line, column=column, hint="remove the line that begins with %")
        self._documents += 1
        if self._documents > 1:
            hint = "the API server and kauditd read one document: remove the others and their --- line"
            raise Fault("a second YAML document begins here", line=line, column=column, hint=hint)

    def _start_node(self, event: Any) -> None:
        line, column = _start(event)
        if event.tag is not None:
            hint = "remove the tag; put quotes around what is a string"
            raise Fault(f"the tag {quote(event.tag, limit=60)} is not read", line=line, column=column, hint=hint)
        if event.anchor is not None and (not self._aliases or event.anchor in self._anchors):
            why = "is given twice" if self._aliases else "is not allowed here"
            name = quote(event.anchor, limit=60)
            raise Fault(f"the anchor &{name} {why}", line=line, column=column, hint="write the value out")
        if not isinstance(event, ScalarEvent):
            if len(self._stack) >= MAX_DEPTH:
                raise Fault(f"it is nested deeper than {MAX_DEPTH} levels", line=line, column=column)
            self._stack.append(_Open(event))
            return
        plain = bool(event.implicit[0])
        spread = plain and event.end_mark.line > event.start_mark.line and bool(event.value)
        if plain and "\t" in event.value:
            raise Fault("a tab stands in unquoted text", line=line, column=column, hint="use spaces, or quotes")
        node = Scalar(line=line, column=column, text=event.value, plain=plain, spread=spread)
        self._finish(node, event.anchor, event)

    def _resolve(self, event: AliasEvent) -> Node:
        line, column = _start(event)
        name = str(event.anchor)
        if name not in self._anchors:
            hint = "put quotes around a * that is meant literally" if self._aliases else "write the value out"
            raise Fault(f"no anchor for the alias *{quote(name, limit=60)}", line=line, column=column, hint=hint)
        return self._anchors[name]

    def _finish(self, node: Node, anchor: str | None, event: Any) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node, event)

    def _add(self, node: Node, event: Any) -> None:
        self._count += 1
        size = 1 if isinstance(node, Scalar) else node.size + 1
        if not self._stack:
            self._root = node
            return
        self._stack[-1].nodes.append(node)
        self._stack[-1].size += size
        if self._count > MAX_NODES or self._stack[-1].size > MAX_NODES:
            line, column = _start(event)
            raise Fault(f"it holds more than {MAX_NODES} values", line=line, column=column)
