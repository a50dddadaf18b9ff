"""Our values in the style of the text around them: quoting, indentation, the gap behind a dash."""

import json
import re
from dataclasses import dataclass

from kauditd.core.manifest.scalars import Value, resolve_plain
from kauditd.core.manifest.tree import Document, Mapping, Scalar, Sequence, resolve

_SAFE = re.compile(r"(?!-*$)[A-Za-z0-9/_.+-][A-Za-z0-9/_.+@%=:,-]*(?<!:)")
_FLOW_MARKS = re.compile(r"[,:]")
_DASH = re.compile(r"^ *(-)(?=\s|$)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """One item to be put before the item that stands at ``index`` now."""

    index: int
    value: Value
    role: str
    subject: str


def render_scalar(value: Value, *, style: str = "", flow: bool = False) -> str:
    """A scalar as text: plain where every YAML reader takes it for the same string, else quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if style == '"' or not text.isprintable():
        return json.dumps(text, ensure_ascii=not text.isprintable())
    plain = _SAFE.fullmatch(text) is not None and isinstance(resolve_plain(text), str)
    if style == "'" or not plain or (flow and _FLOW_MARKS.search(text)):
        return "'" + text.replace("'", "''") + "'"
    return text


def render_flow(value: Value, *, style: str, key_style: str = "") -> str:
    """A value on one line, its strings in the quoting ``style`` and its keys in ``key_style``."""
    if isinstance(value, dict):
        pairs = (
            f"{render_scalar(key, style=key_style)}: {render_flow(item, style=style, key_style=key_style)}"
            for key, item in value.items()
        )
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(render_flow(item, style=style, key_style=key_style) for item in value) + "]"
    return render_scalar(value, style=style, flow=True)


def render_block(value: Value, *, column: int, gap: int = 2, step: int = 2) -> list[str]:
    """A list item as lines: the dash in ``column``, the content ``gap`` columns behind it, nested keys by ``step``."""
    pad = " " * column
    lines = _block_pairs(value, step=step) if isinstance(value, dict) else [render_scalar(value)]
    return [f"{pad}-{' ' * (gap - 1)}{lines[0]}", *(f"{pad}{' ' * gap}{line}" for line in lines[1:])]


def _block_pairs(value: dict[str, Value], *, step: int, style: str = "") -> list[str]:
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, dict):
            lines += [f"{key}:", *(" " * step + line for line in _block_pairs(item, step=step))]
        else:
            lines.append(f"{key}: {render_scalar(item, style=style)}")
    return lines


def dash(document: Document, node: Sequence) -> int:
    """The offset of a block list's first dash (an anchor may stand before it)."""
    if document.text.startswith("-", node.start) and node.anchor is None:
        return node.start
    match = _DASH.search(document.text, node.start)
    return node.start if match is None else match.start(1)


def gap_of(document: Document, node: Sequence) -> int:
    """The distance between dash and content in a block list, 2 where the content starts on another line."""
    start, first = dash(document, node), node.items[0].start
    return first - start if document.line(first) == document.line(start) else 2


def step_of(document: Document, node: Sequence) -> int:
    """By how much mappings nested in the items of a block list are indented, 2 where there is none to see."""
    for item in node.items:
        if isinstance(item, Mapping) and not item.flow:
            for key, value in item.pairs:
                if isinstance(value, Mapping) and not value.flow and value.pairs:
                    return max(1, document.column(value.pairs[0][0].start) - document.column(key.start))
    return 2


def style_of(node: Sequence) -> str:
    """The quoting of a flow list: that of its last flag, or of its last scalar where it holds none."""
    scalars = [item for item in map(resolve, node.items) if isinstance(item, Scalar)]
    flags = [item for item in scalars if item.text.startswith("-")]
    style = next((item.style for item in (flags or scalars)[::-1]), "")
    return style if style in {"'", '"'} else ""


def render_pair(key: str, value: Value, *, indent: int, style: str = "") -> list[str]:
    """A key with its value as lines; a list's dashes or a mapping's keys stand ``indent`` columns behind the key."""
    name = render_scalar(key)
    if isinstance(value, list):
        return [f"{name}:", *(line for item in value for line in render_block(item, column=indent))]
    if isinstance(value, dict):
        return [f"{name}:", *(" " * indent + line for line in _block_pairs(value, step=2, style=style))]
    return [f"{name}: {render_scalar(value, style=style)}"]
