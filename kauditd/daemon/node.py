"""The real node and its memory behind the engine's Protocols: logical paths in, effects below.

Under a root every path is mapped below it; nothing else differs, so that the whole program runs unprivileged there.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from kauditd.core.layout import KUBEADM_TMP_DIR, STATE_DIR, Layout, base_name, parent
from kauditd.core.model import Digest, EditRecord, FileId, ManifestFile
from kauditd.core.observed import LogDirectory, PolicyFileState
from kauditd.effects import files
from kauditd.effects.clock import SystemClock, boot_id
from kauditd.effects.journal import Journal
from kauditd.effects.profiles import read_profile
from kauditd.effects.store import Store
from kauditd.engine.editing import digest_of
from kauditd.errors import FileFault

_STAGING_PREFIX = "kubeadm-upgraded-manifests"
_STAGING_AGE_S = 900.0
_POLICY_LIMIT_BYTES = 1 << 20


class RealNode:
    """Implements ``engine.ports.Node``. ``at`` is called at each crash point of the replace protocol."""

    def __init__(self, layout: Layout, at: Callable[[str], None]) -> None:
        self._layout = layout
        self._at = at
        self._clock = SystemClock()
        self._intact: dict[str, FileId] = {}

    def now_unix_s(self) -> float:
        """Wall-clock time."""
        return self._clock.now_unix_s()

    def monotonic_s(self) -> float:
        """Time since boot."""
        return self._clock.monotonic_s()

    def boot_id(self) -> str:
        """Empty where it cannot be read."""
        try:
            return boot_id()
        except FileFault:
            return ""

    def read_manifest(self, path: str) -> ManifestFile:
        """See ``effects.files.read_manifest``; the answer carries the logical path."""
        read = files.read_manifest(self._layout.host(path))
        return ManifestFile(
            path=path, content=read.content, id=read.id, digest=read.digest, missing=read.missing, fault=read.fault
        )

    def identify(self, path: str) -> FileId | None:
        """Identity without reading."""
        return files.identify(self._layout.host(path))

    def replace_manifest(self, path: str, content: bytes, *, expected: ManifestFile) -> FileId:
        """The crash-safe protocol. Raises ``errors.FileFault``."""
        if expected.digest is None or expected.id is None:
            raise FileFault(f"cannot replace {path}: it was never read", path=path)
        request = files.Replacement(
            path=self._layout.host(path), content=content, expected_digest=expected.digest, expected_id=expected.id
        )
        return files.replace(request, at=self._at)

    def sweep(self, directory: str) -> tuple[str, ...]:
        """Remove what a killed run left there; nothing where it cannot be read."""
        try:
            return files.sweep(self._layout.host(directory))
        except FileFault:
            return ()

    def visible_files(self, directory: str) -> tuple[str, ...]:
        """What the kubelet would read there; nothing where the directory cannot be listed."""
        try:
            return files.list_visible(self._layout.host(directory))
        except FileFault:
            return ()

    def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """A small file; None where it is missing. Raises ``errors.FileFault``."""
        try:
            return files.read_small(self._layout.host(path), limit_bytes)
        except FileFault as exc:
            if exc.errno_name == "ENOENT":
                return None
            raise

    def policy_state(self, path: str, digest: Digest) -> PolicyFileState:
        """Reads the file only when it is another one than at the last look."""
        identity = self.identify(path)
        if identity is None:
            return PolicyFileState.MISSING
        if self._intact.get(path) == identity:
            return PolicyFileState.INTACT
        read = self.read_manifest(path)
        if read.digest != digest or read.id is None:
            return PolicyFileState.TAMPERED
        self._intact = {path: read.id}
        return PolicyFileState.INTACT

    def publish_policy(self, path: str, content: bytes) -> None:
        """Directory 0755 and file 0644: a rootless API server must be able to read it."""
        directory = self._layout.host(parent(path))
        files.ensure_directory(directory, 0o755)
        files.publish_immutable(directory, base_name(path), content)

    def log_directory(self, path: str) -> LogDirectory:
        """Presence, write permission and room, without writing."""
        host = self._layout.host(path)
        if not Path(host).is_dir():
            present = os.path.lexists(host)
            fault = "something else has that name" if present else ""
            return LogDirectory(path=path, present=present, fault=fault)
        fault = "" if os.access(host, os.W_OK | os.X_OK) else "it is read-only for kauditd and so for the API server"
        try:
            free = files.free_bytes(host)
        except FileFault as exc:
            return LogDirectory(path=path, present=True, fault=exc.message)
        return LogDirectory(path=path, present=True, fault=fault, free_bytes=free)

    def make_log_directory(self, path: str, *, uid: int | None, gid: int | None) -> None:
        """0700, owned by the API server's user where the manifest names one."""
        owner = None if uid is None else (uid, -1 if gid is None else gid)
        files.ensure_directory(self._layout.host(path), 0o700, owner=owner)

    def kubeadm_staging(self) -> bool:
        """A staging directory younger than a quarter of an hour; a failed kubeadm leaves its own for ever."""
        try:
            with os.scandir(self._layout.host(KUBEADM_TMP_DIR)) as entries:
                staged = [e.stat(follow_symlinks=False) for e in entries if e.name.startswith(_STAGING_PREFIX)]
        except OSError:
            return False
        return any(time.time() - s.st_mtime < _STAGING_AGE_S for s in staged)

    def profile(self, name: str) -> bytes:
        """A shipped policy profile."""
        return read_profile(name)


class ReadOnlyNode(RealNode):
    """The node for looking only: a daemon may be at work on it at the same moment."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout, lambda _point: None)

    def sweep(self, directory: str) -> tuple[str, ...]:
        """Nothing is removed: what lies there may be in use."""
        del directory
        return ()

    def replace_manifest(self, path: str, content: bytes, *, expected: ManifestFile) -> FileId:
        """Refused."""
        del content, expected
        raise FileFault(f"cannot replace {path}: this is a read-only look at the node", path=path)

    def publish_policy(self, path: str, content: bytes) -> None:
        """Refused."""
        del content
        raise FileFault(f"cannot publish {path}: this is a read-only look at the node", path=path)

    def make_log_directory(self, path: str, *, uid: int | None, gid: int | None) -> None:
        """Refused."""
        del uid, gid
        raise FileFault(f"cannot make {path}: this is a read-only look at the node", path=path)


class RealMemory:
    """Implements ``engine.ports.Memory`` in the state directory."""

    def __init__(self, layout: Layout) -> None:
        directory = layout.host(STATE_DIR)
        self._store = Store(directory, files=files)
        self._journal = Journal(f"{directory}/journal.ndjson", files=files)

    def prepare(self) -> None:
        """Make the directories. Raises ``errors.FileFault``."""
        self._store.prepare()

    def append(self, record: Mapping[str, object], *, sync: bool = True) -> None:
        """Add a journal record."""
        self._journal.append(dict(record), sync=sync)

    def load_journal(self) -> tuple[Mapping[str, object], ...]:
        """All records that can be read."""
        return tuple(self._journal.load().records)

    def save_manifest(self, content: bytes) -> Digest:
        """Keep a last-good copy."""
        return self._store.save_manifest(content)

    def load_manifest(self, digest: Digest) -> bytes | None:
        """A kept copy, or None."""
        return self._store.load_manifest(digest)

    def save_record(self, record: EditRecord) -> None:
        """Keep a strip record."""
        self._store.save_record(record)

    def load_record(self, digest: Digest) -> EditRecord | None:
        """A kept strip record, or None; also for a digest that is none."""
        return self._store.load_record(digest) if digest else None

    def retain(self, digests: frozenset[Digest]) -> None:
        """Drop the oldest copies. Raises ``errors.FileFault``."""
        self._store.retain(digests)

    def save_state(self, state: Mapping[str, object]) -> None:
        """Replace the state."""
        self._store.save_state(state)

    def load_state(self) -> Mapping[str, object]:
        """The state; empty where there is none or it was unreadable (it is then kept aside)."""
        return self._store.load_state().values


class _OnlyRead:
    """The files of a store that is only looked at: one that cannot be used stays where it is."""

    def read_small(self, path: str, limit_bytes: int) -> bytes:
        return files.read_small(path, limit_bytes)

    def set_aside(self, path: str) -> str:
        return path

    def write_durably(self, path: str, data: bytes, *, mode: int) -> None:
        del data, mode
        raise FileFault(f"cannot write {path}: this program only looks", path=path)

    def ensure_directory(self, path: str, mode: int) -> bool:
        del mode
        raise FileFault(f"cannot make directory {path}: this program only looks", path=path)

    def sweep(self, directory: str) -> tuple[str, ...]:
        raise FileFault(f"cannot sweep {directory}: this program only looks", path=directory)

    def remove_files(self, directory: str, names: Iterable[str]) -> None:
        del names
        raise FileFault(f"cannot remove files in {directory}: this program only looks", path=directory)


class ReadOnlyMemory(RealMemory):
    """The memory for looking only: what would be written is forgotten."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._store = Store(layout.host(STATE_DIR), files=_OnlyRead())

    def prepare(self) -> None:
        """Nothing is made."""

    def append(self, record: Mapping[str, object], *, sync: bool = True) -> None:
        """Nothing is written."""

    def save_manifest(self, content: bytes) -> Digest:
        """Nothing is written; the digest is the right one all the same."""
        return digest_of(content)

    def save_record(self, record: EditRecord) -> None:
        """Nothing is written."""

    def retain(self, digests: frozenset[Digest]) -> None:
        """Nothing is dropped."""

    def save_state(self, state: Mapping[str, object]) -> None:
        """Nothing is written."""
