"""Made-up lives of a node for the ledger: any interleaving of looks, restarts, crashes and clock steps."""

import pytest
from hypothesis import strategies as st

from kauditd.core.ledger import Ledger, advance, tell
from kauditd.core.looks import Event, EventKind, Look, ProofResult, ServerId
from kauditd.core.windows import SpanKind, WindowCause

BOOT_UNIX_S = 1_795_500_000.0

_FIRST = ServerId(pid=100, started_s=900.0)
_GOOD = ProofResult(ok=True, audit_id="canary-1")
_PROOFS = [
    None,
    None,
    _GOOD,
    _GOOD,
    ProofResult(ok=False, how="gone", cause=WindowCause.LOG_DELETED),
    ProofResult(ok=False),
    ProofResult(ok=True, audit_id="canary-2", taken_monotonic_s=1010.0),
]
STEPS = st.tuples(
    st.floats(-5, 60, allow_nan=False),
    st.sampled_from([None, _FIRST, _FIRST, _FIRST, ServerId(pid=200, started_s=1_032.0)]),
    st.booleans(),
    st.sampled_from(_PROOFS),
    st.sampled_from(["", "", "evidence"]),
    st.sampled_from(["", "", "evidence"]),
    st.sampled_from(["", "", "", "start", "boot"]),
    st.sampled_from([0.0, 0.0, 0.0, 3600.0, -86_400.0, 0.5]),
    st.booleans(),
)
"""Seconds passed, process, serving, proof, covered_by, closed_by, a restart before it, a clock step, none_before."""


def check_tiling(ledger: Ledger, *, is_lossy: bool = False) -> None:
    """Spans and what waits tile the life: no hole, no overlap, no empty span, one window per window span.

    ``is_lossy``: records were lost, so a window may be known whose span is not.
    """
    assert ledger.tail is not None or not ledger.spans
    position_s = 0.0
    for span in ledger.spans:
        assert span.start_s == position_s
        assert span.end_s > span.start_s
        assert bool(span.window) == (span.kind in {SpanKind.UNAUDITED, SpanKind.UNKNOWN})
        position_s = span.end_s
    if ledger.tail is not None:
        for piece in ledger.tail.pieces:
            assert piece.start_s == position_s
            position_s = piece.end_s
        assert position_s == ledger.tail.position_s
    spans = {s.window: s for s in ledger.spans if s.window}
    known = {w.id: w for w in ledger.windows}
    assert [w.id for w in ledger.windows] == sorted(known)
    assert spans.keys() <= known.keys() if is_lossy else spans.keys() == known.keys()
    for number, span in spans.items():
        window = known[number]
        assert span.kind is window.kind
        assert window.duration_s == pytest.approx(span.end_s - span.start_s)
        assert window.detection_delay_s >= 0
        assert window.end_unix_s is not None or span is ledger.spans[-1]


def play(steps: list[tuple], *, wall: bool) -> tuple[Ledger, list[tuple[float, float]]]:
    """The ledger of a life, and the stretches in which nobody watched; ``wall``: with its clock steps."""
    ledger, now_s, offset_s, boots = Ledger(), 1000.0, BOOT_UNIX_S, 1
    unwatched: list[tuple[float, float]] = []
    for passed_s, process, serving, proof, covered_by, closed_by, what, step_s, none_before in steps:
        now_s += passed_s
        offset_s += step_s if wall else 0.0
        if what == "boot":
            boots, offset_s, now_s = boots + 1, offset_s + now_s, 5.0
        if what:
            ledger = tell(ledger, Event(kind=EventKind.STARTED, at_unix_s=now_s + offset_s))
        before = ledger.tail
        ledger = advance(
            ledger,
            Look(
                at_unix_s=now_s + offset_s, monotonic_s=now_s, boot_id=str(boots), process=process, serving=serving,
                proof=proof, covered_by=covered_by, closed_by=closed_by, none_before=none_before,
            ),
        )  # fmt: skip
        check_tiling(ledger)
        assert ledger.tail is not None
        gone_s = 0.0 if before is None else ledger.tail.position_s - before.position_s
        if before is not None and (what or gone_s > 30) and not (covered_by or none_before):
            unwatched.append((before.position_s, ledger.tail.position_s - (now_s if what == "boot" else 0.0)))
    return ledger, unwatched
