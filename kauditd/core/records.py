"""Digests, and the strip record as text: what gives a manifest's original bytes back, in a form that survives years.

A record is one JSON object; ``v`` is its version. Lone surrogates (bytes of a manifest that were no UTF-8) survive
the way there and back, since everything outside ASCII is escaped.
"""

import hashlib
import json
import re

from kauditd.core.model import Digest, Edit, EditRecord, Splice

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
    edits = [
        {
            "code": e.code,
            "subject": e.subject,
            "line": e.line,
            "before": e.before,
            "after": e.after,
            "foreign": e.foreign,
        }
        for e in record.edits
    ]
    value = {
        "v": VERSION,
        "before": record.before,
        "after": record.after,
        "splices": splices,
        "edits": edits,
        "created": list(record.created),
    }
    return json.dumps(value, separators=(",", ":")).encode("ascii") + b"\n"


def load_record(data: bytes) -> EditRecord:
    """The inverse of ``dump_record``. Raises ValueError, saying what is wrong, where ``data`` is no such record."""
    value = json.loads(data)
    if not isinstance(value, dict) or value.get("v") != VERSION:
        raise ValueError("it is not a strip record of version 1")
    match value:
        case {
            "before": str(before),
            "after": str(after),
            "splices": list(splices),
            "edits": list(edits),
            "created": list(created),
        }:
            if is_digest(before) and is_digest(after) and all(isinstance(c, str) for c in created):
                return EditRecord(
                    before=Digest(before),
                    after=Digest(after),
                    splices=tuple(_splice(s) for s in splices),
                    edits=tuple(_edit(e) for e in edits),
                    created=tuple(created),
                )
        case _:
            pass
    raise ValueError("it does not name two digests, splices, edits and what was created")


def _edit(value: object) -> Edit:
    match value:
        case {
            "code": str(code),
            "subject": str(subject),
            "line": int(line),
            "before": str() | None as before,
            "after": str() | None as after,
            "foreign": bool(foreign),
        }:
            return Edit(code=code, subject=subject, line=line, before=before, after=after, foreign=foreign)
        case _:
            raise ValueError("an edit of it is malformed")


def _splice(value: object) -> Splice:
    match value:
        case {"start": int(start), "new": list(new), "old": list(old), "role": str(role), "subject": str(subject)}:
            if start >= 0 and all(isinstance(line, str) for line in (*new, *old)):
                return Splice(start=start, new=tuple(new), old=tuple(old), role=role, subject=subject)
        case _:
            pass
    raise ValueError("a splice of it is malformed")
