"""Our drop-in put in place or taken away, and made to count: the service's form of the replace protocol."""

from collections.abc import Callable
from dataclasses import dataclass

from kauditd.core.faults import RenamedFault
from kauditd.core.hostproc import drop_in_path
from kauditd.core.hostproc.document import drop_in_in, dump
from kauditd.core.layout import Layout
from kauditd.core.model import Digest, FileId, ManifestFile
from kauditd.core.records import digest_of
from kauditd.effects.units.manager import Manager
from kauditd.effects.units.ondisk import read_unit
from kauditd.errors import FileFault, LostUpdate, Refused, quote

SWAP_POINTS = ("swap.written", "swap.reloaded", "swap.restarted")
"""Every point that ``swap`` passes after the file operation, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """How a file is written durably (host path, content) and removed durably (host path). Both raise FileFault."""

    write: Callable[[str, bytes], None]
    remove: Callable[[str], None]


def read_as_manifest(unit: str, *, layout: Layout, load_state: str = "") -> ManifestFile:
    """The unit in the form in which a manifest is read: its document as content. Never raises.

    ``path`` is the unit's name, ``missing`` means that there is no such unit, and the identity follows from the
    content, since many files have none of their own: an own write is recognised by what is there.
    """
    try:
        source = read_unit(unit, layout=layout, load_state=load_state)
    except FileFault as fault:
        return ManifestFile(path=unit, fault=fault.message)
    if source.load_state == "not-found":
        return ManifestFile(path=unit, missing=True)
    content = dump(source)
    digest = digest_of(content)
    return ManifestFile(path=unit, content=content, digest=digest, id=_identity(content, digest))


def swap(
    unit: str,
    document: bytes,
    *,
    expected: Digest,
    layout: Layout,
    hands: Hands,
    manager: Manager | None,
    at: Callable[[str], None] = lambda _point: None,
) -> FileId:
    """Bring the unit to the state of ``document``: write or remove our drop-in, reload, restart. No wait for the end.

    ``manager`` None: nothing runs here (a root, a machine image), so the files are all. Raises ``errors.LostUpdate``
    where the unit is no longer what had the digest ``expected`` (nothing was written), ``errors.FileFault`` where the
    drop-in cannot be written (the old state stands), and ``faults.RenamedFault`` where it is in place and systemd did
    not act on it; ``settle`` makes that good.
    """
    found = read_as_manifest(unit, layout=layout)
    if found.fault:
        raise FileFault(found.fault, path=unit)
    if found.digest != expected:
        raise LostUpdate(f"cannot change {quote(unit)}: its files changed meanwhile", path=unit)
    host = layout.host(drop_in_path(unit))
    text = drop_in_in(document)
    if text:
        hands.write(host, text)
    elif drop_in_in(found.content or b""):
        hands.remove(host)
    at(SWAP_POINTS[0])
    if manager is not None:
        settle(unit, manager, at=at)
    digest = digest_of(document)
    return _identity(document, digest)


def settle(unit: str, manager: Manager, *, at: Callable[[str], None] = lambda _point: None) -> None:
    """Let systemd read the files again and restart the unit. Safe to repeat; each time restarts the API server.

    Raises ``faults.RenamedFault``, since what is on disk stays.
    """
    try:
        manager.daemon_reload()
        at(SWAP_POINTS[1])
        manager.restart(unit)
        at(SWAP_POINTS[2])
    except Refused as error:
        message = f"cannot make the new drop-in of {quote(unit)} count (it is in place): {error.message}"
        raise RenamedFault(message, path=drop_in_path(unit), hint=error.hint) from error


def _identity(content: bytes, digest: Digest) -> FileId:
    """A stand-in for an inode: the digest's first 60 bits."""
    return FileId(device=0, inode=int(digest[:15], 16), size_bytes=len(content), mtime_ns=0, ctime_ns=0)
