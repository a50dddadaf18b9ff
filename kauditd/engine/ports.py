"""The world as the engine sees it: three Protocols. Every path is logical; the node maps it below its root.

One contract suite runs on the fakes of the tests and on the real effects behind ``daemon``.
"""

from collections.abc import Mapping
from typing import Protocol

from kauditd.core.model import ApiServerProcess, Digest, EditRecord, FileId, ManifestFile
from kauditd.core.observed import LogDirectory, PolicyFileState


class Node(Protocol):
    """Files and processes of one node. Methods block briefly and raise ``errors.FileFault`` on refusal."""

    def now_unix_s(self) -> float:
        """Wall-clock time."""
        ...

    def monotonic_s(self) -> float:
        """Time that nobody steps, comparable within one boot."""
        ...

    def boot_id(self) -> str:
        """Which boot this is; empty where the kernel does not say."""
        ...

    def read_manifest(self, path: str) -> ManifestFile:
        """The manifest without following links; never raises, the answer carries ``missing`` or ``fault``."""
        ...

    def identify(self, path: str) -> FileId | None:
        """Identity of the file at ``path`` without reading it; None where there is none."""
        ...

    def replace_manifest(self, path: str, content: bytes, *, expected: ManifestFile) -> FileId:
        """Replace by the crash-safe protocol; ``errors.LostUpdate`` where the file is no longer ``expected``."""
        ...

    def sweep(self, directory: str) -> tuple[str, ...]:
        """Remove temporary files that a killed run of ours left in ``directory``; their names."""
        ...

    def visible_files(self, directory: str) -> tuple[str, ...]:
        """Names the kubelet would read: no leading dot, sorted; empty where the directory is missing."""
        ...

    def read_file(self, path: str, *, limit_bytes: int) -> bytes | None:
        """A small file, links followed; None where it is missing."""
        ...

    def policy_state(self, path: str, digest: Digest) -> PolicyFileState:
        """Whether the published policy at ``path`` still has the bytes of its digest."""
        ...

    def publish_policy(self, path: str, content: bytes) -> None:
        """Write an immutable policy file, making its directory where needed."""
        ...

    def log_directory(self, path: str) -> LogDirectory:
        """State of the directory that takes the audit log."""
        ...

    def make_log_directory(self, path: str, *, uid: int | None, gid: int | None) -> None:
        """Create it 0700 for the API server's user; an existing one is left as it is."""
        ...

    def kubeadm_staging(self) -> bool:
        """Whether kubeadm has staged manifests within the last minutes (its staging directory exists)."""
        ...

    def profile(self, name: str) -> bytes:
        """A shipped policy profile."""
        ...


class Memory(Protocol):
    """What survives a restart: journal, last-good manifests, strip records and a little state."""

    def append(self, record: Mapping[str, object], *, sync: bool = True) -> None:
        """Add a journal record; on disk when this returns if ``sync``."""
        ...

    def load_journal(self) -> tuple[Mapping[str, object], ...]:
        """All records that can be read, oldest first."""
        ...

    def save_manifest(self, content: bytes) -> Digest:
        """Keep a manifest under its digest, durably; cheap where it is kept already."""
        ...

    def load_manifest(self, digest: Digest) -> bytes | None:
        """A kept manifest, or None."""
        ...

    def save_record(self, record: EditRecord) -> None:
        """Keep the strip record of the edited text ``record.after``, durably."""
        ...

    def load_record(self, digest: Digest) -> EditRecord | None:
        """The strip record of the edited text with this digest, or None."""
        ...

    def retain(self, digests: frozenset[Digest]) -> None:
        """Drop kept manifests and records but the newest and those named."""
        ...

    def save_state(self, state: Mapping[str, object]) -> None:
        """Replace the small state, durably."""
        ...

    def load_state(self) -> Mapping[str, object]:
        """The small state; empty where there is none."""
        ...


class ProcessTable(Protocol):
    """One pass over the process table."""

    @property
    def api_servers(self) -> tuple[ApiServerProcess, ...]:
        """Every process whose argv names kube-apiserver."""
        ...

    @property
    def kubelet_started_unix_s(self) -> float | None:
        """Start of the kubelet, None where none runs."""
        ...

    @property
    def kubeadm_pid(self) -> int | None:
        """A kubeadm that upgrades, initialises or joins; None where none runs."""
        ...
