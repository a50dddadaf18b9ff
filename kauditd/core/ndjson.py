"""Records as lines: one JSON object per line, read so that one bad line never costs a good one."""

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

Record: TypeAlias = dict[str, object]


def line_of(record: Mapping[str, object]) -> bytes:
    """``record`` as one line. ASCII only, so that a torn line cannot break a character; ValueError for NaN."""
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii") + b"\n"


def lines_of(records: Iterable[Mapping[str, object]]) -> bytes:
    """All of them, in order."""
    return b"".join(line_of(record) for record in records)


def record_of(line: bytes) -> Record | None:
    """The record that a line without its newline holds; None where it is none."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def parse(data: bytes) -> tuple[tuple[Record, ...], tuple[bytes, ...], bool]:
    """Records, garbage lines, and whether the last line is torn. A whole record that lacks but its newline counts."""
    *lines, tail = data.split(b"\n")
    records: list[Record] = []
    garbage: list[bytes] = []
    for line in lines:
        record = record_of(line)
        if record is not None:
            records.append(record)
        elif line:
            garbage.append(line)
    last = record_of(tail)
    if last is not None:
        records.append(last)
    return tuple(records), tuple(garbage), bool(tail) and last is None


def set_aside(known: bytes, garbage: Iterable[bytes], *, limit_bytes: int) -> bytes | None:
    """A side file's new content: garbage lines that it lacks added, its newest end kept. None: nothing to add."""
    present = set(known.split(b"\n"))
    added = b"".join(line + b"\n" for line in garbage if line not in present)
    return (known + added)[-limit_bytes:] if added else None
