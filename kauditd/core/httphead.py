"""The head of an HTTP/1.1 answer and the framing of its body (RFC 9112), as far as our few requests need them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;.*)?\r\n", re.DOTALL)


class NotHttp(Exception):
    """The peer closed early, or what it sent is no HTTP answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Status and headers, names in lower case; of a header that stands twice, the last."""

    status: int
    headers: Mapping[str, str]

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.headers.get("transfer-encoding", "").lower() == "chunked"

    @property
    def length(self) -> int | None:
        """The length of the body, None where the head does not tell."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def parse_head(head: bytes) -> Head:
    """A head up to its empty line, or the part of it that came. Raises NotHttp."""
    first, _, rest = head.partition(b"\r\n")
    version, _, words = first.partition(b" ")
    code = words[:3]
    if not version.startswith(b"HTTP/1.") or not (len(code) == 3 and code.isdigit()):
        raise NotHttp("what answers does not speak HTTP")
    headers: dict[str, str] = {}
    for line in rest.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()
    return Head(status=int(code), headers=headers)


def chunk_size(line: bytes) -> int:
    """The size that the line before a chunk gives, its CRLF included. Raises NotHttp."""
    found = _CHUNK_SIZE.fullmatch(line)
    if found is None:
        raise NotHttp("the body is not in chunks as announced")
    return int(found.group(1), 16)
