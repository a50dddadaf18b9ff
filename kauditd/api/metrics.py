"""OpenMetrics 1.0 text of a snapshot: a small writer, since the format is smaller than its libraries.

Rules kept (OpenMetrics specification, text format): a family's metadata comes once and before its samples, a
counter's sample ends in ``_total``, an info's in ``_info``, a family with a unit ends in that unit, label values
escape backslash, quote and newline, and ``# EOF`` is the last line.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kauditd.core.model import Severity, Verdict
from kauditd.core.windows import WindowCause
from kauditd.engine.snapshot import Snapshot

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_RESERVED = ("_total", "_info", "_created", "_bucket", "_count", "_sum")  # suffixes that name parts of a family
_EXACT = 2**53  # above it a float has no exact integer to write
_NOT_A_NAME = re.compile(r"[^a-z0-9_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric family. ``samples`` are (labels, value); ``kind`` is gauge, counter, info or stateset."""

    name: str
    kind: str
    text: str
    unit: str = ""
    samples: tuple[tuple[Mapping[str, str], float], ...]


def metrics_text(snapshot: Snapshot) -> str:
    """The exposition of one snapshot."""
    families: dict[str, Family] = {}
    for family in _families(snapshot):
        families.setdefault(family.name, family)
    return exposition(families.values())


def _families(snapshot: Snapshot) -> list[Family]:
    """All of them in the order of the exposition; of two with one name the first is meant."""
    parts = (_state, _times, _proof, _counts, _ledger, _engine)
    return [family for part in parts for family in part(snapshot)]


def exposition(families: Iterable[Family]) -> str:
    """Families as OpenMetrics text. Family names must differ."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# TYPE {family.name} {family.kind}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {_escape(family.text)}")
        suffix = {"counter": "_total", "info": "_info"}.get(family.kind, "")
        lines += [f"{family.name}{suffix}{_labels(labels)} {_number(value)}" for labels, value in family.samples]
    return "\n".join([*lines, "# EOF"]) + "\n"


def _state(snapshot: Snapshot) -> list[Family]:
    verdicts = tuple(({"kauditd_verdict": word.value}, float(word is snapshot.verdict)) for word in Verdict)
    reasons = {(reason.code, reason.severity.value) for reason in snapshot.reasons}
    return [
        Family(name="kauditd_build", kind="info", text="The daemon that answers.",
               samples=(({"version": snapshot.version}, 1),)),
        Family(name="kauditd_verdict", kind="stateset", text="The verdict on this node.", samples=verdicts),
        Family(name="kauditd_reason", kind="gauge", text="Reasons of the verdict, by code.",
               samples=tuple(({"code": code, "severity": severity}, 1) for code, severity in sorted(reasons))),
        _gauge("kauditd_disabled", "Whether our lines were taken out on request.", snapshot.disabled),
        _gauge("kauditd_contested", "Whether somebody else keeps reverting us.", snapshot.contested),
        _gauge("kauditd_paused", "Whether writing is paused.", snapshot.paused_until_unix_s is not None),
        _gauge("kauditd_target_present", "Whether the manifest or unit is there.", snapshot.target.present),
        _gauge("kauditd_target_running", "Whether an API server process is seen.", snapshot.process is not None),
    ]  # fmt: skip


def _times(snapshot: Snapshot) -> list[Family]:
    times: list[tuple[str, str, float | None]] = [
        ("kauditd_start_time", "When the daemon started.", snapshot.started_unix_s),
        ("kauditd_snapshot_time", "When the world was last looked at.", snapshot.at_unix_s),
        ("kauditd_verdict_since_time", "Since when the verdict has been what it is.", snapshot.since_unix_s),
        ("kauditd_last_proof_time", "When events were last proven to arrive.", snapshot.proof.proven_unix_s),
    ]
    return [
        Family(name=f"{name}_seconds", kind="gauge", unit="seconds", text=text, samples=(({}, at),))
        for name, text, at in times
        if at is not None
    ]


def _proof(snapshot: Snapshot) -> list[Family]:
    """The newest round of proof. What it found wrong is a reason too, and has its code as a label there."""
    proof = snapshot.proof
    failed = _gauge("kauditd_proof_failed", "Whether the newest round of proof found a fault.", bool(proof.code))
    if proof.evidence is None:
        return [failed]
    return [
        failed,
        Family(name="kauditd_proof_latency_seconds", kind="gauge", unit="seconds",
               text="How long the last proven event took from the request into the log.",
               samples=(({}, proof.evidence.latency_ms / 1000),)),
    ]  # fmt: skip


def _counts(snapshot: Snapshot) -> list[Family]:
    drift = tuple(
        ({"severity": severity.value}, sum(item.severity is severity for item in snapshot.drift))
        for severity in Severity
    )
    watch = snapshot.watch
    counters = [
        ("kauditd_watch_rearm", "Times that file watches were set up again.", watch.rearm_total),
        ("kauditd_watch_overflow", "Times that the kernel dropped file events.", watch.overflow_total),
        ("kauditd_resync_found_drift", "Drifts that no file event had told of.", watch.resync_found_drift_total),
    ]
    return [
        Family(name="kauditd_drift", kind="gauge", text="Differences between desired and observed.", samples=drift),
        Family(name="kauditd_policy_rules", kind="gauge", text="Rules of the policy in force.",
               samples=(({}, snapshot.policy.rule_count),)),
        *(Family(name=name, kind="counter", text=text, samples=(({}, value),)) for name, text, value in counters),
    ]  # fmt: skip


def _ledger(snapshot: Snapshot) -> list[Family]:
    """Windows and coverage. A ratio is rounded down, and is missing where nothing was served."""
    coverage = snapshot.coverage
    if coverage is None:
        return []
    total = coverage.total
    ratios = [("24h", coverage.last_day), ("30d", coverage.last_30_days), ("all", total)]
    seconds = coverage.unaudited_s_by_cause
    opened = float(sum(window.end_unix_s is None for window in snapshot.windows))
    return [
        Family(name="kauditd_unaudited_seconds", kind="counter", unit="seconds",
               text="Served time that no proof covers, by cause.",
               samples=tuple(({"cause": cause.value}, seconds.get(cause.value, 0.0)) for cause in WindowCause)),
        Family(name="kauditd_unknown_seconds", kind="counter", unit="seconds", text="Time that nobody watched.",
               samples=(({}, total.unknown_s),)),
        Family(name="kauditd_proven_seconds", kind="counter", unit="seconds", text="Served time that a proof covers.",
               samples=(({}, total.proven_s),)),
        Family(name="kauditd_coverage_ratio", kind="gauge", unit="ratio",
               text="Proven part of served time (proven, unaudited and unknown), rounded down.",
               samples=tuple(({"period": period}, sums.coverage_ratio) for period, sums in ratios
                             if sums.coverage_ratio is not None)),
        _gauge("kauditd_windows_open", "Windows that are open now.", opened),
    ]  # fmt: skip


def _engine(snapshot: Snapshot) -> list[Family]:
    """The engine's own counters: a name that ends in ``_total`` is a counter, anything else a gauge.

    A name that a family above already has is left out by ``metrics_text``: a family may come only once.
    """
    return [_engine_family(key, snapshot.counters[key]) for key in sorted(snapshot.counters)]


def _engine_family(key: str, value: float) -> Family:
    stem = _NOT_A_NAME.sub("_", key.lower().removeprefix("kauditd_")).strip("_")
    full = f"kauditd_{stem or 'unnamed'}"
    is_counter = full.endswith("_total")
    name = full.removesuffix("_total")
    if name.endswith(_RESERVED):
        name += "_value"
    words = name.removeprefix("kauditd_").replace("_", " ")
    text = f"The engine's {'count' if is_counter else 'value'} of {words}."
    return Family(name=name, kind="counter" if is_counter else "gauge", text=text, samples=(({}, value),))


def _gauge(name: str, text: str, value: float) -> Family:
    return Family(name=name, kind="gauge", text=text, samples=(({}, value),))


def _labels(labels: Mapping[str, str]) -> str:
    inner = ",".join(f'{name}="{_escape(value)}"' for name, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escape(text: str) -> str:
    valid = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return valid.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value == int(value) and abs(value) < _EXACT else repr(float(value))
