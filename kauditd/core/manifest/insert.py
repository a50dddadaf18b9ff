"""New items and keys put into a text: whole lines in block style, a few characters in flow style and JSON."""

import re
from bisect import bisect_right
from collections.abc import Sequence as Items

from kauditd.core.manifest.compose import (
    NewItem,
    dash,
    gap_of,
    render_block,
    render_flow,
    render_pair,
    render_scalar,
    step_of,
    style_of,
)
from kauditd.core.manifest.locate import own
from kauditd.core.manifest.scalars import Value, decode
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Document, Mapping, Node, Scalar, Sequence

_REST_OF_ITEM = re.compile(r"[ \t]*(,?)[ \t]*(?:#[^\n]*)?\r?\n")

Span = tuple[int, int]


def insert_items(document: Document, node: Sequence, items: Items[NewItem]) -> list[Patch]:
    """The patches that put ``items`` (in order of their index) into a list that has items, or into a flow list."""
    if node.flow:
        style, key_style = ('"', '"') if document.json else (style_of(node), "")
        spans = [(item.start, item.end) for item in node.items]
        texts = [render_flow(item.value, style=style, key_style=key_style) for item in items]
        return _insert_flow(document, node.end - 1, spans, items, texts)
    column, gap, step = document.column(dash(document, node)), gap_of(document, node), step_of(document, node)
    patches = []
    for item in items:
        lines = render_block(item.value, column=column, gap=gap, step=step)
        before = node.items[item.index - 1].end if item.index else None
        offset = document.line_start(dash(document, node)) if before is None else document.line_end(before)
        patches.append(insert_lines(document, offset, lines, item.role, item.subject))
    return patches


def insert_lines(document: Document, offset: int, lines: Items[str], role: str, subject: str) -> Patch:
    """The patch that puts whole lines before the line that starts at ``offset``, or behind the last line."""
    newline = document.newline()
    if offset == len(document.text) and not document.text.endswith("\n"):
        text = "".join(newline + line for line in lines)
    else:
        text = "".join(line + newline for line in lines)
    return Patch(start=offset, end=offset, text=text, role=role, subject=subject)


def insert_pair(
    document: Document, node: Mapping, key: str, value: Value, *, indent: int, style: str = ""
) -> list[Patch]:
    """The patches that add a key to a mapping: in sorted order where its keys are sorted, else at its end.

    ``indent`` is how far the dashes of a list or the keys of a mapping stand behind their key in block style;
    ``style`` is the quoting of the strings in ``value``.
    """
    if node.flow:
        key_style = '"' if document.json else ""
        shown = render_flow(value, style=key_style or style, key_style=key_style)
        text = f"{render_scalar(key, style=key_style)}: {shown}"
        spans = [(name.start, item.end) for name, item in node.pairs]
        new = NewItem(index=len(spans), value=value, role="key", subject=key)
        return _insert_flow(document, node.end - 1, spans, [new], [text])
    first = node.pairs[0][0]
    column, line_start = document.column(first.start), document.line_start(first.start)
    index = sorted_index([name.text for name, _ in node.pairs], key)
    lines = [" " * column + line for line in render_pair(key, value, indent=indent, style=style)]
    offset = document.line_end(node.pairs[index - 1][1].end) if index else line_start
    return [insert_lines(document, offset, lines, "key", key)]


def add_values(
    document: Document, parent: Mapping, key: str, items: Items[NewItem], *, indent: int
) -> tuple[list[Patch], bool]:
    """Put ``items`` into the list that is ``key`` of ``parent``, whatever stands there now: a list, an empty one, null
    or nothing. Returns the patches and whether the key is new."""
    node = own(document, parent, key)
    values: list[Value] = [item.value for item in items]
    if node is None:
        return insert_pair(document, parent, key, values, indent=indent), True
    if isinstance(node, Sequence):
        if node.items or (node.flow and not _is_replaceable(document, parent, node)):
            return insert_items(document, node, items), False
    elif not isinstance(node, Scalar) or decode(node) is not None:
        raise document.refuse(node, f"{key} is not a list", code="not-a-pod", hint="restore the manifest")
    return fill(document, parent, key, node, values, indent=indent), False


def fill(
    document: Document, parent: Mapping, key: str, node: Node, value: Value, *, indent: int, style: str = ""
) -> list[Patch]:
    """Replace an empty or null value of ``key`` by ``value``: lines below the key, or in place in flow style."""
    name = next(item for item, found in parent.pairs if found is node)
    if parent.flow:
        key_style = '"' if document.json else ""
        text = render_flow(value, style=key_style or style, key_style=key_style)
        space = "" if node.start < node.end or document.text[node.start - 1] in " \t" else " "
        return [Patch(start=node.start, end=node.end, text=space + text, role="value", subject=key)]
    colon = document.text.index(":", name.end) + 1
    lines = render_pair(key, value, indent=indent, style=style)[1:]
    column = document.column(name.start)
    cut = [Patch(start=colon, end=node.end, text="", role="value", subject=key)] if node.end > colon else []
    offset = document.line_end(node.end)
    return [*cut, insert_lines(document, offset, [" " * column + line for line in lines], "value", key)]


def sorted_index(names: Items[str], name: str) -> int:
    """Where ``name`` belongs in a sorted list of names; the end of a list that is not sorted."""
    if list(names) != sorted(names):
        return len(names)
    return bisect_right(names, name)


def _is_replaceable(document: Document, parent: Mapping, node: Sequence) -> bool:
    """Whether an empty ``[]`` may give way to lines: only where nothing else depends on its place."""
    return not parent.flow and document.line(node.start) == document.line(node.end) and node.anchor is None


def _insert_flow(
    document: Document, closing: int, spans: Items[Span], items: Items[NewItem], texts: Items[str]
) -> list[Patch]:
    """Patches for a flow collection; consecutive items with one index go in together."""
    patches: list[Patch] = []
    for index in dict.fromkeys(item.index for item in items):
        group = [(item, text) for item, text in zip(items, texts, strict=True) if item.index == index]
        patches += _insert_flow_group(document, closing, spans, index, group)
    return patches


def _insert_flow_group(
    document: Document, closing: int, spans: Items[Span], index: int, group: list[tuple[NewItem, str]]
) -> list[Patch]:
    if not spans or index == 0:
        offset = spans[0][0] if spans else closing
        joined = ", ".join(text for _, text in group) + (", " if spans else "")
        return [_patch(offset, joined, group[0][0])]
    start, end = spans[index - 1]
    lead = document.text[document.line_start(start) : start]
    rest = _REST_OF_ITEM.match(document.text, end)
    if rest is None or lead.strip() or (index < len(spans) and not rest[1]):
        return [_patch(end, f", {text}", item) for item, text in group]
    patches = [] if rest[1] else [_patch(end, ",", group[0][0])]
    for number, (item, text) in enumerate(group, start=1):
        comma = "," if rest[1] or number < len(group) else ""
        patches.append(
            insert_lines(document, document.line_end(end), [f"{lead}{text}{comma}"], item.role, item.subject)
        )
    return patches


def _patch(offset: int, text: str, item: NewItem) -> Patch:
    return Patch(start=offset, end=offset, text=text, role=item.role, subject=item.subject)
