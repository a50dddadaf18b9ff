"""A unit's files as one text, so that a unit can stand wherever a manifest's bytes do.

The text has one block per file: a line ``# {...}`` (JSON: what it is, its path, its length in bytes), then the bytes
as they are. It is canonical: equal files give equal bytes and so an equal digest. The bytes of a manifest and of a
document are edited, read and stripped by functions of the same form.
"""

import json
from collections.abc import Iterator

from kauditd.core.hostproc import editor
from kauditd.core.hostproc.source import (
    EnvironmentFile,
    UnitFile,
    UnitSource,
    drop_in_of,
    underneath,
    with_drop_in,
)
from kauditd.core.model import Desired, Edited, EditRecord, ManifestView
from kauditd.core.records import digest_of
from kauditd.errors import ManifestRefused

_VERSION = 1


def dump(source: UnitSource) -> bytes:
    """The unit as a document. Environment files come first, so that a diff of drop-ins shows none of their lines."""
    blocks = [_block({"v": _VERSION, "unit": source.name, "load_state": source.load_state}, b"")]
    for file in source.environment_files:
        facts: dict[str, object] = {"environment": file.pattern, "path": file.path, "missing": file.content is None}
        blocks.append(_block(facts, file.content or b""))
    if source.fragment is not None:
        blocks.append(_block({"fragment": source.fragment.path}, source.fragment.content))
    blocks += [_block({"drop_in": file.path}, file.content) for file in source.drop_ins]
    return b"".join(blocks)


def load(text: bytes) -> UnitSource:
    """The inverse of ``dump``. Raises ManifestRefused (``bad-document``) where ``text`` is no such document."""
    try:
        return _source(list(_read_blocks(text)))
    except (ValueError, KeyError) as error:
        raise ManifestRefused(f"cannot read a unit document: {error}", code="bad-document") from error


def _source(blocks: list[tuple[dict[str, object], bytes]]) -> UnitSource:
    """The unit of the blocks. Raises ValueError and KeyError."""
    (first, _), *rest = blocks
    if first.get("v") != _VERSION:
        raise ValueError("it is of another version")
    fragment, drop_ins, environment = None, [], []
    for facts, content in rest:
        match facts:
            case {"environment": str(pattern), "path": str(path), "missing": bool(missing)}:
                value = None if missing else content
                environment.append(EnvironmentFile(pattern=pattern, path=path, content=value))
            case {"fragment": str(path)}:
                fragment = UnitFile(path=path, content=content)
            case {"drop_in": str(path)}:
                drop_ins.append(UnitFile(path=path, content=content))
            case _:
                raise ValueError("it holds an unknown block")
    return UnitSource(
        name=str(first["unit"]),
        load_state=str(first["load_state"]),
        fragment=fragment,
        drop_ins=tuple(drop_ins),
        environment_files=tuple(environment),
    )


def edit_document(text: bytes, desired: Desired) -> Edited:
    """``edit`` on a document: the same unit with our drop-in. Digests of the record are those of documents."""
    source = load(text)
    done = editor.edit(source, desired)
    after = dump(with_drop_in(source, done.text))
    record = EditRecord(before=digest_of(text), after=digest_of(after), splices=(), edits=done.edits)
    return Edited(text=after, edits=done.edits, record=record)


def strip_document(text: bytes, record: EditRecord | None = None) -> bytes:
    """The unit without our drop-in. ``record`` is not needed: the drop-in is ours as a whole or not at all."""
    del record
    source = load(text)
    editor.strip(source)
    return dump(underneath(source))


def record_of_document(text: bytes) -> EditRecord:
    """A record for a document whose own is lost; the drop-in alone tells what is ours. Raises ManifestRefused."""
    return EditRecord(before=digest_of(strip_document(text)), after=digest_of(text), splices=())


def read_document(text: bytes) -> ManifestView:
    """``read`` on a document. Raises ManifestRefused."""
    return editor.read(load(text))


def drop_in_in(text: bytes) -> bytes:
    """Our drop-in's bytes in a document, empty where there is none: what is to be written for this document."""
    return drop_in_of(load(text)) or b""


def _block(facts: dict[str, object], content: bytes) -> bytes:
    head = json.dumps({**facts, "bytes": len(content)}, separators=(",", ":"))
    return f"# {head}\n".encode("ascii") + (content + b"\n" if content else b"")


def _read_blocks(text: bytes) -> Iterator[tuple[dict[str, object], bytes]]:
    position = 0
    while position < len(text):
        end = text.find(b"\n", position)
        facts = json.loads(text[position + 2 : end]) if text[position : position + 2] == b"# " and end > 0 else None
        size = facts.get("bytes") if isinstance(facts, dict) else None
        if not isinstance(facts, dict) or not isinstance(size, int) or size < 0:
            raise ValueError("a block has no head")
        position = end + 1 + size
        if position > len(text):
            raise ValueError("a block is cut short")
        yield facts, text[end + 1 : position]
        if size:
            position += 1
