"""Items and keys taken out of a text, with nothing else touched."""

import re

from kauditd.core.manifest.compose import dash
from kauditd.core.manifest.splice import Patch
from kauditd.core.manifest.tree import Document, Mapping, Sequence

_COMMA = re.compile(r"\s*,")


def cut_items(document: Document, node: Sequence, indexes: set[int], *, role: str) -> list[Patch]:
    """The patches that remove the items at ``indexes`` from a list, neighbours in one patch."""
    if node.flow:
        return _cut_flow(document, [(item.start, item.end) for item in node.items], indexes, role, role)
    return [
        _cut_lines(document, _first_line(document, node, first), document.line_end(node.items[last].end), role, role)
        for first, last in _runs(indexes)
    ]


def cut_pair(document: Document, node: Mapping, key: str, *, role: str, subject: str) -> list[Patch]:
    """The patches that remove a key and its value from a mapping."""
    index = next(number for number, (name, _) in enumerate(node.pairs) if name.text == key)
    if node.flow:
        return _cut_flow(document, [(name.start, value.end) for name, value in node.pairs], {index}, role, subject)
    name, value = node.pairs[index]
    start, end = document.line_start(name.start), document.line_end(value.end)
    return [_cut_lines(document, start, end, role, subject)]


def _first_line(document: Document, node: Sequence, index: int) -> int:
    """Where the line of an item's dash starts."""
    first = dash(document, node)
    if index:
        pattern = re.compile(rf"^ {{{document.column(first)}}}-(?=\s|$)", re.MULTILINE)
        match = pattern.search(document.text, document.line_end(node.items[index - 1].end))
        first = node.items[index].start if match is None else match.start()
    return document.line_start(first)


def _runs(indexes: set[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _cut_lines(document: Document, start: int, end: int, role: str, subject: str) -> Patch:
    """Remove whole lines; where the text has no final newline and they are its last, the line break before them."""
    text = document.text
    if end == len(text) and start and not text.endswith("\n"):
        start -= 2 if text[start - 2 : start] == "\r\n" else 1
    return Patch(start=start, end=end, text="", role=role, subject=subject)


def _cut_flow(
    document: Document, spans: list[tuple[int, int]], indexes: set[int], role: str, subject: str
) -> list[Patch]:
    """Remove runs of items: with the separator before them, or behind them where they come first."""
    patches = []
    for first, last in _runs(indexes):
        if first:
            start, end = spans[first - 1][1], spans[last][1]
        else:
            start, end = spans[0][0], spans[last + 1][0] if last + 1 < len(spans) else spans[last][1]
            comma = _COMMA.match(document.text, end)
            end = end if comma is None else comma.end()
        patches.append(Patch(start=start, end=end, text="", role=role, subject=subject))
    return patches


def leave_empty(document: Document, mapping: Mapping, key: str) -> Patch:
    """The patch that leaves ``[]`` at the key of a block list all of whose items are removed."""
    name = next(found for found, _ in mapping.pairs if found.text == key)
    offset = document.text.index(":", name.end) + 1
    return Patch(start=offset, end=offset, text=" []", role="emptied", subject=key)
