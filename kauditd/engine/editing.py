"""Edits ready before they are needed: the YAML work of a manifest is done once, and never on the hot path.

kubeadm's overwrite has to be repaired within milliseconds, and parsing a manifest twice costs tens of them. So every
verified edit is kept by the digest of its source, a prepared splice covers the next image version, and a variant with
a fresh nonce waits for the case in which the Pod would otherwise equal the one before.
"""

import hashlib
import os
from collections import OrderedDict
from dataclasses import replace
from typing import TypeVar

from kauditd.core.manifest import Prepared, edit, pod_digest, prepare, read
from kauditd.core.model import Desired, Digest, Edited, EditRecord, ManifestView, Splice
from kauditd.engine.ports import Memory
from kauditd.engine.removal import without_our_lines
from kauditd.errors import ManifestRefused

_KEPT = 16
_K = TypeVar("_K")
_V = TypeVar("_V")


def digest_of(content: bytes) -> Digest:
    """SHA-256 of ``content``."""
    return Digest(hashlib.sha256(content).hexdigest())


class Editing:
    """Cached ``edit`` and ``read``. Not thread-safe: the engine's one worker thread owns it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._edits: OrderedDict[tuple[Digest, Desired], Edited] = OrderedDict()
        self._views: OrderedDict[Digest, ManifestView] = OrderedDict()
        self._pods: OrderedDict[Digest, Digest] = OrderedDict()
        self._prepared: tuple[Desired, Prepared] | None = None
        self._prepares = True
        self._nonce_variants: OrderedDict[tuple[Digest, Desired], Edited] = OrderedDict()

    def edited(self, content: bytes, desired: Desired) -> Edited:
        """What an edit towards ``desired`` does to ``content``; raises ``errors.ManifestRefused``."""
        key = (digest_of(content), desired)
        found = self._edits.get(key)
        if found is None:
            found = self._edit_anew(content, desired)
            _keep(self._edits, key, found)
        return found

    def _edit_anew(self, content: bytes, desired: Desired) -> Edited:
        """An edit of the manifest as it was before our lines, so that what an older wish of ours left goes with it."""
        direct = edit(content, desired)
        base = self.base(content) if direct.edits else None
        if base is None or base == content:
            return direct
        anew = edit(base, desired)
        return direct if anew.text == content else Edited(text=anew.text, edits=direct.edits, record=anew.record)

    def base(self, content: bytes) -> bytes | None:
        """``content`` without our lines, None where that is not clear."""
        try:
            return without_our_lines(content, digest_of(content), self._memory, newest=None)
        except ManifestRefused:
            return None

    def asked(self, text: bytes, desired: Desired) -> Desired:
        """What ``text``, an edit towards ``desired``, asks of the process.

        The same, but where a path of the container had to give way to somebody else's mount.
        """
        if all(str(flag).encode() in text for flag in desired.flags):
            return desired
        view = self.view(text)
        flags = tuple(replace(flag, value=view.flag(flag.name) or flag.value) for flag in desired.flags)
        return replace(desired, flags=flags)

    def quick(self, content: bytes, desired: Desired) -> Edited | None:
        """The same without YAML work, or None where that is impossible. ``verify`` must follow soon after."""
        found = self._edits.get((digest_of(content), desired))
        if found is not None:
            return found
        if self._prepared is not None and self._prepared[0] == desired:
            return self._prepared[1].apply(content)
        return None

    def verify(self, content: bytes, desired: Desired, quick: Edited) -> bool:
        """Whether the full parser agrees with what ``quick`` gave; where not, nothing is prepared any more."""
        agrees = self.edited(content, desired).text == quick.text
        if not agrees:
            self._prepared, self._prepares = None, False
        return agrees

    def view(self, content: bytes) -> ManifestView:
        """What the manifest says; raises ``errors.ManifestRefused``."""
        digest = digest_of(content)
        found = self._views.get(digest)
        if found is None:
            found = read(content)
            _keep(self._views, digest, found)
        return found

    def pod(self, content: bytes) -> Digest:
        """Digest of the decoded Pod; raises ``errors.ManifestRefused``."""
        digest = digest_of(content)
        found = self._pods.get(digest)
        if found is None:
            found = pod_digest(content)
            _keep(self._pods, digest, found)
        return found

    def make_ready(self, content: bytes, desired: Desired) -> None:
        """Prepare for an overwrite of ``content``'s kind: called when there is time. Raises as ``edited`` does.

        ``content`` is the manifest as kubeadm writes it, that is, without our lines.
        """
        plain = self.edited(content, desired)
        if not plain.edits:
            return
        if self._prepares:
            self._prepared = (desired, prepare(content, plain))
        key = (digest_of(content), desired)
        if key not in self._nonce_variants:
            _keep(self._nonce_variants, key, edit(content, replace(desired, nonce=_fresh_nonce())))

    def with_nonce(self, content: bytes, desired: Desired) -> Edited:
        """The edit carrying a nonce that was never used before; raises as ``edited`` does."""
        key = (digest_of(content), desired)
        ready = self._nonce_variants.pop(key, None)
        if ready is None:
            return edit(content, replace(desired, nonce=_fresh_nonce()))
        renewed = _renew_nonce(ready)
        if renewed is not None:
            _keep(self._nonce_variants, key, renewed)
        return ready


def _fresh_nonce() -> str:
    return os.urandom(8).hex()


def _renew_nonce(edited: Edited) -> Edited | None:
    """The same edit with another nonce, by replacing the 16 digits where they stand exactly once; else None."""
    old = next((e.after for e in edited.edits if e.code.startswith("nonce-") and e.after), None)
    if old is None or edited.text.count(old.encode()) != 1:
        return None
    new = _fresh_nonce()
    text = edited.text.replace(old.encode(), new.encode())
    edits = tuple(replace(e, after=new) if e.after == old else e for e in edited.edits)
    record = EditRecord(
        before=edited.record.before,
        after=digest_of(text),
        splices=tuple(_renew_splice(s, old, new) for s in edited.record.splices),
        edits=edits,
        created=edited.record.created,
    )
    return Edited(text=text, edits=edits, record=record)


def _renew_splice(splice: Splice, old: str, new: str) -> Splice:
    return replace(splice, new=tuple(line.replace(old, new) for line in splice.new))


def _keep(cache: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    cache[key] = value
    cache.move_to_end(key)
    while len(cache) > _KEPT:
        cache.popitem(last=False)
