"""Everything one look at the node found, as one immutable value. Decisions are made from nothing else."""

import re
from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.lastwords import LastWords, explain_last_words
from kauditd.core.lastwords_table import Blame
from kauditd.core.model import ApiServerProcess, Desired, Digest, Edited, ManifestFile, ManifestView
from kauditd.core.trail import Trail, TrailState

_ETCD_CHECK = re.compile(r"\betcd(?:-readiness)?\b.* failed")
"""The checks of k8s.io/apiserver pkg/server/options/etcd.go, as the probe's detail lists what failed."""


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
    def words(self) -> LastWords:
        """What the last line means."""
        return explain_last_words(self.last_line)

    @property
    def blames_audit(self) -> bool:
        """Whether the API server gave up because of an audit flag, the policy or the log: its last line says so."""
        return self.words.blames is Blame.AUDIT

    @property
    def blames_etcd(self) -> bool:
        """Whether it ended because etcd did not answer."""
        return self.words.blames is Blame.ETCD


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEvidence:
    """What the kubelet's log directories say of the API server's pod.

    ``pod_uid`` is the pod whose directory changed last, None where there is no directory; ``made_unix_s`` is when the
    kubelet made it. ``attempt`` is the newest container (from 0), None while the directory is empty: the kubelet
    makes it before it pulls the image. ``finished`` says whether that attempt has ended. ``ended`` is the newest one
    that has. ``listed`` is false where the directories could not be read, so that nothing follows from their absence.
    """

    listed: bool = True
    pod_uid: str | None = None
    made_unix_s: float | None = None
    attempt: int | None = None
    finished: bool = False
    ended: ContainerEnd | None = None

    @property
    def empty(self) -> bool:
        """The kubelet has made the directory and has not started anything in it yet."""
        return self.pod_uid is not None and self.attempt is None


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdFacts:
    """How many of the etcd endpoints that the API server names took a connection; ``detail`` says why others did not.

    One that takes it may still have lost its quorum: the API server's last words and ``/readyz`` tell.
    """

    reachable: int
    total: int
    detail: str = ""

    @property
    def down(self) -> bool:
        """None of them answers. Where no endpoint is known nothing is known to be down."""
        return self.total > 0 and self.reachable == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One look at the node. ``edited`` is what an edit towards the desired state would do to ``manifest``.

    ``processes`` holds the API servers of this target only. ``health`` is None where nothing was asked.
    ``ended`` is None where no container is known to have ended: a process that lives 0.1-0.6 s is often not seen.
    ``pod_logs`` and ``etcd`` are None where they were not looked at.
    """

    at_unix_s: float
    manifest: ManifestFile
    view: ManifestView | None = None
    edited: Edited | None = None
    asked: Desired | None = None
    trail: Trail | None = None
    refusal: Refusal | None = None
    shadows: tuple[Shadow, ...] = ()
    processes: tuple[ApiServerProcess, ...] = ()
    kubelet_started_unix_s: float | None = None
    kubeadm_pid: int | None = None
    health: HealthFacts | None = None
    ended: ContainerEnd | None = None
    pod_logs: PodEvidence | None = None
    etcd: EtcdFacts | None = None
    policy_file: PolicyFile | None = None
    log_directory: LogDirectory | None = None

    @property
    def etcd_down(self) -> bool:
        """Whether etcd is seen not to serve: nobody listens there, or the API server's own check of it fails."""
        failing = self.health is not None and _ETCD_CHECK.search(self.health.detail) is not None
        return failing or (self.etcd is not None and self.etcd.down)

    @property
    def process(self) -> ApiServerProcess | None:
        """The API server that serves: the oldest where an old one and its successor overlap for an instant."""
        return min(self.processes, key=lambda p: p.started_unix_s, default=None)

    @property
    def proven(self) -> bool:
        """Whether the last round of proof saw an event of the process that serves."""
        process, trail = self.process, self.trail
        return (
            process is not None and trail is not None and trail.state is TrailState.PROVEN and trail.speaks_of(process)
        )

    @property
    def anything_runs(self) -> bool:
        """Whether there is something to break: a kubelet that would act on the file, or an API server."""
        return bool(self.processes) or self.kubelet_started_unix_s is not None
