"""Facts -> verdict, reasons and one plain sentence. Nothing is called protected that was not observed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from kauditd.core.drift import flags_agree
from kauditd.core.model import ApiServerProcess, Change, Desired, Drift, Reason, Severity, Verdict
from kauditd.core.observed import Observed
from kauditd.core.trail import TrailState

LONGEST_CYCLE_S = 15.0
"""A proof may be this much younger than the look it is judged with: it is taken later in the same cycle."""

_WISHED = ("disabled", "paused")
"""Holds that say it all: somebody asked for it."""

_ORDER = {Severity.CRITICAL: 0, Severity.WARNING: 1, Severity.INFO: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict with every reason for it, the weightiest first."""

    verdict: Verdict
    reasons: tuple[Reason, ...]
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a judgement needs. ``desired`` is None where no policy was ever usable.

    ``proven_unix_s`` is when the last canary was sent whose event of the running process was seen in the log. Older
    than ``proof_lifetime_s`` it no longer counts, nor does it once a newer round has failed (``observed.trail``).
    ``troubles`` are reasons of other origin (settings, watch, ...).
    """

    observed: Observed
    desired: Desired | None
    drift: tuple[Drift, ...] = ()
    holds: tuple[Reason, ...] = ()
    troubles: tuple[Reason, ...] = ()
    open_change: Change | None = None
    gate_text: str = ""
    proven_unix_s: float | None = None
    proof_lifetime_s: float = 120.0
    policy_label: str = ""


def judge(facts: Facts) -> Judgement:
    """The verdict of one cycle."""
    drift_reasons = _reasons_of(facts.drift)
    reasons = _by_weight([*drift_reasons, *facts.holds, *facts.troubles])
    verdict, own = _verdict(facts, reasons)
    leading = _without_repeats([*own, *reasons])
    return Judgement(verdict=verdict, reasons=tuple(_by_weight(leading)), sentence=_sentence(facts, verdict, leading))


def _reasons_of(drift: Sequence[Drift]) -> list[Reason]:
    """One reason for all drift that differs in nothing but its subject: "lacks --a, --b, --c"."""
    groups: dict[tuple[str, Severity, str, str, str], list[str]] = {}
    for d in drift:
        head, label, tail = d.text.partition(_label(d))
        groups.setdefault((d.code, d.severity, d.hint, head, tail), []).append(label)
    return [
        Reason(code=code, severity=severity, text=head + ", ".join(filter(None, labels)) + tail, hint=hint)
        for (code, severity, hint, head, tail), labels in groups.items()
    ]


def _label(drift: Drift) -> str:
    return f"--{drift.subject}" if drift.code.startswith(("flag-", "policy-stale")) else drift.subject


def _by_weight(reasons: Sequence[Reason]) -> list[Reason]:
    return sorted(reasons, key=lambda r: _ORDER[r.severity])


def _verdict(facts: Facts, reasons: Sequence[Reason]) -> tuple[Verdict, list[Reason]]:
    """The verdict and the reason that it brings along, which leads the sentence."""
    process = facts.observed.process
    if facts.open_change is not None:
        change = facts.open_change
        text = f"change {change.id} ({change.cause}) is inside its gate: {facts.gate_text or 'just written'}"
        return Verdict.CHANGING, [Reason(code="change-open", severity=Severity.INFO, text=text)]
    if process is None:
        text = "no API server is to be seen on this node"
        return Verdict.UNKNOWN, [Reason(code="no-api-server", severity=Severity.WARNING, text=text)]
    if (off := _audit_off(facts, process, reasons)) is not None:
        return Verdict.UNPROTECTED, off
    if (stale := _stale_proof(facts)) is not None:
        return Verdict.UNPROTECTED, [stale]
    if any(r.severity is not Severity.INFO for r in reasons):
        return Verdict.DEGRADED, []
    text = f"the running API server (pid {process.pid}) carries every flag, and its last proof is fresh"
    return Verdict.PROTECTED, [Reason(code="audit-proven", severity=Severity.INFO, text=text)]


def _audit_off(facts: Facts, process: ApiServerProcess, reasons: Sequence[Reason]) -> list[Reason] | None:
    """Reasons (perhaps given already) why the running process is not what is desired; None where it is."""
    if facts.desired is None or not facts.desired.flags:
        # Nothing asked is nothing proven: every process carries all of no flags.
        text = "no audit flag is asked for: there is no usable policy, or audit is disabled"
        return [Reason(code="nothing-desired", severity=Severity.CRITICAL, text=text, hint="kauditctl policy show")]
    if flags_agree(facts.desired, process):
        return None
    if any(r.code == "process-differs" for r in reasons):
        return []
    text = f"the running API server (pid {process.pid}) does not carry the flags"
    return [Reason(code="process-differs", severity=Severity.CRITICAL, text=text, hint="kauditctl doctor")]


def _stale_proof(facts: Facts) -> Reason | None:
    """A reason where the newest round failed, or the last proof is too old or ahead of a clock that was set back."""
    proven, trail, process = facts.proven_unix_s, facts.observed.trail, facts.observed.process
    if trail is not None and process is not None and trail.state is TrailState.UNPROVEN and trail.speaks_of(process):
        return Reason(code=trail.code, severity=Severity.CRITICAL, text=trail.text, hint=trail.hint)
    if proven is None:
        text = "the running API server was never proven to write its audit log"
    else:
        age_s = facts.observed.at_unix_s - proven
        if -LONGEST_CYCLE_S <= age_s < facts.proof_lifetime_s:
            return None
        text = f"the last proof is {age_s:.0f} s old"
        if age_s < 0:
            text = f"the last proof lies {-age_s:.0f} s ahead of the clock, which was set back"
    return Reason(code="proof-stale", severity=Severity.CRITICAL, text=text, hint="kauditctl doctor")


def _without_repeats(reasons: Sequence[Reason]) -> list[Reason]:
    """One reason per code and text: a hold and a drift may name the same fact."""
    seen: set[tuple[str, str]] = set()
    kept: list[Reason] = []
    for reason in reasons:
        if (reason.code, reason.text) not in seen:
            seen.add((reason.code, reason.text))
            kept.append(reason)
    return kept


def _sentence(facts: Facts, verdict: Verdict, reasons: Sequence[Reason]) -> str:
    match verdict:
        case Verdict.PROTECTED:
            return f"audit is on: {_server(facts)} runs with {facts.policy_label or 'our policy'}"
        case Verdict.CHANGING:
            return reasons[0].text
        case Verdict.DEGRADED:
            return f"audit is on, but {_first_heavy(reasons)}"
        case Verdict.UNPROTECTED:
            wish = next((r for r in reasons if r.code in _WISHED), None)
            return wish.text if wish is not None else f"audit is NOT proven: {_first_heavy(reasons)}"
        case Verdict.UNKNOWN:
            return _first_heavy(reasons)
        case _:
            assert_never(verdict)


def _server(facts: Facts) -> str:
    process = facts.observed.process
    version = facts.observed.view.version if facts.observed.view is not None else ""
    pid = f" (pid {process.pid})" if process is not None else ""
    return f"kube-apiserver {version}".rstrip() + pid


def _first_heavy(reasons: Sequence[Reason]) -> str:
    heavy = [r for r in reasons if r.severity is not Severity.INFO]
    more = f" (and {len(heavy) - 1} more)" if len(heavy) > 1 else ""
    return (heavy[0].text if heavy else "nothing says why") + more
