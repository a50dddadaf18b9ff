"""The edit of a manifest that is yet to come, worked out before it is there.

kubeadm's staged file must be edited within a fraction of a millisecond. It nearly always is the known manifest with
another image; so the known edit is kept, and lines that hold nothing but an image are carried over as text.
"""

import re
from dataclasses import dataclass

from kauditd.core.manifest.locate import locate
from kauditd.core.manifest.parse import parse
from kauditd.core.manifest.place import sorts_all_flags
from kauditd.core.manifest.splice import digest, split_lines
from kauditd.core.manifest.tree import Document, Mapping, Node, Scalar, Sequence
from kauditd.core.model import Edited, EditRecord

_IMAGE_LINE = re.compile(r"( *(?:- +)*image: )([a-z0-9][A-Za-z0-9._:@-]*(?:/[A-Za-z0-9._:@-]+)+)(\r?\n)")
"""A line that is a plain one-line image reference and nothing else. With a slash in it no YAML reader takes it for
anything but a string, and without a colon before a space or at its end it is one scalar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A known source with its edit. ``images`` maps each line (from 0) whose image may differ to its edited line;
    ``server_line`` is the one of the API server's own image, on which the place of the flags depends."""

    source: tuple[str, ...]
    edited: Edited
    result: tuple[str, ...]
    images: dict[int, int]
    server_line: int | None

    def apply(self, new_source: bytes) -> Edited | None:
        """What ``edit`` returns for ``new_source``, or None where only the slow way can tell.

        An answer is given where the text equals the known one but for image lines, and the flags' place is the same
        for both images. No YAML is parsed.
        """
        try:
            lines = split_lines(new_source.decode("utf-8"))
        except UnicodeDecodeError:
            return None
        if len(lines) != len(self.source):
            return None
        output = list(self.result)
        for number, (new, old) in enumerate(zip(lines, self.source, strict=True)):
            if new is old or new == old:
                continue
            target = self.images.get(number)
            if target is None or not self._is_same_kind(number, old, new):
                return None
            output[target] = new
        content = "".join(output).encode("utf-8")
        known = self.edited.record
        record = EditRecord(
            before=digest(new_source),
            after=digest(content),
            splices=known.splices,
            edits=known.edits,
            created=known.created,
        )
        return Edited(text=content, edits=self.edited.edits, record=record)

    def _is_same_kind(self, number: int, old: str, new: str) -> bool:
        before, after = _IMAGE_LINE.fullmatch(old), _IMAGE_LINE.fullmatch(new)
        if before is None or after is None or (before[1], before[3]) != (after[1], after[3]) or after[2].endswith(":"):
            return False
        return number != self.server_line or sorts_all_flags(before[2]) == sorts_all_flags(after[2])


def prepare(source: bytes, edited: Edited) -> Prepared:
    """Keep ``edited``, the outcome of ``edit(source, ...)``, for texts that differ from ``source`` in images only.

    Raises ManifestRefused where ``source`` cannot be read.
    """
    document = parse(source)
    site = locate(document)
    shift = 0
    moved: list[tuple[int, int, int]] = []
    for splice in edited.record.splices:
        first = splice.start - shift
        moved.append((first, first + len(splice.old), len(splice.new) - len(splice.old)))
        shift += len(splice.new) - len(splice.old)
    images: dict[int, int] = {}
    server_line = None
    for holder, node in _images(document.root):
        line = document.line(node.start)
        if any(first <= line < last for first, last, _ in moved):
            continue
        if _IMAGE_LINE.fullmatch(_line_text(document, line)):
            images[line] = line + sum(growth for first, _, growth in moved if first <= line)
            server_line = line if holder is site.container else server_line
    return Prepared(
        source=tuple(split_lines(document.text)),
        edited=edited,
        result=tuple(split_lines(edited.text.decode("utf-8"))),
        images=images,
        server_line=server_line,
    )


def _line_text(document: Document, line: int) -> str:
    end = document.line_starts[line + 1] if line + 1 < len(document.line_starts) else len(document.text)
    return document.text[document.line_starts[line] : end]


def _images(node: Node) -> list[tuple[Mapping, Scalar]]:
    """Every plain scalar of a key ``image`` in block style, with its mapping; aliases are not followed."""
    found: list[tuple[Mapping, Scalar]] = []
    if isinstance(node, Sequence):
        for item in node.items:
            found += _images(item)
    elif isinstance(node, Mapping):
        for key, value in node.pairs:
            plain = isinstance(value, Scalar) and not value.style and value.anchor is None and value.tag is None
            if key.text == "image" and plain and isinstance(value, Scalar):
                found.append((node, value))
            else:
                found += _images(value)
    return found
