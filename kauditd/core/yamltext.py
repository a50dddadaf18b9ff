"""YAML text that people write -> marked values.

One reader serves settings and policies. It walks ruamel.yaml's events instead of composing a document, so that
depth, number of values and expansion of aliases are bounded while they are read: no file, however hostile, makes it
recurse, hang or fill memory. What the API server's go-yaml v2 (YAML 1.1) and ruamel (YAML 1.2) might read
differently is refused.
"""

import re
from collections.abc import Iterator
from typing import Any

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

from kauditd.core.marked import MAX_DEPTH, MAX_NODES, Fault, Mapping, Node, Scalar, Sequence, decode, place
from kauditd.errors import quote

_ANCHOR = re.compile(r"[A-Za-z0-9_-]{1,100}")
_TAG_RUN = "!" * 256
_DIRECTIVE = re.compile(r"(?:\A|[\r\n])(%)")
_ODD_ESCAPE = re.compile(r"\\(?:(/|u[dD][89a-fA-F])|.)", re.DOTALL)


def read_yaml(text: bytes, *, file: str, limit_bytes: int, aliases: bool = False) -> Node | None:
    """The one document of a YAML file, or None where it holds nothing but comments.

    Refused with a ``BadFile`` naming the place: anything that is not YAML, tabs outside of quotes and comments, a
    second document, directives, tags, merge keys, keys that are not scalars, anchors unless ``aliases``, and more
    than MAX_DEPTH levels or MAX_NODES values (aliases expanded).
    """
    try:
        decoded = decode(text, limit_bytes=limit_bytes)
        return _Builder(decoded, aliases=aliases).build()
    except Fault as fault:
        raise fault.bad_file(file) from fault


def _events(text: str) -> Iterator[Any]:
    """ruamel.yaml's events, with whatever it raises on broken input turned into a ``Fault``."""
    directive = _DIRECTIVE.search(text)
    if directive:
        line, column = place(text[: directive.start(1)])
        raise Fault("directives are not read", line=line, column=column, hint="remove the line that begins with %")
    if _TAG_RUN in text:
        # ruamel scans such a tag in quadratic time: a megabyte of it takes fifteen seconds.
        raise Fault(f"it holds a run of {len(_TAG_RUN)} exclamation marks", hint="is this the right file?")
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

    def __init__(self, text: str, *, aliases: bool) -> None:
        self._text = text
        self._aliases = aliases
        self._stack: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._root: Node | None = None
        self._documents = 0
        self._count = 0

    def build(self) -> Node | None:
        for event in _events(self._text):
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
        self._documents += 1
        if self._documents > 1:
            hint = "the API server and kauditd read one document: remove the others and their --- line"
            raise Fault("a second YAML document begins here", line=line, column=column, hint=hint)

    def _start_node(self, event: Any) -> None:
        line, column = _start(event)
        if event.tag is not None:
            hint = "remove the tag; put quotes around what is a string"
            raise Fault(f"the tag {quote(event.tag, limit=60)} is not read", line=line, column=column, hint=hint)
        if event.anchor is not None:
            self._check_anchor(event.anchor, line, column)
        if isinstance(event, ScalarEvent):
            self._finish(self._scalar(event, line, column), event.anchor, event)
            return
        if len(self._stack) >= MAX_DEPTH:
            raise Fault(f"it is nested deeper than {MAX_DEPTH} levels", line=line, column=column)
        self._stack.append(_Open(event))

    def _check_anchor(self, anchor: str, line: int, column: int) -> None:
        name = quote(anchor, limit=60)
        why = ""
        if not self._aliases:
            why = "is not allowed here"
        elif not _ANCHOR.fullmatch(anchor):
            why = "is not made of letters, digits, _ and -"
        elif anchor in self._anchors:
            why = "is given twice"
        if why:
            raise Fault(f"the anchor &{name} {why}", line=line, column=column, hint="write the value out")

    def _scalar(self, event: Any, line: int, column: int) -> Scalar:
        plain = bool(event.implicit[0])
        start, end = event.start_mark, event.end_mark
        # go-yaml v2 (YAML 1.1) knows neither \/ nor surrogate pairs, which YAML 1.2 took over from elsewhere.
        written = self._text[start.index : end.index] if event.style == '"' else ""
        odd = any(match.group(1) for match in _ODD_ESCAPE.finditer(written))
        if odd or re.search("[\ud800-\udfff]", event.value):
            hint = "write the character itself"
            raise Fault("an escape that YAML readers understand differently", line=line, column=column, hint=hint)
        spread = end.line > start.line and bool(event.value or not plain)
        return Scalar(line=line, column=column, text=event.value, plain=plain, spread=spread)

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
