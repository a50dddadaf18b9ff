"""The human text of an answer, so that ``kauditctl status`` prints bytes and parses nothing.

Plain ASCII of our own; foreign text goes through ``errors.quote``, so that a message in a log cannot move a
terminal's cursor. Colour comes only when asked for. Times are UTC with the distance to ``now`` beside them.
"""

import time
from collections.abc import Sequence

from kauditd.api.views import ProofView, StatusView, WindowsSummary, WindowsView
from kauditd.core.model import Change, Reason, Severity, Verdict
from kauditd.core.trail import Trail
from kauditd.core.windows import Coverage, Window
from kauditd.engine.snapshot import ProofStatus
from kauditd.errors import quote

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_VERDICT_COLOUR = {
    Verdict.PROTECTED: "32",
    Verdict.CHANGING: "36",
    Verdict.DEGRADED: "33",
    Verdict.UNPROTECTED: "31",
    Verdict.UNKNOWN: "35",
}
_SEVERITY_COLOUR = {Severity.INFO: "36", Severity.WARNING: "33", Severity.CRITICAL: "31"}
_TEXT_LIMIT = 512
_REMEDY = "remedy"
"""The event that holds advice; nothing happened then, so it is told beside the reason and not in the timeline."""

_LATEST_UNIX_S = 253_402_300_799  # the last second of the year 9999, where time.gmtime's text stops lining up


def span(seconds: float) -> str:
    """A length of time in its largest unit: ``12 s``, ``3 min``, ``2 h``, ``5 d``."""
    whole = int(abs(seconds))
    for size, unit in _UNITS:
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def moment(at_unix_s: float | None, *, now_unix_s: float) -> str:
    """A point in time for people: ``2026-11-24 13:00:12 UTC (12 s ago)``; ``never`` for None."""
    if at_unix_s is None:
        return "never"
    if not 0 <= at_unix_s <= _LATEST_UNIX_S:
        return "at an impossible time"
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_unix_s))
    distance = now_unix_s - at_unix_s
    return f"{text} (in {span(distance)})" if distance <= -1 else f"{text} ({span(distance)} ago)"


def status_text(status: StatusView, *, now_unix_s: float, colour: bool) -> str:
    """The whole of ``kauditctl status``: verdict, sentence, reasons, facts."""
    word = _paint(f"{status.verdict.value:<11}", _VERDICT_COLOUR[status.verdict], colour=colour)
    lines = [f"{word}  since {moment(status.since_unix_s, now_unix_s=now_unix_s)}", _clean(status.sentence)]
    if status.reasons:
        lines += ["", *_reasons(status.reasons, now_unix_s=now_unix_s, colour=colour)]
    lines += ["", *_aligned(_facts(status, now_unix_s=now_unix_s))]
    return "\n".join(lines) + "\n"


def proof_text(view: ProofView) -> str:
    """``kauditctl canary``: where the event was seen, or why nothing is proven and what to do about it."""
    proof = view.proof
    seen = proof.evidence
    if view.proven and seen is not None:
        where = f"{_clean(seen.file)} at byte {seen.offset_bytes}"
        latency = _milliseconds(seen.latency_ms)
        return f"proven: event {_clean(seen.audit_id)} was in {where}, {latency} after it was asked for\n"
    if proof.code:
        lines = [f"not proven: {_clean(proof.code)}: {_clean(proof.what)}"]
    elif seen is not None:
        lines = ["not proven: this round neither saw its event nor showed a fault; an earlier one did see its event"]
    else:
        lines = [f"not proven: {_clean(proof.what)}"]
    hint = proof.hint or "kauditctl status"
    return "\n".join([*lines, f"hint: {_clean(hint)}"]) + "\n"


def changes_text(changes: tuple[Change, ...], *, now_unix_s: float, detailed: bool) -> str:
    """``kauditctl history``: one line per change, or with ``detailed`` each change with its timeline."""
    if not changes:
        return "no changes\n"
    if detailed:
        return "\n".join(change_text(change, now_unix_s=now_unix_s) for change in changes)
    rows = [("id", "cause", "outcome", "started", "took", "summary")]
    rows += [
        (
            f"{change.id}",
            _clean(change.cause),
            change.outcome.value,
            moment(change.started_unix_s, now_unix_s=now_unix_s),
            _took(change),
            _clean(change.summary),
        )
        for change in changes
    ]
    return "".join(line + "\n" for line in _aligned(rows))


def change_text(change: Change, *, now_unix_s: float) -> str:
    """``kauditctl history ID``: what was done, how it ended, and every step with its distance from the start."""
    facts = [
        ("change", f"#{change.id} {_clean(change.cause)}"),
        ("target", _clean(change.target)),
        ("summary", _clean(change.summary)),
        ("started", moment(change.started_unix_s, now_unix_s=now_unix_s)),
        (
            "outcome",
            f"{change.outcome.value} after {_took(change)}" if change.finished_unix_s else change.outcome.value,
        ),
    ]
    if change.reason:
        facts.append(("reason", _clean(change.reason)))
    remedies = dict.fromkeys(event.detail for event in change.events if event.what == _REMEDY)
    facts += [("hint", _clean(remedy)) for remedy in remedies]
    facts += [("before", change.before[:12]), ("after", change.after[:12])]
    lines = _aligned(facts)
    happened = [event for event in change.events if event.what != _REMEDY]
    if happened:
        start_unix_s = change.started_unix_s
        lines.append("")
        lines += _aligned(
            [(f"{event.at_unix_s - start_unix_s:+8.1f} s", _clean(event.what), _clean(event.detail))
             for event in happened]
        )  # fmt: skip
    return "\n".join(lines) + "\n"


def windows_text(view: WindowsView, *, now_unix_s: float) -> str:
    """``kauditctl windows``: how much of the served time was proven, one line per window, what people noted."""
    lines = [] if view.coverage is None else _aligned(_coverage(view.coverage, now_unix_s=now_unix_s))
    if not view.windows:
        return "\n".join([*lines, "no windows"]) + "\n"
    rows: list[tuple[str, ...]] = [
        ("id", "kind", "cause", "from", "for", "seen after", "how it was seen", "repaired by", "proven again")
    ]
    rows += [_window(window, now_unix_s=now_unix_s) for window in view.windows]
    lines += ["", *_aligned(rows)] if lines else _aligned(rows)
    notes = [note for window in view.windows for note in _notes(window)]
    if notes:
        lines += ["", *_aligned(notes)]
    if view.total > len(view.windows):
        lines += ["", f"not shown: {view.total - len(view.windows)} more, see --limit"]
    return "\n".join(lines) + "\n"


def _coverage(coverage: Coverage, *, now_unix_s: float) -> list[tuple[str, ...]]:
    """Percentages of served time, which is proven, unaudited and unknown time together; never rounded up."""
    since = f"since {moment(coverage.since_unix_s, now_unix_s=now_unix_s)}"
    periods = [("24 h", coverage.last_day), ("30 days", coverage.last_30_days), (since, coverage.total)]
    rows: list[tuple[str, ...]] = [("period", "proven", "of served", "unaudited", "unknown", "no server")]
    rows += [
        (name, sums.coverage_text, span(sums.served_s), span(sums.unaudited_s), span(sums.unknown_s),
         span(sums.no_server_s))
        for name, sums in periods
    ]  # fmt: skip
    return rows


def _window(window: Window, *, now_unix_s: float) -> tuple[str, ...]:
    if window.resumed_unix_s is None:
        resumed = "not yet"
    else:
        resumed = f"{moment(window.resumed_unix_s, now_unix_s=now_unix_s)} {_clean(window.resumed_audit_id)}".rstrip()
    return (
        f"{window.id}",
        window.kind.value,
        window.cause.value,
        moment(window.start_unix_s, now_unix_s=now_unix_s),
        f"{span(window.duration_s)}{', open' if window.end_unix_s is None else ''}",
        span(window.detection_delay_s),
        _clean(window.detected_by) or "-",
        _clean(window.repaired_by) or "-",
        resumed,
    )


def _notes(window: Window) -> list[tuple[str, ...]]:
    """What people wrote beside a window, one line each."""
    columns = (("root cause", window.root_cause), ("prevention", window.prevention), ("owner", window.owner))
    return [(f"#{window.id}", name, _clean(text)) for name, text in columns if text]


def _took(change: Change) -> str:
    return "-" if change.finished_unix_s is None else span(change.finished_unix_s - change.started_unix_s)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of equal length as lines with two spaces between the columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _reasons(reasons: tuple[Reason, ...], *, now_unix_s: float, colour: bool) -> list[str]:
    width = max(len(_clean(reason.code)) for reason in reasons)
    lines = []
    for reason in reasons:
        severity = _paint(f"{reason.severity.value:<8}", _SEVERITY_COLOUR[reason.severity], colour=colour)
        since = "" if reason.since_unix_s is None else f" (for {span(now_unix_s - reason.since_unix_s)})"
        lines.append(f"{severity}  {_clean(reason.code):<{width}}  {_clean(reason.text)}{since}")
        if reason.hint:
            lines.append(f"{'':8}  {'':{width}}  hint: {_clean(reason.hint)}")
    return lines


def _facts(status: StatusView, *, now_unix_s: float) -> list[tuple[str, str]]:
    """Name and text of every line below the reasons, in reading order."""
    watch = f"{status.watch.mode}, {status.watch.detail}" if status.watch.detail else status.watch.mode
    uptime = span(max(0.0, now_unix_s - status.started_unix_s))
    facts = [
        ("target", _target(status)),
        ("process", _process(status, now_unix_s=now_unix_s)),
        ("policy", _policy(status)),
        *_proof(status.proof, now_unix_s=now_unix_s),
        ("counters", _clean(status.proof.counters) or "not compared yet"),
        *([] if status.coverage is None else [("windows", _summary(status.windows, now_unix_s=now_unix_s))]),
        ("drift", "none" if not status.drift_count else f"{status.drift_count}, see: kauditctl diff"),
        ("mode", _mode(status, now_unix_s=now_unix_s)),
        ("watch", _clean(watch)),
    ]
    if status.last_change is not None:
        facts.append(("change", _change(status.last_change, now_unix_s=now_unix_s)))
    facts.append(("daemon", f"{_clean(status.version)}, up {uptime}"))
    return facts


def _target(status: StatusView) -> str:
    target = status.target
    version = f" {_clean(target.version)}" if target.version else ""
    absent = "" if target.present else ", missing"
    return f"{_clean(target.kind)} {_clean(target.path)}{version}{absent}"


def _process(status: StatusView, *, now_unix_s: float) -> str:
    if status.process is None:
        return "none running"
    started = moment(status.process.started_unix_s, now_unix_s=now_unix_s)
    return f"pid {status.process.pid}, started {started}"


def _proof(proof: ProofStatus, *, now_unix_s: float) -> list[tuple[str, str]]:
    """The last proof with its age, or what the newest round found wrong and what to do about it."""
    if proof.code:
        hint = [("", f"hint: {_clean(proof.hint)}")] if proof.hint else []
        return [("proof", f"failed: {_clean(proof.code)}: {_clean(proof.what)}"), *hint]
    if proof.proven_unix_s is None:
        return [("proof", f"none yet: {_clean(proof.what)}" if proof.what else "none yet")]
    what = _clean(proof.what) if proof.evidence is None else _evidence(proof.evidence)
    return [("proof", f"{what}, {moment(proof.proven_unix_s, now_unix_s=now_unix_s)}")]


def _evidence(seen: Trail) -> str:
    return f"event {_clean(seen.audit_id)} in the log after {_milliseconds(seen.latency_ms)}"


def _milliseconds(latency_ms: float) -> str:
    """Short times with a decimal, since most events are there in less than a millisecond."""
    return f"{latency_ms:.1f} ms" if latency_ms < 10 else f"{latency_ms:.0f} ms"


def _summary(windows: WindowsSummary, *, now_unix_s: float) -> str:
    if windows.last is None:
        return "none in 30 days"
    last = moment(windows.last.start_unix_s, now_unix_s=now_unix_s)
    still = f", {windows.open_count} open" if windows.open_count else ""
    length = span(windows.last_30_days_s)
    return f"{windows.last_30_days_count} in 30 days, {length}{still}, last {windows.last.cause.value} {last}"


def _policy(status: StatusView) -> str:
    policy = status.policy
    rules = f"{policy.rule_count} rule{'' if policy.rule_count == 1 else 's'}"
    digest = f", {policy.digest[:12]}" if policy.digest else ", not published"
    return f"{_clean(policy.source)}, {rules}{digest}"


def _mode(status: StatusView, *, now_unix_s: float) -> str:
    words = [_clean(status.mode)]
    if status.disabled:
        words.append("disabled until apply")
    if status.paused_until_unix_s is not None:
        words.append(f"paused until {moment(status.paused_until_unix_s, now_unix_s=now_unix_s)}")
    if status.contested:
        words.append("contested")
    return ", ".join(words)


def _change(change: Change, *, now_unix_s: float) -> str:
    at = change.started_unix_s if change.finished_unix_s is None else change.finished_unix_s
    return f"#{change.id} {_clean(change.cause)}: {change.outcome.value}, {moment(at, now_unix_s=now_unix_s)}"


def _clean(text: str) -> str:
    return quote(text, limit=_TEXT_LIMIT)


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\033[{code}m{text}\033[0m" if colour else text
