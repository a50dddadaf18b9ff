"""What passed between two looks: which stretches of time, and whether the process's watched life goes on.

Pure geometry of the ledger. It decides nothing about proofs: served time comes out as pieces that wait.
"""

from dataclasses import dataclass

from kauditd.core.looks import Look, ServerId
from kauditd.core.windows import SpanKind, WindowCause


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The longest time between two looks that still count as watching, and how long a proof is good for.

    The loop looks every 5 s, and a probe or a slow disk may hold one look up; two canary intervals of 60 s are what
    a verdict allows a proof to be old, and looks add their own spacing to that.
    """

    longest_look_s: float = 30.0
    proof_lifetime_s: float = 150.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Time not yet in a span. ``kind`` is None for served time that waits for a proof."""

    start_s: float
    end_s: float
    start_unix_s: float
    end_unix_s: float
    kind: SpanKind | None
    cause: WindowCause = WindowCause.UNKNOWN
    how: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why the process is known not to audit now."""

    cause: WindowCause
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Where the ledger ends: the last look, the time that waits, and what is known of the process.

    ``watched`` is false from the start of a run to its first look. ``proven``: this process had a good proof.
    ``fresh_s`` is the position of the newest evidence that is no proof: from there on the next proof is awaited.
    """

    position_s: float
    at_unix_s: float
    monotonic_s: float
    boot_id: str
    process: ServerId | None
    serving: bool
    watched: bool = True
    proven: bool = False
    fresh_s: float = 0.0
    fault: Fault | None = None
    pieces: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """The time from one look to the next, up to life position ``end_s``.

    ``before`` belongs to the stretch that was there. Where that one does not go on, ``ending`` says what its waiting
    time becomes without further evidence, and ``after`` is the time behind it.
    """

    end_s: float
    before: tuple[Piece, ...]
    ending: Fault | None = None
    after: tuple[Piece, ...] = ()


def pass_time(tail: Tail, look: Look, limits: Limits) -> Passage:
    """What passed since ``tail``. A monotonic clock that seems to go back within one boot adds no time.

    A boot without an id is taken for another one as soon as watching broke off.
    """
    if tail.boot_id != look.boot_id or not (look.boot_id or tail.watched):
        return _across_boots(tail, look)
    elapsed_s = max(0.0, look.monotonic_s - tail.monotonic_s)
    edges = _Edges(tail, look, tail.position_s + elapsed_s)
    if not tail.watched:
        gap = Fault(cause=WindowCause.KAUDITD_DOWN, how="kauditd did not run")
    elif elapsed_s > limits.longest_look_s:
        gap = Fault(cause=WindowCause.UNKNOWN, how=f"nobody looked for {elapsed_s:.0f} s")
    else:
        return _watched(tail, look, edges)
    return _unwatched(tail, look, edges, gap)


class _Edges:
    """Cuts the time between two looks into pieces; wall times come from the nearer look."""

    def __init__(self, tail: Tail, look: Look, end_s: float) -> None:
        self._tail = tail
        self._look = look
        self.start_s = tail.position_s
        self.end_s = end_s
        self.boot_s = self._clamp(end_s - max(0.0, look.monotonic_s))
        process = look.process
        self.born_s = end_s if process is None else self._clamp(end_s - (look.monotonic_s - process.started_s))

    def piece(self, start_s: float, end_s: float, kind: SpanKind | None, gap: Fault | None = None) -> tuple[Piece, ...]:
        """The piece between two positions; none where it has no length."""
        if end_s <= start_s:
            return ()
        piece = Piece(
            start_s=start_s, end_s=end_s, start_unix_s=self._wall(start_s), end_unix_s=self._wall(end_s), kind=kind
        )
        if gap is None:
            return (piece,)
        return (_because(piece, gap),)

    def _wall(self, position_s: float) -> float:
        if position_s == self.start_s:
            return self._tail.at_unix_s
        return self._look.at_unix_s - (self.end_s - position_s)

    def _clamp(self, position_s: float) -> float:
        return min(max(position_s, self.start_s), self.end_s)


def _because(piece: Piece, gap: Fault) -> Piece:
    return Piece(
        start_s=piece.start_s,
        end_s=piece.end_s,
        start_unix_s=piece.start_unix_s,
        end_unix_s=piece.end_unix_s,
        kind=piece.kind,
        cause=gap.cause,
        how=gap.how,
    )


def _watched(tail: Tail, look: Look, edges: _Edges) -> Passage:
    """Somebody watched: what served at either end served in between, as long as it was the same process."""
    start_s, end_s, born_s = edges.start_s, edges.end_s, edges.born_s
    if tail.process is None and look.process is None:
        return Passage(end_s=end_s, before=edges.piece(start_s, end_s, SpanKind.NO_SERVER))
    if tail.process is not None and tail.process.is_same(look.process):
        kind = None if tail.serving or look.serving else SpanKind.NO_SERVER
        return Passage(end_s=end_s, before=edges.piece(start_s, end_s, kind))
    return Passage(
        end_s=end_s,
        before=edges.piece(start_s, born_s, None if tail.serving else SpanKind.NO_SERVER),
        ending=Fault(cause=WindowCause.UNKNOWN, how="the process ended before the next proof"),
        after=edges.piece(born_s, end_s, None if look.serving else SpanKind.NO_SERVER),
    )


def _unwatched(tail: Tail, look: Look, edges: _Edges, gap: Fault) -> Passage:
    """Nobody watched: unknown, but for what the caller has evidence of."""
    start_s, end_s, born_s = edges.start_s, edges.end_s, edges.born_s
    is_covered = look.serving and look.covered_by != ""
    if is_covered and tail.serving and tail.process is not None and tail.process.is_same(look.process):
        return Passage(end_s=end_s, before=edges.piece(start_s, end_s, None))
    seen_s = born_s if is_covered else end_s
    return Passage(
        end_s=end_s,
        before=(),
        ending=gap,
        after=(
            *edges.piece(start_s, seen_s, SpanKind.UNKNOWN, gap),
            *edges.piece(seen_s, end_s, None),
        ),
    )


def _across_boots(tail: Tail, look: Look) -> Passage:
    """Another boot: nothing served from the boot to the first process, where the caller can tell that it is the first.

    How long the machine was down only the wall clock knows, and it may have been set meanwhile.
    """
    up_s = max(0.0, look.monotonic_s)
    down_s = max(0.0, look.at_unix_s - up_s - tail.at_unix_s)
    edges = _Edges(tail, look, tail.position_s + down_s + up_s)
    gap = Fault(cause=WindowCause.KAUDITD_DOWN, how="the machine was started anew before kauditd looked again")
    born_s = max(edges.born_s, edges.boot_s)
    is_covered = look.serving and look.covered_by != ""
    idle_s = born_s if look.none_before else edges.boot_s
    seen_s = born_s if is_covered else edges.end_s
    return Passage(
        end_s=edges.end_s,
        before=(),
        ending=gap,
        after=(
            *edges.piece(edges.start_s, edges.boot_s, SpanKind.UNKNOWN, gap),
            *edges.piece(edges.boot_s, idle_s, SpanKind.NO_SERVER),
            *edges.piece(idle_s, seen_s, SpanKind.UNKNOWN, gap),
            *edges.piece(seen_s, edges.end_s, None),
        ),
    )
