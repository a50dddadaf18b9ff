"""Taking our lines out of a manifest: the chain of edits that led to it, walked back to the first.

A record undoes one edit. Settings or policy may have changed since the first one, so each record leads to the one of
the text before it. Where the journal was lost, the names that we use tell our lines.
"""

from kauditd.core.manifest import record_of, strip
from kauditd.core.model import Digest, EditRecord
from kauditd.engine.ports import Memory

_LONGEST_CHAIN = 50


def without_our_lines(content: bytes, digest: Digest | None, memory: Memory, *, newest: Digest | None) -> bytes:
    """``content`` as it would be had we never written. ``digest`` is its own, ``newest`` that of our last write.

    Raises ``errors.ManifestRefused`` where what we wrote was changed by others in a way that leaves it unclear.
    """
    record = _load(memory, digest) or _load(memory, newest)
    if record is None:
        return strip(content, record_of(content))
    for _ in range(_LONGEST_CHAIN):
        content = strip(content, record)
        record = _load(memory, record.before)
        if record is None:
            break
    return content


def _load(memory: Memory, digest: Digest | None) -> EditRecord | None:
    return None if digest is None else memory.load_record(digest)
