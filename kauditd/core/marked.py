"""Values that know their line and column, as people wrote them in YAML or JSON.

``yamltext`` and ``jsontext`` make them, settings and policies read them. What an unquoted scalar means is decided
here, once, and where YAML 1.1 and 1.2 disagree the answer is "ambiguous".
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from kauditd.errors import BadFile, KauditError, Problem, quote

MAX_DEPTH = 32
MAX_NODES = 50_000
"""Bounds of every document. A policy of 2 500 rules has some 25 000 values and takes about a second to read."""

PlainKind = Literal["null", "bool", "int", "float", "ambiguous", "str"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One scalar. ``plain`` = written without quotes, so that its text may mean something other than a string.

    ``line`` and ``column`` count from 1, as in every node. ``spread`` = written over several lines, block scalars
    included.
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
        line, column = place(text[: exc.start].decode("utf-8", "replace"))
        raise Fault("it is not UTF-8", line=line, column=column, hint="save the file as UTF-8") from exc
    odd = re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", decoded)
    if odd:
        line, column = place(decoded[: odd.start()])
        raise Fault(f"it contains the control character {odd.group()!a}", line=line, column=column, hint="remove it")
    return decoded


def place(before: str) -> tuple[int, int]:
    """Line and column, from 1, of what follows ``before``."""
    lines = re.split("\r\n|\r|\n", before)
    return len(lines), len(lines[-1]) + 1
