"""Digests, and the strip record as text: what gives a manifest's original bytes back, in a form that survives years.

A record is one JSON object; ``v`` is its version. Lone surrogates (bytes of a manifest that were no UTF-8) survive
the way there and back, since everything outside ASCII is escaped.
"""

import hashlib
import json
import re

from kauditd.core.model import Digest, EditRecord, Splice

VERSION = 1
_HEX = re.compile(r"[0-9a-f]{64}")


def digest_of(content: bytes) -> Digest:
    """SHA-256 of ``content``."""
    return Digest(hashlib.sha256(content).hexdigest())


def is_digest(text: str) -> bool:
    """Whether ``text`` has the form of a ``Digest``."""
    return _HEX.fullmatch(text) is not None


def dump_record(record: EditRecord) -> bytes:
    """``record`` as one line of JSON."""
    splices = [
        {"start": s.start, "new": list(s.new), "old": list(s.old), "role": s.role, "subject": s.subject}
        for s in record.splices
    ]
    value = {"v": VERSION, "before": record.before, "after": record.after, "splices": splices}
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def load_record(data: bytes) -> EditRecord:
    """The inverse of ``dump_record``. Raises ValueError, saying what is wrong, where ``data`` is no such record."""
    value = json.loads(data)
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise ValueError("it is not a strip record of version 1")
    match value:
        case {"before": str(before), "after": str(after), "splices": list(splices)}:
            if is_digest(before) and is_digest(after):
                made = tuple(_splice(s) for s in splices)
                return EditRecord(before=Digest(before), after=Digest(after), splices=made)
        case _:
            pass
    raise ValueError("it does not name two digests and a list of splices")


def _splice(value: object) -> Splice:
    match value:
        case {"start": int(start), "new": list(new), "old": list(old), "role": str(role), "subject": str(subject)}:
            if start >= 0 and all(isinstance(line, str) for line in (*new, *old)):
                return Splice(start=start, new=tuple(new), old=tuple(old), role=role, subject=subject)
        case _:
            pass
    raise ValueError("a splice of it is malformed")
