"""The parsed manifest with the place of every node in the text: what the editor reads and where it cuts."""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from kauditd.errors import ManifestRefused


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scalar:
    """One scalar. ``start`` and ``end`` are character offsets; ``style`` is "" where plain, else its first mark."""

    start: int
    end: int
    text: str
    style: str
    tag: str | None = None
    anchor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sequence:
    """One list. ``end`` of a block list is the end of its last item's content, comments behind it excluded."""

    start: int
    end: int
    flow: bool
    items: tuple["Node", ...]
    anchor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapping:
    """One mapping with its pairs in document order, duplicates and merge keys as they stand."""

    start: int
    end: int
    flow: bool
    pairs: tuple[tuple[Scalar, "Node"], ...]
    anchor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alias:
    """A reference to a node that stands elsewhere."""

    start: int
    end: int
    target: "Target"


Target = Scalar | Sequence | Mapping
Node = Target | Alias


def resolve(node: Node) -> Target:
    """The node itself, or what an alias refers to."""
    return node.target if isinstance(node, Alias) else node


def is_merge(key: Scalar) -> bool:
    """Whether a key pulls another mapping in (``<<``)."""
    return key.style == "" and key.text == "<<" and key.tag is None


def pairs_of(mapping: Mapping) -> Iterator[tuple[Scalar, Node, bool]]:
    """All pairs in order of precedence, weakest first, as (key, value, merged).

    Merged mappings come where their ``<<`` stands; among several, the first named is the strongest.
    """
    for key, value in mapping.pairs:
        if not is_merge(key):
            yield key, value, False
            continue
        source = resolve(value)
        sources = source.items[::-1] if isinstance(source, Sequence) else (source,)
        for item in sources:
            merged = resolve(item)
            if isinstance(merged, Mapping):
                yield from ((name, node, True) for name, node, _ in pairs_of(merged))


def lookup(mapping: Mapping, name: str) -> tuple[Node | None, bool]:
    """The value in force of key ``name`` and whether a merge key supplies it."""
    found: Node | None = None
    merged = False
    for key, value, inherited in pairs_of(mapping):
        if key.text == name:
            found, merged = value, inherited
    return found, merged


def child(node: Node | None, name: str) -> Target | None:
    """The value of key ``name`` where ``node`` is a mapping that has it, aliases followed; else None."""
    mapping = None if node is None else resolve(node)
    if not isinstance(mapping, Mapping):
        return None
    found, _ = lookup(mapping, name)
    return None if found is None else resolve(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A parsed text: its first document's root, the offsets of its lines, the anchors that aliases use."""

    text: str
    root: Mapping
    line_starts: tuple[int, ...]
    aliased: frozenset[str]
    json: bool

    def line(self, offset: int) -> int:
        """The line (from 0) in which the character at ``offset`` stands."""
        return bisect_right(self.line_starts, offset) - 1

    def line_start(self, offset: int) -> int:
        """The offset at which the line of ``offset`` starts."""
        return self.line_starts[self.line(offset)]

    def column(self, offset: int) -> int:
        """The column (from 0) of ``offset``; a byte order mark takes none."""
        start = self.line_starts[self.line(offset)]
        return offset - start - (start == 0 and self.text.startswith("\ufeff"))

    def line_end(self, offset: int) -> int:
        """The offset just behind the line break of the line in which content ending at ``offset`` ends.

        A block scalar ends at the start of the line behind it; nothing of that line belongs to it.
        """
        at_start = offset in self.line_starts and offset > 0
        line = self.line(offset - 1 if at_start else offset) + 1
        return self.line_starts[line] if line < len(self.line_starts) else len(self.text)

    def newline(self) -> str:
        """The line break this text uses."""
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    def refuse(self, node: Node, message: str, *, code: str, hint: str) -> ManifestRefused:
        """The refusal that names the line of ``node``."""
        line = self.line(node.start) + 1
        return ManifestRefused(f"cannot edit the manifest: {message}", code=code, line=line, hint=hint)
