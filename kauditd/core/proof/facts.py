"""What a proof is judged from, and what comes out of it: plain values."""

from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.canary import Canary, CanaryAnswer, Found, Route
from kauditd.core.counters import Counters
from kauditd.core.generations import FileKey
from kauditd.core.model import ApiServerProcess, Desired, ManifestView
from kauditd.core.observed import Shadow


class Held(StrEnum):
    """What the API server's descriptors show of its log.

    ``open``: exactly the file at the path. ``not-open``: none; normal before the first event, for lumberjack opens
    at its first write. ``deleted``, ``renamed``: a log file that lost its name or has another. ``elsewhere``: a file
    of that name that is not the one at the path. ``unknown``: the descriptors cannot be seen.
    """

    OPEN = "open"
    NOT_OPEN = "not-open"
    DELETED = "deleted"
    RENAMED = "renamed"
    ELSEWHERE = "elsewhere"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """The log file by the API server's eyes and by the host's.

    ``path`` is the flag's value, ``seen_path`` where this process finds that file as the API server sees it,
    ``host_path`` where it should be on the host. ``seen`` and ``host`` are None where there is no such file.
    ``process_root_seen`` is false where /proc/PID/root could not be used; then ``seen`` is the host's file.
    ``held_path`` is the name of the file that is held where it is not the one at the path. ``free_bytes`` is the
    room on the log's file system. ``fault`` is one line on what could not be looked at.
    """

    path: str
    seen_path: str
    host_path: str
    seen: FileKey | None
    host: FileKey | None
    held: Held
    held_path: str = ""
    process_root_seen: bool = True
    free_bytes: int | None = None
    fault: str = ""

    @property
    def shared(self) -> bool | None:
        """Whether the host sees the same file; None where there is none yet, or the process's view is not known."""
        if self.held is Held.ELSEWHERE:
            return False
        if self.seen is None or not self.process_root_seen:
            return None
        return self.seen.same_file(self.host)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryFacts:
    """One canary: what was sent, what came back, what was found in the file, and how long it was looked for."""

    canary: Canary
    answer: CanaryAnswer
    found: Found | None
    searched_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyFacts:
    """What the policy in force does to the canaries: the routes that it records, None where it cannot be read.

    ``foreign``: the policy is not one that kauditd published.
    """

    path: str
    foreign: bool
    recorded: frozenset[Route] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFacts:
    """Everything that a proof is judged from. ``canaries`` in the order in which they were sent.

    ``log`` and ``canaries`` are to be gathered after the answer, for a log is opened at the first event. ``before``
    and ``after`` are counters read around the canaries, where there are any.
    """

    at_unix_s: float
    process: ApiServerProcess | None
    desired: Desired
    view: ManifestView | None = None
    log: LogFacts | None = None
    canaries: tuple[CanaryFacts, ...] = ()
    policy: PolicyFacts | None = None
    shadows: tuple[Shadow, ...] = ()
    before: Counters | None = None
    after: Counters | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an auditor needs to look up the event without us, and to know which API server wrote it.

    ``file`` (on the host) and ``offset_bytes`` name the line; with a rotation the name changes, ``device`` and
    ``inode`` stay.
    ``latency_ms`` is from the question until the line was seen. ``policy`` is the flag's value, ``policy_digest`` the
    12 digits that a policy of ours carries in its name, else "". ``as_desired``: the process carries every flag asked
    for. ``hidden`` are routes that were asked before and that the policy does not record.
    """

    audit_id: str
    uri: str
    stage: str
    level: str
    status: int | None
    file: str
    device: int
    inode: int
    offset_bytes: int
    length_bytes: int
    latency_ms: float
    event_unix_s: float
    proven_unix_s: float
    policy: str
    policy_digest: str
    pid: int
    started_unix_s: float
    as_desired: bool
    glued: bool = False
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """An event was seen in the file that the API server holds open."""

    evidence: Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproven:
    """The trail does not work, or it cannot be shown to; ``code`` is stable.

    ``fallback`` is the request to try next, in the same round, before this is reported.
    """

    code: str
    text: str
    hint: str
    fallback: Route | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inconclusive:
    """Nothing is shown either way: try again."""

    text: str


ProofResult = Proven | Unproven | Inconclusive
