"""What the routes answer, where that is not a value of the engine as it stands. The OpenAPI schemas come from here."""

from collections.abc import Mapping
from dataclasses import dataclass

from kauditd.core import windows as ledger_windows
from kauditd.core.model import ApiServerProcess, Change, Digest, Drift, Reason, Verdict
from kauditd.core.windows import MONTH_S, Coverage, Window
from kauditd.engine.snapshot import ProofStatus, SettingsStatus, Snapshot, TargetStatus, WatchStatus

API_LEVEL = 1
"""Grows by one with every addition that a client may want to ask for; a removal would be /v2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySummary:
    """The policy in force without its text; ``/v1/policy`` has that."""

    source: str
    digest: Digest | None
    path: str
    rule_count: int
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsSummary:
    """The windows of the last 30 days in three figures and the newest one; ``/v1/windows`` has them all."""

    open_count: int
    last_30_days_count: int
    last_30_days_s: float
    last: Window | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """The verdict with everything that it rests on. The texts and lists that may be long have routes of their own."""

    sequence: int
    at_unix_s: float
    started_unix_s: float
    version: str
    verdict: Verdict
    since_unix_s: float
    sentence: str
    reasons: tuple[Reason, ...]
    mode: str
    paused_until_unix_s: float | None
    disabled: bool
    contested: bool
    target: TargetStatus
    process: ApiServerProcess | None
    policy: PolicySummary
    settings: SettingsStatus
    watch: WatchStatus
    proof: ProofStatus
    windows: WindowsSummary
    coverage: Coverage | None
    drift_count: int
    last_change: Change | None
    counters: Mapping[str, int | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """The verdict and its sentence, for a probe that looks at the status code first."""

    verdict: Verdict
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftView:
    """Every difference between desired and observed; empty where there is none."""

    drift: tuple[Drift, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesView:
    """The newest changes first; ``total`` counts those that the journal in memory holds."""

    total: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsView:
    """Every window asked for, open ones first, then the newest; ``total`` counts also those beyond the limit.

    ``coverage`` is null until the node was first looked at.
    """

    total: int
    windows: tuple[Window, ...]
    coverage: Coverage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionView:
    """The change that a request started, or null where there was nothing to change."""

    change: Change | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofView:
    """Whether the newest round of proof saw its event in the log, the evidence or the fault, and the verdict.

    ``proof.evidence`` may be older than a round that showed neither; ``proven`` is false after such a one only in the
    answer to the request that asked for it.
    """

    verdict: Verdict
    proven: bool
    proof: ProofStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitView:
    """Whether the verdict waited for was there before the timeout, and the status at that moment."""

    reached: bool
    status: StatusView


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """Which daemon answers, and which level of the API it speaks."""

    version: str
    api_level: int


def proof_view(snapshot: Snapshot, *, before: ProofStatus | None = None) -> ProofView:
    """The proof that a snapshot shows. With ``before`` it is proven only by an event that was not known then."""
    proof, known = snapshot.proof, None if before is None else before.evidence
    proven = proof.proven_unix_s is not None and not proof.code
    if before is not None:
        proven = proven and proof.evidence is not None and (known is None or proof.evidence.audit_id != known.audit_id)
    return ProofView(verdict=snapshot.verdict, proven=proven, proof=proof)


def newest_first(changes: tuple[Change, ...]) -> tuple[Change, ...]:
    """Changes by falling id, whatever order the engine keeps them in."""
    return tuple(sorted(changes, key=lambda change: change.id, reverse=True))


def summarize(windows: tuple[Window, ...], *, now_unix_s: float) -> WindowsSummary:
    """The windows that were open at some time in the last 30 days; each counts with its whole length."""
    recent = ledger_windows.newest_first(windows, since_unix_s=now_unix_s - MONTH_S)
    return WindowsSummary(
        open_count=sum(window.end_unix_s is None for window in recent),
        last_30_days_count=len(recent),
        last_30_days_s=sum(window.duration_s for window in recent),
        last=next(iter(recent), None),
    )


def status_view(snapshot: Snapshot) -> StatusView:
    """The status that a snapshot shows."""
    policy = snapshot.policy
    return StatusView(
        sequence=snapshot.sequence,
        at_unix_s=snapshot.at_unix_s,
        started_unix_s=snapshot.started_unix_s,
        version=snapshot.version,
        verdict=snapshot.verdict,
        since_unix_s=snapshot.since_unix_s,
        sentence=snapshot.sentence,
        reasons=snapshot.reasons,
        mode=snapshot.mode,
        paused_until_unix_s=snapshot.paused_until_unix_s,
        disabled=snapshot.disabled,
        contested=snapshot.contested,
        target=snapshot.target,
        process=snapshot.process,
        policy=PolicySummary(
            source=policy.source,
            digest=policy.digest,
            path=policy.path,
            rule_count=policy.rule_count,
            problems=policy.problems,
        ),
        settings=snapshot.settings,
        watch=snapshot.watch,
        proof=snapshot.proof,
        windows=summarize(snapshot.windows, now_unix_s=snapshot.at_unix_s),
        coverage=snapshot.coverage,
        drift_count=len(snapshot.drift),
        last_change=next(iter(newest_first(snapshot.changes)), None),
        counters=snapshot.counters,
    )
