"""Bytes to a tree with positions, or a refusal that an operator understands.

ruamel.yaml scans and parses; the tree is built here from its events with an explicit stack, so that neither deep
nesting nor an alias bomb can exhaust the interpreter. A file that begins with ``{`` is JSON to the kubelet
(apimachinery pkg/util/yaml, ``IsJSONBuffer``) and must be valid JSON here too.
"""

import json
import re

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

from kauditd.core.manifest.scalars import key_text
from kauditd.core.manifest.tree import Alias, Document, Mapping, Node, Scalar, Sequence, Target, is_merge
from kauditd.errors import ManifestRefused, quote

LIMIT_BYTES = 1 << 20
LIMIT_DEPTH = 64
LIMIT_NODES = 200_000
_TAB_IN_INDENT = re.compile(r"^ *\t")
_ENDLESS_TAG = "!" * 64
"""A run of exclamation marks takes the parser time by the square of its length, and no reader a tag."""

FAULTS = (YAMLError, ValueError, LookupError, TypeError, AttributeError, AssertionError)
"""What ruamel.yaml raises on broken input: its own errors, and now and then a plain Python one."""


def parse(content: bytes, *, strict: bool = True) -> Document:
    """The document of a manifest. Raises ManifestRefused with the codes of the package's docstring.

    Without ``strict`` it reads as the kubelet does: the last of duplicate keys counts, later documents do not.
    """
    if len(content) > LIMIT_BYTES:
        raise _refusal(
            f"it has {len(content)} bytes, more than {LIMIT_BYTES}", "too-large", hint="a static pod manifest is small"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as exc:
        line = content.count(b"\n", 0, exc.start) + 1
        raise _refusal("it is not valid UTF-8", "not-utf8", line=line, hint="save the file as UTF-8") from exc
    if not text.strip("\ufeff \t\r\n"):
        raise _refusal("it is empty", "empty", hint="an empty file may be one that is still being written")
    is_json = text.lstrip().startswith("{")
    try:
        builder = build(text, strict=strict)
        if is_json:
            json.loads(text, parse_constant=_refuse_constant)
    except ManifestRefused:
        raise
    except FAULTS as exc:
        raise _syntax(text, exc) from exc
    return _document(text, builder, is_json=is_json)


def _document(text: str, builder: "Builder", *, is_json: bool) -> Document:
    root = builder.root
    if root is None:
        raise _refusal("it holds no document", "empty", hint="an empty file may be one that is still being written")
    if not isinstance(root, Mapping):
        raise _refusal("it is not a Pod", "not-a-pod", hint="the file must hold one Pod object")
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    if starts[-1] == len(text):
        starts.pop()
    return Document(text=text, root=root, line_starts=tuple(starts), aliased=frozenset(builder.aliased), json=is_json)


class _Frame:
    """One open collection: its start event, the children so far, and their weight with all aliases expanded."""

    __slots__ = ("children", "depth", "event", "keys", "nodes")

    def __init__(self, event: SequenceStartEvent | MappingStartEvent) -> None:
        self.event = event
        self.children: list[Node] = []
        self.keys: set[str] = set()
        self.nodes = 1
        self.depth = 0


class Builder:
    """Builds the tree of the first document from parser events.

    ``strict`` refuses duplicate keys and a second document.
    """

    def __init__(self, text: str, *, strict: bool = True) -> None:
        self.text = text
        self.strict = strict
        self.root: Target | None = None
        self.aliased: set[str] = set()
        self.documents = 0
        self._anchors: dict[str, tuple[Target, int, int]] = {}
        self._stack: list[_Frame] = []

    def feed(self, event: Event) -> bool:
        """Take one event; false when nothing behind it matters."""
        match event:
            case DocumentStartEvent():
                self._start_document(event)
            case SequenceStartEvent() | MappingStartEvent():
                if len(self._stack) >= LIMIT_DEPTH:
                    raise self._refuse(event, "it is nested too deeply", "bad-yaml")
                self._stack.append(_Frame(event))
            case CollectionEndEvent():
                self._close(event)
            case ScalarEvent():
                self._scalar(event)
            case AliasEvent():
                self._alias(event)
            case DocumentEndEvent():
                return self.strict
            case _:
                pass
        return True

    def _refuse(self, event: Event, message: str, code: str, hint: str = "") -> ManifestRefused:
        return _refusal(message, code, line=event.start_mark.line + 1, hint=hint)

    def _start_document(self, event: DocumentStartEvent) -> None:
        self.documents += 1
        self._anchors.clear()
        if event.version not in {None, (1, 1)}:
            raise self._refuse(event, "it asks for another YAML version than 1.1", "bad-yaml", "remove the line %YAML")

    def _scalar(self, event: ScalarEvent) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        if start == end and self._stack and isinstance(self._stack[-1].event, MappingStartEvent):
            children = self._stack[-1].children
            if len(children) % 2:
                # The parser places an empty value at the token behind it; it stands behind its colon.
                start = end = self.text.find(":", children[-1].end, end) + 1 or end
        node = Scalar(
            start=start,
            end=end,
            text=event.value,
            style=event.style or "",
            tag=None if event.tag is None else str(event.tag),
            anchor=event.anchor,
        )
        self._add(event, node, nodes=1, depth=0)

    def _alias(self, event: AliasEvent) -> None:
        known = self._anchors.get(event.anchor)
        if known is None:
            raise self._refuse(event, f"the alias {quote('*' + event.anchor)} refers to nothing complete", "alias")
        target, nodes, depth = known
        if depth + len(self._stack) > LIMIT_DEPTH:
            raise self._refuse(event, "its aliases nest too deeply", "alias")
        self.aliased.add(event.anchor)
        alias = Alias(start=event.start_mark.index, end=event.end_mark.index, target=target)
        self._add(event, alias, nodes=nodes, depth=depth)

    def _close(self, event: CollectionEndEvent) -> None:
        frame = self._stack.pop()
        opening, children = frame.event, frame.children
        start = opening.start_mark.index
        flow = bool(opening.flow_style)
        end = event.end_mark.index if flow or not children else children[-1].end
        node: Target
        if isinstance(opening, SequenceStartEvent):
            node = Sequence(start=start, end=end, flow=flow, items=tuple(children), anchor=opening.anchor)
        else:
            keys = [key for key in children[::2] if isinstance(key, Scalar)]
            pairs = tuple(zip(keys, children[1::2], strict=True))
            node = Mapping(start=start, end=end, flow=flow, pairs=pairs, anchor=opening.anchor)
        self._add(event, node, nodes=frame.nodes, depth=frame.depth)

    def _add(self, event: Event, node: Node, *, nodes: int, depth: int) -> None:
        if not isinstance(node, Alias) and node.anchor is not None:
            self._anchors[node.anchor] = (node, nodes, depth)
        if not self._stack:
            self._finish(event, node)
            return
        frame = self._stack[-1]
        if isinstance(frame.event, MappingStartEvent) and len(frame.children) % 2 == 0:
            self._check_key(event, frame, node)
        frame.children.append(node)
        frame.nodes += nodes
        frame.depth = max(frame.depth, depth + 1)
        if frame.nodes > LIMIT_NODES:
            raise self._refuse(event, "its aliases expand to too much", "alias")

    def _check_key(self, event: Event, frame: _Frame, node: Node) -> None:
        if not isinstance(node, Scalar):
            raise self._refuse(event, "a key is not a plain word", "bad-yaml")
        if is_merge(node):
            return
        key = key_text(node)
        if key in frame.keys and self.strict:
            hint = "remove one of the two; the kubelet takes the last"
            raise self._refuse(event, f"key {quote(key)} stands twice in one mapping", "duplicate-key", hint)
        frame.keys.add(key)

    def _finish(self, event: Event, node: Node) -> None:
        empty = isinstance(node, Scalar) and node.start == node.end
        if self.documents == 1:
            self.root = None if empty or isinstance(node, Alias) else node
        elif not empty:
            hint = "the kubelet reads the first document only; move the others out of this file"
            raise self._refuse(event, "it holds more than one document", "two-documents", hint)


def build(text: str, *, strict: bool = True) -> Builder:
    """Parse ``text`` into a tree; errors are those of ruamel.yaml or ManifestRefused."""
    builder = Builder(text, strict=strict)
    if _ENDLESS_TAG in text:
        raise _refusal("it holds an endless tag", "bad-yaml", hint="remove the exclamation marks")
    for event in YAML(typ="safe", pure=True).parse(text):
        if not builder.feed(event):
            break
    return builder


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _refusal(message: str, code: str, *, line: int = 0, hint: str = "") -> ManifestRefused:
    return ManifestRefused(f"cannot read the manifest: {message}", code=code, line=line, hint=hint)


def _syntax(text: str, error: Exception) -> ManifestRefused:
    """The refusal for a parser's error: ``tabs`` where a tab indents the line, else ``bad-yaml``."""
    mark = getattr(error, "problem_mark", None) if isinstance(error, MarkedYAMLError) else None
    line = 0 if mark is None else mark.line + 1
    lines = text.split("\n")
    shown = lines[line - 1] if 0 < line <= len(lines) else ""
    cause = getattr(error, "problem", None) or str(error).partition("\n")[0]
    if _TAB_IN_INDENT.match(shown) or "'\\t'" in cause:
        return _refusal("a tab stands where YAML wants spaces", "tabs", line=line, hint="replace each tab by spaces")
    return _refusal(f"it is not valid YAML: {quote(cause)}", "bad-yaml", line=line, hint="correct the file's syntax")
