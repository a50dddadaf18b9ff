"""The engine's working memory: what its parts share between two looks.

Owned by the one worker thread; nothing outside ``engine`` sees it, since everybody else gets a ``Snapshot``.
"""

from dataclasses import dataclass, field

from kauditd.core.contest import LONGEST_PAUSE_S, WINDOW_S
from kauditd.core.counters import CountResult
from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.model import Desired, FileId, ManifestFile
from kauditd.core.observed import EtcdFacts, HealthFacts, Observed, PodEvidence
from kauditd.core.preconditions import MIB, Guards
from kauditd.core.trail import Trail
from kauditd.engine.changes import ChangeLog
from kauditd.engine.editing import Editing, digest_of
from kauditd.engine.ports import Memory, Node, ProcessTable
from kauditd.engine.state import Standing
from kauditd.engine.wishes import Wishes
from kauditd.errors import FileFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the survey found out beside the files of the target.

    ``ended_audited``: a process that served at the last look is gone, and its log goes on to its end.
    """

    table: ProcessTable | None = None
    health: HealthFacts | None = None
    trail: Trail | None = None
    pod_logs: PodEvidence | None = None
    etcd: EtcdFacts | None = None
    kubelet_words: tuple[KubeletWords, ...] = ()
    ended_audited: bool = False


@dataclass(slots=True, kw_only=True)
class Workspace:
    """Parts and facts. ``seen`` is the identity of the manifest judged last, ``compliant`` its bytes where it had

    everything asked for: only a manifest that was compliant can be overwritten. ``cause`` names the next first edit.
    """

    node: Node
    memory: Memory
    wishes: Wishes
    changes: ChangeLog
    editing: Editing
    standing: Standing = field(default_factory=Standing)
    surroundings: Surroundings = field(default_factory=Surroundings)
    observed: Observed | None = None
    seen: FileId | None = None
    compliant: bytes | None = None
    cause: str = "enable"
    proven_unix_s: float | None = None
    evidence: Trail | None = None
    balance: CountResult | None = None
    balance_of: int | None = None
    state_fault: FileFault | None = None
    counters: dict[str, int | float] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """Logical path of the manifest."""
        return self.wishes.settings.target.manifest

    @property
    def asked(self) -> Desired | None:
        """What the manifest asks of the process once it is compliant."""
        return self.observed.asked if self.observed is not None else self.wishes.desired()

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter of the metrics."""
        self.counters[name] = self.counters.get(name, 0) + by

    def note_compliant(self, manifest: ManifestFile) -> None:
        """This manifest has everything asked for."""
        self.seen, self.compliant, self.cause = manifest.id, manifest.content, "change"

    def forget_compliance(self, *, cause: str = "enable") -> None:
        """What comes next is a first edit again, with all its preconditions."""
        self.compliant, self.cause = None, cause

    def target_key(self, desired: Desired | None, image: str) -> str:
        """Digest of a desired state and the image it would run on: what a bad target is remembered by."""
        return digest_of(f"{desired}|{image}".encode())[:16]

    def reverts(self) -> int:
        """How often somebody overwrote our lines of late: long enough to span two of the longest pauses."""
        since = self.node.now_unix_s() - WINDOW_S - 2 * LONGEST_PAUSE_S
        return sum(c.cause == "repair" and c.started_unix_s > since for c in self.changes.recent())

    def guards(self, image: str | None = None) -> Guards:
        """What the preconditions need beside an observation. ``image``: another than that of the last look."""
        settings = self.wishes.settings
        if image is None:
            view = self.observed.view if self.observed is not None else None
            image = view.image if view is not None else ""
        key = self.target_key(self.wishes.desired(), image)
        return Guards(
            mode=settings.mode if self.wishes.known else "observe",
            kubelet_stable_s=settings.target.kubelet_stable_s,
            paused_until_unix_s=self.standing.paused_until_unix_s,
            disabled=self.standing.disabled,
            contest=self.standing.contest,
            reverts=self.reverts(),
            target_known_bad=self.standing.bad_targets.get(key, ""),
            policy_usable=self.wishes.policy is not None,
            room_bytes=settings.log.max_size_mib * MIB,
        )
