"""The ledger: every second of the node's life is proven, unaudited, without a server, or unknown.

Pure: ``advance`` takes the ledger so far and one ``Look`` and gives the next ledger. What is decided stays decided;
served time waits as *pieces* until it is judged, because only a later proof of the same process can cover it.

The rules, each on the safe side:

* A proof covers the watched, served time of its process before it, back to the last proof or to where watching
  began. The API server reads audit flags and policy once, when it starts, and never again (apiserver
  pkg/server/options/audit.go), so what a proof finds was so since the start unless a look in between saw it fail.
* A failed proof reaches back: everything since the last good one is unaudited, and so is all that follows until the
  next good one. A proof that does not come within ``proof_lifetime_s`` of served time (counted from the last proof
  or evidence) counts as failed.
* A process that ends between two proofs leaves time that nothing covers, unless the caller brings evidence
  (``closed_by``). The same holds where watching breaks off (``covered_by``); time not watched is unknown.
* Where looks are more than ``longest_look_s`` apart, nobody watched in between.

Time is the node's life: within one boot it advances by CLOCK_MONOTONIC, which stands still while the machine is
suspended. From one boot to the next there is but the wall clock, so that length alone is informative.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from kauditd.core.looks import Event, EventKind, Look, ProofResult
from kauditd.core.passage import Fault, Limits, Piece, Tail, pass_time
from kauditd.core.windows import (
    DAY_S,
    GENERIC_CAUSES,
    MONTH_S,
    WINDOW_KINDS,
    Coverage,
    Span,
    SpanKind,
    Window,
    WindowCause,
    lengths_since,
    sum_up,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """All that is known. ``spans`` tile the life up to ``decided_s``; what lay before them is summed up in ``months``

    (seconds per kind, by "YYYY-MM"). Windows are never dropped. ``unaudited_s`` counts unaudited seconds under the
    cause that was known when they passed, so that it only grows; a window's cause may become more exact later.
    ``tail`` is None before the first look.
    """

    limits: Limits = field(default_factory=Limits)
    began_unix_s: float = 0.0
    months: Mapping[str, Mapping[SpanKind, float]] = field(default_factory=dict)
    spans: tuple[Span, ...] = ()
    windows: tuple[Window, ...] = ()
    unaudited_s: Mapping[str, float] = field(default_factory=dict)
    tail: Tail | None = None

    @property
    def decided_s(self) -> float:
        """The life position up to which every second is in a span."""
        return self.spans[-1].end_s if self.spans else 0.0


def advance(ledger: Ledger, look: Look) -> Ledger:
    """The ledger after ``look``."""
    tail = ledger.tail
    if tail is None:
        first = _tail_at(look, 0.0)
        return _mark_open(_judge(replace(ledger, began_unix_s=look.at_unix_s), first, look))
    passage = pass_time(tail, look, ledger.limits)
    pieces = _joined(tail.pieces, passage.before)
    proven, fault = tail.proven, tail.fault
    if passage.ending is not None:
        pieces = _joined(_ended(pieces, tail, passage.ending, closed_by=look.closed_by), passage.after)
        proven, fault = False, None
    fresh_s = passage.end_s if look.covered_by else tail.fresh_s
    after = replace(_tail_at(look, passage.end_s), proven=proven, fresh_s=fresh_s, fault=fault, pieces=pieces)
    return _mark_open(_judge(ledger, after, look))


def tell(ledger: Ledger, event: Event) -> Ledger:
    """The ledger after an event."""
    if event.kind is EventKind.STARTED:
        return ledger if ledger.tail is None else replace(ledger, tail=replace(ledger.tail, watched=False))
    windows = tuple(
        replace(w, repaired_by=event.text, repaired_unix_s=event.at_unix_s)
        if w.repaired_unix_s is None and w.resumed_unix_s is None
        else w
        for w in ledger.windows
    )
    return replace(ledger, windows=windows)


def annotate(
    ledger: Ledger, window_id: int, *, root_cause: str | None, prevention: str | None, owner: str | None
) -> tuple[Ledger, Window | None]:
    """Set people's columns of a window; None leaves a column as it is. The window, or None where the id is unknown."""
    found = next((w for w in ledger.windows if w.id == window_id), None)
    if found is None:
        return ledger, None
    noted = replace(
        found,
        root_cause=found.root_cause if root_cause is None else root_cause,
        prevention=found.prevention if prevention is None else prevention,
        owner=found.owner if owner is None else owner,
    )
    return replace(ledger, windows=tuple(noted if w is found else w for w in ledger.windows)), noted


def coverage(ledger: Ledger) -> Coverage | None:
    """The sums up to where time is decided; None before the first look."""
    if ledger.tail is None:
        return None
    end_s = ledger.decided_s
    total = lengths_since(ledger.spans, 0.0)
    for lengths in ledger.months.values():
        for kind, length_s in lengths.items():
            total[kind] = total.get(kind, 0.0) + length_s
    return Coverage(
        since_unix_s=ledger.began_unix_s,
        last_day=sum_up(lengths_since(ledger.spans, end_s - DAY_S)),
        last_30_days=sum_up(lengths_since(ledger.spans, end_s - MONTH_S)),
        total=sum_up(total),
        pending_s=ledger.tail.position_s - end_s,
        unaudited_s_by_cause=ledger.unaudited_s,
    )


def _put_span(ledger: Ledger, piece: Piece, kind: SpanKind, *, seen_s: float, seen_unix_s: float) -> Ledger:
    """The ledger with one more decided stretch, which begins where the last one ends.

    It lengthens the last span where both are of one kind and, in a window, of one cause. ``seen_s`` and
    ``seen_unix_s`` are when it was noticed.
    """
    if kind is SpanKind.UNAUDITED:
        counted_s = ledger.unaudited_s.get(piece.cause.value, 0.0) + piece.end_s - piece.start_s
        ledger = replace(ledger, unaudited_s={**ledger.unaudited_s, piece.cause.value: counted_s})
    last = ledger.spans[-1] if ledger.spans else None
    if last is not None and last.kind is kind and _is_one_cause(ledger, last, piece.cause):
        longer = replace(last, end_s=piece.end_s, end_unix_s=piece.end_unix_s)
        return _lengthen(replace(ledger, spans=(*ledger.spans[:-1], longer)), longer, piece.cause)
    windows = _end_window(ledger, is_open=False).windows
    number = 0
    if kind in WINDOW_KINDS:
        number = max((w.id for w in windows), default=0) + 1
        opened = Window(
            id=number,
            kind=kind,
            cause=piece.cause,
            start_unix_s=piece.start_unix_s,
            end_unix_s=piece.end_unix_s,
            duration_s=piece.end_s - piece.start_s,
            detected_unix_s=seen_unix_s,
            detection_delay_s=max(0.0, seen_s - piece.start_s),
            detected_by=piece.how,
        )
        windows = (*windows, opened)
    span = Span(
        kind=kind,
        start_s=piece.start_s,
        end_s=piece.end_s,
        start_unix_s=piece.start_unix_s,
        end_unix_s=piece.end_unix_s,
        window=number,
    )
    return replace(ledger, spans=(*ledger.spans, span), windows=windows)


def _judge(ledger: Ledger, tail: Tail, look: Look) -> Ledger:
    """Decide what this look allows to decide, and take ``tail`` over."""
    if tail.process is None or not tail.serving:
        return _flush(ledger, tail)[0]
    taken_s = _taken_s(tail, look.proof)
    if look.proof is not None and look.proof.ok and taken_s >= _settled_s(ledger, tail):
        ledger, tail = _prove(ledger, tail, look.proof, taken_s)
    # A caller may bring one good proof again and again: what is behind it still waits for the next.
    fault = _fault(ledger.limits, tail, look)
    if fault is None:
        return _flush(ledger, tail)[0]
    pieces = tuple(_decided(p, SpanKind.UNAUDITED, fault) for p in tail.pieces)
    return _flush(ledger, replace(tail, fault=fault, pieces=pieces))[0]


def _prove(ledger: Ledger, tail: Tail, proof: ProofResult, taken_s: float) -> tuple[Ledger, Tail]:
    """A good proof: what waits up to it is proven, or ends a window; every closed window learns of it."""
    kind = SpanKind.PROVEN if tail.fault is None else SpanKind.UNAUDITED
    reason = tail.fault or Fault(cause=WindowCause.UNKNOWN, how="")
    parts = tuple(part for p in tail.pieces for part in _cut(p, taken_s))
    pieces = tuple(_decided(p, kind, reason) if p.end_s <= taken_s else p for p in parts)
    ledger, tail = _flush(ledger, replace(tail, proven=True, fault=None, pieces=pieces))
    windows = tuple(
        replace(w, resumed_audit_id=proof.audit_id, resumed_unix_s=tail.at_unix_s) if w.resumed_unix_s is None else w
        for w in ledger.windows
    )
    return replace(ledger, windows=windows), tail


def _fault(limits: Limits, tail: Tail, look: Look) -> Fault | None:
    """Why the serving process does not audit, as far as this look tells; None where nothing speaks against it."""
    proof = look.proof
    if proof is not None and not proof.ok:
        found = Fault(cause=proof.cause or look.hint or WindowCause.PROOF_FAILED, how=proof.how or "a proof failed")
        return found if tail.fault is None else _sharper(tail.fault, found.cause)
    if tail.fault is not None:
        return _sharper(tail.fault, look.hint)
    waiting_s = sum(max(0.0, p.end_s - max(p.start_s, tail.fresh_s)) for p in tail.pieces if p.kind is None)
    if waiting_s > limits.proof_lifetime_s:
        return Fault(cause=look.hint or WindowCause.PROOF_FAILED, how=f"no proof for {waiting_s:.0f} s")
    return None


def _sharper(fault: Fault, cause: WindowCause | None) -> Fault:
    """The fault with ``cause`` where its own says nothing; what was told first stays otherwise."""
    return replace(fault, cause=cause) if cause is not None and fault.cause in GENERIC_CAUSES else fault


def _tail_at(look: Look, position_s: float) -> Tail:
    return Tail(
        position_s=position_s,
        at_unix_s=look.at_unix_s,
        monotonic_s=look.monotonic_s,
        boot_id=look.boot_id,
        process=look.process,
        serving=look.serving and look.process is not None,
    )


def _ended(pieces: tuple[Piece, ...], tail: Tail, ending: Fault, *, closed_by: str) -> tuple[Piece, ...]:
    """What waits of a process that cannot be proven any more. Evidence extends a proof, it never replaces one."""
    is_covered = tail.fault is None and tail.proven and closed_by != ""
    kind = SpanKind.PROVEN if is_covered else SpanKind.UNAUDITED
    return tuple(_decided(p, kind, tail.fault or ending) for p in pieces)


def _decided(piece: Piece, kind: SpanKind, reason: Fault) -> Piece:
    """A waiting piece with its kind; one that has a kind stays what it is."""
    return piece if piece.kind is not None else replace(piece, kind=kind, cause=reason.cause, how=reason.how)


def _joined(pieces: tuple[Piece, ...], more: tuple[Piece, ...]) -> tuple[Piece, ...]:
    """One queue; time that goes on in the same way stays one piece, so that the queue stays short."""
    if pieces and more and (pieces[-1].kind, pieces[-1].cause) == (more[0].kind, more[0].cause):
        longer = replace(pieces[-1], end_s=more[0].end_s, end_unix_s=more[0].end_unix_s)
        return (*pieces[:-1], longer, *more[1:])
    return (*pieces, *more)


def _cut(piece: Piece, at_s: float) -> tuple[Piece, ...]:
    """The piece in two where ``at_s`` lies inside it."""
    if not piece.start_s < at_s < piece.end_s:
        return (piece,)
    at_unix_s = piece.end_unix_s - (piece.end_s - at_s)
    return replace(piece, end_s=at_s, end_unix_s=at_unix_s), replace(piece, start_s=at_s, start_unix_s=at_unix_s)


def _taken_s(tail: Tail, proof: ProofResult | None) -> float:
    """The life position of a proof: that of its look, or a little before it."""
    if proof is None or proof.taken_monotonic_s is None:
        return tail.position_s
    return tail.position_s - max(0.0, tail.monotonic_s - proof.taken_monotonic_s)


def _settled_s(ledger: Ledger, tail: Tail) -> float:
    """Up to where time is decided already: a proof from before that says nothing new."""
    first = next((p.start_s for p in tail.pieces if p.kind is None), tail.position_s)
    return max(ledger.decided_s, min(first, tail.position_s))


def _flush(ledger: Ledger, tail: Tail) -> tuple[Ledger, Tail]:
    """Move decided pieces from the head of the queue into spans; waiting time holds back what is behind it."""
    pieces = tail.pieces
    while pieces and pieces[0].kind is not None:
        ledger = _put_span(ledger, pieces[0], pieces[0].kind, seen_s=tail.position_s, seen_unix_s=tail.at_unix_s)
        pieces = pieces[1:]
    tail = replace(tail, pieces=pieces)
    return replace(ledger, tail=tail), tail


def _window_of(ledger: Ledger, span: Span) -> Window | None:
    return next((w for w in reversed(ledger.windows) if w.id == span.window), None)


def _with_window(ledger: Ledger, window: Window) -> Ledger:
    return replace(ledger, windows=tuple(window if w.id == window.id else w for w in ledger.windows))


def _is_one_cause(ledger: Ledger, span: Span, cause: WindowCause) -> bool:
    """Whether time with ``cause`` goes on with the window of ``span`` (no window: always)."""
    window = _window_of(ledger, span)
    return window is None or cause is window.cause or not GENERIC_CAUSES.isdisjoint((window.cause, cause))


def _lengthen(ledger: Ledger, span: Span, cause: WindowCause) -> Ledger:
    """The window of ``span`` made as long as that, and as exact as ``cause`` allows."""
    window = _window_of(ledger, span)
    if window is None:
        return ledger
    sharper = cause if window.cause in GENERIC_CAUSES and cause not in GENERIC_CAUSES else window.cause
    length_s = span.end_s - span.start_s
    return _with_window(ledger, replace(window, cause=sharper, end_unix_s=span.end_unix_s, duration_s=length_s))


def _end_window(ledger: Ledger, *, is_open: bool) -> Ledger:
    """The window of the newest span, open or ended where that span ends."""
    last = ledger.spans[-1] if ledger.spans else None
    window = None if last is None else _window_of(ledger, last)
    if last is None or window is None:
        return ledger
    end_unix_s = None if is_open else last.end_unix_s
    return ledger if window.end_unix_s == end_unix_s else _with_window(ledger, replace(window, end_unix_s=end_unix_s))


def _mark_open(ledger: Ledger) -> Ledger:
    """The newest window is open exactly while its process still serves with its fault."""
    tail = ledger.tail
    return _end_window(ledger, is_open=tail is not None and tail.fault is not None and tail.serving)
