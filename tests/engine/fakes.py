"""A node and its memory without a disk: files with identities, a clock under control, faults and crashes on demand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kauditd.core.layout import base_name, parent
from kauditd.core.ledger_records import compact
from kauditd.core.model import ApiServerProcess, Digest, EditRecord, FileId, ManifestFile
from kauditd.core.ndjson import Record
from kauditd.core.observed import LogDirectory, PolicyFileState
from kauditd.effects.profiles import read_profile
from kauditd.errors import FileFault, LostUpdate

START_UNIX_S = 1_800_000_000.0
BOOT_UNIX_S = START_UNIX_S - 100_000
RENAME_NS = 2_000_000
"""How much later a renamed file's change time is than its modification time."""


class Crash(BaseException):
    """The process was killed here; nothing in it may catch this."""


def digest_of(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def no_space(path: str) -> FileFault:
    message = f"cannot write {path}: no space is left on the file system (ENOSPC)"
    return FileFault(message, path=path, errno_name="ENOSPC", hint="free space there")


@dataclass(slots=True)
class Chaos:
    """Counts every point passed by node and memory; kills at the one asked for, refuses what is asked for.

    ``crash_at`` is a number of points, ``crash_on`` a point's name and the how-manieth time it is passed.
    """

    crash_at: int | None = None
    crash_on: tuple[str, int] | None = None
    passed: list[str] = field(default_factory=list)
    refused: dict[str, FileFault] = field(default_factory=dict)

    def at(self, point: str) -> None:
        self.passed.append(point)
        if len(self.passed) == self.crash_at or (point, self.passed.count(point)) == self.crash_on:
            raise Crash(point)

    def refuse(self, method: str) -> None:
        if (fault := self.refused.get(method)) is not None:
            raise fault


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    id: FileId


class FakeNode:
    """Implements ``engine.ports.Node``. ``written`` names every method that changed something."""

    def __init__(self, chaos: Chaos | None = None) -> None:
        self.chaos = chaos if chaos is not None else Chaos()
        self.now = START_UNIX_S
        self.files: dict[str, _File] = {}
        self.directories: set[str] = {"/etc/kubernetes/manifests"}
        self.written: list[str] = []
        self.staging = False
        self.free_bytes = 100 << 30
        self.log_fault = ""
        self.unreadable: dict[str, str] = {}
        self.before_replace: Callable[[], None] = lambda: None
        self.boot = "one"
        self._inode = 100

    # What a test does to the node.

    def put(self, path: str, content: bytes) -> FileId:
        """Rename a finished file into place, as kubeadm does."""
        return self._store(path, content, renamed=True)

    def write_in_place(self, path: str, content: bytes) -> FileId:
        """Write into the file that is there, as a careless tool does."""
        inode = self.files[path].id.inode if path in self.files else None
        return self._store(path, content, renamed=False, inode=inode)

    def remove(self, path: str) -> None:
        del self.files[path]

    def content(self, path: str) -> bytes:
        return self.files[path].content

    def _store(self, path: str, content: bytes, *, renamed: bool, inode: int | None = None) -> FileId:
        if inode is None:
            self._inode += 1
        now_ns = int(self.now * 1e9) + self._inode
        identity = FileId(
            device=1,
            inode=self._inode if inode is None else inode,
            size_bytes=len(content),
            mtime_ns=now_ns,
            ctime_ns=now_ns + (RENAME_NS if renamed else 0),
        )
        self.files[path] = _File(content, identity)
        self.directories.add(parent(path))
        return identity

    # The protocol.

    def now_unix_s(self) -> float:
        return self.now

    def monotonic_s(self) -> float:
        return self.now - BOOT_UNIX_S

    def boot_id(self) -> str:
        return self.boot

    def read_manifest(self, path: str) -> ManifestFile:
        if path in self.unreadable:
            return ManifestFile(path=path, fault=self.unreadable[path])
        found = self.files.get(path)
        if found is None:
            return ManifestFile(path=path, missing=True)
        return ManifestFile(path=path, content=found.content, id=found.id, digest=digest_of(found.content))

    def identify(self, path: str) -> FileId | None:
        if path in self.files:
            return self.files[path].id
        if path in self.directories:
            return FileId(device=1, inode=1, size_bytes=0, mtime_ns=0, ctime_ns=0)
        return None

    def replace_manifest(self, path: str, content: bytes, *, expected: ManifestFile) -> FileId:
        self.chaos.at("replace: begun")
        self.chaos.refuse("replace_manifest")
        self.before_replace()
        found = self.files.get(path)
        if found is None or found.id != expected.id or digest_of(found.content) != expected.digest:
            raise LostUpdate(f"cannot replace {path}: it is not the file that was read", path=path)
        self.chaos.at("replace: before the rename")
        self.written.append("replace_manifest")
        identity = self._store(path, content, renamed=True)
        self.chaos.at("replace: renamed")
        return identity

    def sweep(self, directory: str) -> tuple[str, ...]:
        left = tuple(p for p in self.files if parent(p) == directory and base_name(p).startswith(".kauditd."))
        if left:
            self.written.append("sweep")
        for path in left:
            del self.files[path]
        return tuple(base_name(p) for p in left)

    def visible_files(self, directory: str) -> tuple[str, ...]:
        names = [base_name(p) for p in self.files if parent(p) == directory]
        return tuple(sorted(n for n in names if not n.startswith(".")))

    def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        self.chaos.refuse(f"read_file {path}")
        found = self.files.get(path)
        if found is None:
            return None
        if len(found.content) > limit_bytes:
            raise FileFault(f"cannot read {path}: it is larger than {limit_bytes} bytes", path=path)
        return found.content

    def policy_state(self, path: str, digest: Digest) -> PolicyFileState:
        found = self.files.get(path)
        if found is None:
            return PolicyFileState.MISSING
        return PolicyFileState.INTACT if digest_of(found.content) == digest else PolicyFileState.TAMPERED

    def publish_policy(self, path: str, content: bytes) -> None:
        self.chaos.at("publish: begun")
        self.chaos.refuse("publish_policy")
        self.written.append("publish_policy")
        self._store(path, content, renamed=True)
        self.chaos.at("publish: done")

    def log_directory(self, path: str) -> LogDirectory:
        if path not in self.directories:
            return LogDirectory(path=path, present=False)
        return LogDirectory(path=path, present=True, fault=self.log_fault, free_bytes=self.free_bytes)

    def make_log_directory(self, path: str, *, uid: int | None, gid: int | None) -> None:
        self.chaos.at("log directory: begun")
        self.chaos.refuse("make_log_directory")
        self.written.append("make_log_directory")
        self.directories.add(path)
        self.chaos.at("log directory: done")

    def kubeadm_staging(self) -> bool:
        return self.staging

    def profile(self, name: str) -> bytes:
        return read_profile(name)


class FakeMemory:
    """Implements ``engine.ports.Memory``. What was not synced is lost by ``lose_unsynced``."""

    def __init__(self, chaos: Chaos | None = None) -> None:
        self.chaos = chaos if chaos is not None else Chaos()
        self.journal: list[Mapping[str, object]] = []
        self.synced = 0
        self.manifests: dict[Digest, bytes] = {}
        self.records: dict[Digest, EditRecord] = {}
        self.state: Mapping[str, object] = {}
        self.written: list[str] = []

    def lose_unsynced(self) -> None:
        """What a power cut does to records that were only handed to the kernel."""
        del self.journal[self.synced :]

    def append(self, record: Mapping[str, object], *, sync: bool = True) -> None:
        self._begin("append")
        self.journal.append(dict(record))
        if sync:
            self.synced = len(self.journal)
        self.chaos.at(f"append: {record['type']}")

    def load_journal(self) -> tuple[Mapping[str, object], ...]:
        return tuple(self.journal)

    def save_manifest(self, content: bytes) -> Digest:
        self._begin("save_manifest")
        digest = digest_of(content)
        self.manifests[digest] = content
        self.chaos.at("save_manifest: done")
        return digest

    def load_manifest(self, digest: Digest) -> bytes | None:
        return self.manifests.get(digest)

    def save_record(self, record: EditRecord) -> None:
        self._begin("save_record")
        self.records[record.after] = record
        self.chaos.at("save_record: done")

    def load_record(self, digest: Digest) -> EditRecord | None:
        return self.records.get(digest)

    def retain(self, digests: frozenset[Digest]) -> None:
        self.chaos.refuse("retain")

    def save_state(self, state: Mapping[str, object]) -> None:
        self._begin("save_state")
        self.state = dict(state)
        self.chaos.at("save_state: done")

    def load_state(self) -> Mapping[str, object]:
        return self.state

    def _begin(self, method: str) -> None:
        self.chaos.at(f"{method}: begun")
        self.chaos.refuse(method)
        self.written.append(method)


@dataclass(slots=True, kw_only=True)
class FakeLedger:
    """Implements ``engine.bookkeeping.LedgerPort``: records in memory; refuses what it is told to."""

    records: list[Record] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    compactions: int = 0

    def load(self) -> tuple[Record, ...]:
        self._check("load")
        return tuple(self.records)

    def append(self, record: Record) -> None:
        self._check("append")
        self.records.append(record)

    def compact(self) -> None:
        self._check("compact")
        self.compactions += 1
        self.records = list(compact(self.records))

    def _check(self, name: str) -> None:
        if name in self.refused:
            raise FileFault(f"cannot {name} the ledger: no space is left", path="/ledger", errno_name="ENOSPC")


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeTable:
    """Implements ``engine.ports.ProcessTable``."""

    api_servers: tuple[ApiServerProcess, ...] = ()
    kubelet_started_unix_s: float | None = None
    kubeadm_pid: int | None = None

    def without_kubelet(self) -> "FakeTable":
        return replace(self, kubelet_started_unix_s=None)
