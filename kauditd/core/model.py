"""The values that travel between the layers. All frozen; units stand in the names.

Words are those of the design: target, desired, observed, drift, plan, step, change, proof, verdict.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType

Digest = NewType("Digest", str)
"""SHA-256 as 64 lower-case hexadecimal digits."""

POLICY_VOLUME = "kauditd-policy"
LOG_VOLUME = "kauditd-log"
NONCE_ANNOTATION = "kauditd.io/nonce"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """One command-line flag in canonical spelling: no leading dashes, ``-`` for ``_``, value as one string."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One hostPath directory seen inside the API server's container."""

    name: str
    host_path: str
    mount_path: str
    read_only: bool
    path_type: str = "DirectoryOrCreate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What the settings ask of a target. Order counts: flags are appended in this order, mounts sorted by name.

    ``nonce``: a value for the ``kauditd.io/nonce`` annotation, or None. It is set only where the Pod would
    otherwise equal the one that was live before kubeadm's rename (kubeadm then waits for a hash that never changes).
    """

    flags: tuple[Flag, ...]
    mounts: tuple[Mount, ...]
    nonce: str | None = None

    def flag(self, name: str) -> str | None:
        """The value asked for flag ``name``, or None where nothing is asked."""
        return next((f.value for f in self.flags if f.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One difference that an edit removes; it is also the drift that the manifest shows.

    ``code`` is one of ``flag-missing``, ``flag-differs``, ``flag-duplicate``, ``mount-missing``,
    ``mount-readonly``, ``volume-missing``, ``nonce-missing``, ``nonce-stale``. ``line`` counts from 1 in the
    incoming text (for an insertion: the line before which ours goes). ``foreign`` marks a line that somebody else
    wrote and that is edited in place; ``before`` is None for an insertion and for a flag that stood without a value.
    """

    code: str
    subject: str
    line: int
    before: str | None
    after: str | None
    foreign: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Splice:
    """One replaced range of lines: ``start`` (from 0) in the edited text, what stands there, what stood there."""

    start: int
    new: tuple[str, ...]
    old: tuple[str, ...]
    role: str
    subject: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRecord:
    """All that ``strip`` needs to give the original bytes back. Plain values, so that it can be journalled.

    ``splices`` are in document order. ``before`` and ``after`` are the digests of the two texts. ``edits`` say what
    the splices mean, so that our lines are still found after others changed theirs; ``created`` names the keys that
    were not there before (``volumes``, ``volumeMounts``, ``annotations``).
    """

    before: Digest
    after: Digest
    splices: tuple[Splice, ...]
    edits: tuple[Edit, ...] = ()
    created: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The outcome of an edit: the new bytes, what changed and how to take it back. ``edits`` empty = nothing to do."""

    text: bytes
    edits: tuple[Edit, ...]
    record: EditRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestView:
    """What one manifest says about audit, and the facts other decisions need from it.

    ``pod_digest`` is over the decoded object, so layout and comments do not count and list order does, exactly as
    kubeadm compares (staticpod.ManifestFilesAreEqual). ``audit_flags`` are the flags in force (the last of
    duplicates). ``log_host_path`` and ``policy_host_path`` are the flags' paths seen from the host through the
    mounts, None where no mount covers them. ``image`` and ``version`` name the API server ("v1.36.3" or "").
    """

    pod_name: str
    namespace: str
    image: str
    version: str
    address: str
    port: int
    pod_digest: Digest
    flags: tuple[Flag, ...]
    audit_flags: tuple[Flag, ...]
    duplicates: tuple[str, ...]
    log_host_path: str | None
    policy_host_path: str | None
    nonce: str | None
    run_as_user: int | None = None
    run_as_group: int | None = None

    def flag(self, name: str) -> str | None:
        """The value in force of flag ``name``, or None where it is absent."""
        return next((f.value for f in reversed(self.flags) if f.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileId:
    """Identity of a file's content at one look, never of its bytes: kubeadm may move in equal bytes."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """The manifest as read: bytes, identity, owner and mode. ``missing`` = no such file, ``fault`` = unreadable."""

    path: str
    content: bytes | None = None
    id: FileId | None = None
    digest: Digest | None = None
    missing: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerProcess:
    """A running API server as ``/proc`` shows it. ``flags`` keep order; the last of duplicates is in force."""

    pid: int
    started_unix_s: float
    argv: tuple[str, ...]
    flags: tuple[Flag, ...]
    pod_uid: str | None = None

    def flag(self, name: str) -> str | None:
        """The value in force of flag ``name``, or None where it is absent."""
        return next((f.value for f in reversed(self.flags) if f.name == name), None)


class Severity(StrEnum):
    """How much a reason weighs: ``info`` never changes a verdict."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One difference between desired and observed, with a stable code and what to do about it."""

    code: str
    subject: str
    severity: Severity
    text: str
    hint: str = ""
    expected: str | None = None
    found: str | None = None
    repairable: bool = False


class Verdict(StrEnum):
    """The one word of a status; the design's section 2 defines each."""

    PROTECTED = "protected"
    CHANGING = "changing"
    DEGRADED = "degraded"
    UNPROTECTED = "unprotected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a verdict is what it is. ``since_unix_s`` is filled in by whoever remembers when it was first seen."""

    code: str
    severity: Severity
    text: str
    hint: str = ""
    since_unix_s: float | None = None


class Outcome(StrEnum):
    """How a change ended. ``open`` while it is inside its gate."""

    OPEN = "open"
    PROVEN = "proven"
    UNPROVEN = "unproven"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeEvent:
    """One line of a change's timeline."""

    at_unix_s: float
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One executed plan with its evidence. ``id`` grows by one; ``cause`` says who asked (enable, repair, ...)."""

    id: int
    cause: str
    target: str
    summary: str
    before: Digest
    after: Digest
    started_unix_s: float
    finished_unix_s: float | None = None
    outcome: Outcome = Outcome.OPEN
    reason: str = ""
    events: tuple[ChangeEvent, ...] = field(default=())
