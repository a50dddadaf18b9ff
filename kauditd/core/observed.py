"""Everything one look at the node found, as one immutable value. Decisions are made from nothing else."""

from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.model import ApiServerProcess, Digest, Edited, ManifestFile, ManifestView


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the manifest cannot be edited: the fields of ``errors.ManifestRefused`` as plain values."""

    code: str
    text: str
    line: int = 0
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A second visible file in the manifests directory that defines the API server: the kubelet reads it too."""

    name: str
    pod: str


class PolicyFileState(StrEnum):
    """What lies at the path of the published policy."""

    INTACT = "intact"
    MISSING = "missing"
    TAMPERED = "tampered"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFile:
    """The published policy that the desired flag names, and its state on disk. ``path`` is logical."""

    path: str
    digest: Digest
    state: PolicyFileState


@dataclass(frozen=True, slots=True, kw_only=True)
class LogDirectory:
    """The directory of the audit log. ``fault`` is empty where it exists and can be written."""

    path: str
    present: bool
    fault: str = ""
    free_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """What ``/livez`` and ``/readyz`` answered: HTTP status, or None where nothing answered (``detail`` says why)."""

    livez: int | None
    readyz: int | None
    detail: str = ""

    @property
    def ready(self) -> bool:
        """200, or 401: the handler runs and only anonymous requests are off."""
        return self.readyz in (200, 401)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerEnd:
    """The API server container that ended last, from the pod's log directory that the kubelet keeps.

    ``pod_uid`` and ``attempt`` (from 0) name it: /var/log/pods/kube-system_kube-apiserver-NODE_UID/ holds one
    ATTEMPT.log per start, and the kubelet deletes it about a second after the next attempt ended. ``last_line`` is
    what the container said last, without the CRI prefix.
    """

    pod_uid: str
    attempt: int
    last_line: str = ""

    @property
    def blames_audit(self) -> bool:
        """Whether the API server gave up because of an audit flag, the policy or the log: its last line says so."""
        gave_up = self.last_line.startswith("Error: ") or '"command failed"' in self.last_line
        return gave_up and "audit" in self.last_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at the node. ``edited`` is what an edit towards the desired state would do to ``manifest``.

    ``processes`` holds the API servers of this target only. ``health`` is None where nothing was asked.
    ``ended`` is None where no container is known to have ended: a process that lives 0.1-0.6 s is often not seen.
    """

    at_unix_s: float
    manifest: ManifestFile
    view: ManifestView | None = None
    edited: Edited | None = None
    refusal: Refusal | None = None
    shadows: tuple[Shadow, ...] = ()
    processes: tuple[ApiServerProcess, ...] = ()
    kubelet_started_unix_s: float | None = None
    kubeadm_pid: int | None = None
    health: HealthFacts | None = None
    ended: ContainerEnd | None = None
    policy_file: PolicyFile | None = None
    log_directory: LogDirectory | None = None

    @property
    def process(self) -> ApiServerProcess | None:
        """The API server that serves: the oldest where an old one and its successor overlap for an instant."""
        return min(self.processes, key=lambda p: p.started_unix_s, default=None)

    @property
    def anything_runs(self) -> bool:
        """Whether there is something to break: a kubelet that would act on the file, or an API server."""
        return bool(self.processes) or self.kubelet_started_unix_s is not None
