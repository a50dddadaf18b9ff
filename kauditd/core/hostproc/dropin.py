"""Our drop-in as text: a header that says what it was derived from, and a command that replaces the unit's own."""

import hashlib
import re
from collections.abc import Sequence

from kauditd.core.model import Digest

_HEADER = """\
# Written by kauditd, which keeps the audit trail of the API server on. Changes made here are undone: put audit settings
# into kauditd.yaml, and everything else into a drop-in of your own whose name sorts before this one.
# kauditd-derived-from: sha256:{derived_from}
# kauditd-content: sha256:{content}
"""
_FACTS = re.compile(rb"# kauditd-derived-from: sha256:([0-9a-f]{64})\n# kauditd-content: sha256:([0-9a-f]{64})\n")


def compose(raws: Sequence[str], lines: Sequence[str], *, derived_from: Digest) -> bytes:
    """The drop-in that starts the command of ``raws`` instead of the unit's, with ``lines`` behind it."""
    body = "\n".join(["[Service]", "ExecStart=", f"ExecStart={_command(raws)}", *lines, ""]).encode("utf-8")
    content = hashlib.sha256(body).hexdigest()
    return _HEADER.format(derived_from=derived_from, content=content).encode("ascii") + body


def derived_from(drop_in: bytes) -> Digest | None:
    """The digest that the header names, None where it is no drop-in of ours."""
    match = _FACTS.search(drop_in)
    return None if match is None else Digest(match[1].decode("ascii"))


def is_untouched(drop_in: bytes) -> bool:
    """Whether it is a drop-in of ours that nobody changed since."""
    match = _FACTS.search(drop_in)
    return match is not None and hashlib.sha256(drop_in[match.end() :]).hexdigest() == match[2].decode("ascii")


def _command(raws: Sequence[str]) -> str:
    """One flag a line. A word that would look like a comment at the start of a line stays behind the one before."""
    text = raws[0]
    for raw in raws[1:]:
        text += f" \\\n  {raw}" if raw.startswith("-") else f" {raw}"
    return text
