"""The gate: inside which deadlines a written manifest must prove itself, phase by phase.

Pure: the engine feeds it one observation at a time and keeps the ``GateState`` in between. The clock of the gate
counts from the end of the old process; while that one still serves nothing has failed yet (a kubelet may take
150 s to act after its own restart). Phases: ``old-ends`` -> ``new-process`` -> ``flags`` -> ``ready``; the phases
that look into the log follow ``ready`` when there are any.

The wall clock may be stepped while a change is inside its gate. So the gate adds up the time between looks instead
of subtracting wall times: a step back adds nothing, a step ahead no more than the longest look takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from kauditd.core.drift import flags_agree
from kauditd.core.model import ApiServerProcess, Desired
from kauditd.core.observed import ContainerEnd, Observed
from kauditd.errors import quote

LONGEST_LOOK_S = 15.0
"""No longer time than this counts between two looks (0.5 s apart): more is a stepped clock or a suspended machine."""

START_SLACK_S = 2.0
"""How far the start time of one process may move: it is told relative to the boot time, which moves with the clock."""


class Phase(StrEnum):
    """What the gate is waiting for."""

    OLD_ENDS = "old-ends"
    NEW_PROCESS = "new-process"
    FLAGS = "flags"
    READY = "ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """What must be remembered between two looks. ``written_unix_s`` is when the rename happened.

    ``old_pid`` and ``old_started_unix_s`` name the process that served at the write (None: there was none).
    ``seen`` are the (pid, start) of new processes that appeared since. ``alive`` is true once a kubelet or an API
    server was seen, so that a kubelet that is just being restarted is not taken for a machine image.
    ``ended_before`` is the container that had ended when the gate was first looked at: no fault of the change.
    ``looked_unix_s`` is the last look, ``waited_s`` the time since the write and ``since_end_s`` the time since the
    end of the old process, both as the gate counts it.
    """

    written_unix_s: float
    old_pid: int | None
    old_started_unix_s: float | None
    old_ended_unix_s: float | None = None
    seen: tuple[tuple[int, float], ...] = ()
    phase: Phase = Phase.OLD_ENDS
    alive: bool = False
    ended_before: ContainerEnd | None = None
    looked_unix_s: float | None = None
    waited_s: float = 0.0
    since_end_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Not proven yet; ``text`` says what is missing."""

    state: GateState
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Proven by a running process, or (``proven`` false) nothing runs that could prove it."""

    state: GateState
    proven: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The change must be taken back; ``code`` is stable."""

    state: GateState
    code: str
    text: str


GateResult = Waiting | Passed | Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadlines:
    """``gate_s`` counts from the end of the old process, ``overlap_s`` from the write while it still serves."""

    gate_s: float
    overlap_s: float


def begin(written_unix_s: float, processes: Sequence[ApiServerProcess]) -> GateState:
    """The state at the write, also after a restart of ours inside the gate: who started before it is the old one."""
    before = [p for p in processes if p.started_unix_s < written_unix_s]
    old = min(before, key=lambda p: p.started_unix_s, default=None)
    return GateState(
        written_unix_s=written_unix_s,
        old_pid=None if old is None else old.pid,
        old_started_unix_s=None if old is None else old.started_unix_s,
    )


def judge(state: GateState, desired: Desired, observed: Observed, deadlines: Deadlines) -> GateResult:
    """One look. ``desired`` is what the written manifest asks for (after a rollback: nothing)."""
    state = replace(state, alive=state.alive or observed.anything_runs or state.old_pid is not None)
    if not state.alive:
        return Passed(state=state, proven=False, text="neither a kubelet nor an API server runs here")
    state, old = _follow(state, observed)
    if old is not None:
        return _judge_old(state, old, desired, observed, deadlines)
    return _judge_new(state, desired, observed, deadlines)


def _follow(state: GateState, observed: Observed) -> tuple[GateState, ApiServerProcess | None]:
    """Bring times and processes up to date; the old process while it still runs."""
    looked = state.looked_unix_s
    if looked is None:
        looked = state.written_unix_s
        state = replace(state, ended_before=observed.ended)
    elapsed_s = min(max(0.0, observed.at_unix_s - looked), LONGEST_LOOK_S)
    state = replace(state, looked_unix_s=observed.at_unix_s, waited_s=state.waited_s + elapsed_s)
    old, new = None, []
    for process in observed.processes:
        if _is_same(state.old_pid, state.old_started_unix_s, process, looked, observed):
            old = process
        else:
            new.append(process)
    kept = [k for k in state.seen if not any(_is_same(*k, p, looked, observed) for p in new)]
    state = replace(state, seen=(*kept, *((p.pid, p.started_unix_s) for p in new)))
    if old is not None:
        # An end that was noted by a look which missed the process is taken back.
        return replace(state, old_started_unix_s=old.started_unix_s, old_ended_unix_s=None, since_end_s=0.0), old
    if state.old_ended_unix_s is None:
        return replace(state, old_ended_unix_s=observed.at_unix_s), None
    return replace(state, since_end_s=state.since_end_s + elapsed_s), None


def _is_same(
    pid: int | None, started_unix_s: float | None, process: ApiServerProcess, looked_unix_s: float, observed: Observed
) -> bool:
    """Whether ``process`` is the one known as ``pid`` at the last look, and not another that was given its number.

    A process keeps its start time, or, where the clock was stepped and the start moved along, it has grown older.
    """
    if pid != process.pid or started_unix_s is None:
        return False
    unmoved = abs(process.started_unix_s - started_unix_s) <= START_SLACK_S
    return unmoved or observed.at_unix_s - process.started_unix_s >= looked_unix_s - started_unix_s


def _judge_old(
    state: GateState, old: ApiServerProcess, desired: Desired, observed: Observed, deadlines: Deadlines
) -> GateResult:
    """The old process serves on. It is no failure where that is all that was asked for, as after a rollback that
    came before the kubelet had acted on the first write: the bytes are the old ones, so the pod is the old one."""
    state = replace(state, phase=Phase.OLD_ENDS)
    if state.waited_s <= deadlines.overlap_s:
        return Waiting(state=state, text="the old API server has not ended yet")
    text = f"the old API server (pid {old.pid}) still runs {state.waited_s:.0f} s after the write"
    if flags_agree(desired, old) and observed.health is not None and observed.health.ready:
        return Passed(state=state, proven=False, text=f"{text}; it is ready and lacks no flag, so nothing was tried")
    return Failed(state=state, code="old-process-stays", text=text)


def _judge_new(state: GateState, desired: Desired, observed: Observed, deadlines: Deadlines) -> GateResult:
    # Where several match (a nested cluster's), ours is the one that carries the flags, else the one started last.
    current = max(observed.processes, key=lambda p: (flags_agree(desired, p), p.started_unix_s), default=None)
    missing = _missing(desired, observed, current)
    if missing is None:
        text = f"{_name(current)} carries every flag and is ready"
        return Passed(state=replace(state, phase=Phase.READY), proven=True, text=text)
    phase, text, code = missing
    state = replace(state, phase=phase)
    ends = _count_ends(state.ended_before, observed.ended)
    if observed.ended is not None and ends and observed.ended.blames_audit:
        return Failed(
            state=state, code="audit-blamed", text=f"the new API server gave up: {quote(observed.ended.last_line)}"
        )
    dead = max(len(state.seen) - len(observed.processes), ends)
    if dead >= 2:
        return Failed(state=state, code="crash-loop", text=f"the new API server died {dead} times")
    if state.since_end_s > deadlines.gate_s:
        return Failed(state=state, code=code, text=f"{text} {state.since_end_s:.0f} s after the old one ended")
    return Waiting(state=state, text=text)


def _count_ends(before: ContainerEnd | None, now: ContainerEnd | None) -> int:
    """How many containers ended since the first look, also those that no look at the process table met."""
    if now is None:
        return 0
    if before is not None and before.pod_uid == now.pod_uid:
        return max(0, now.attempt - before.attempt)
    return now.attempt + 1


def _missing(desired: Desired, observed: Observed, current: ApiServerProcess | None) -> tuple[Phase, str, str] | None:
    """The first phase that is not reached, what to say of it, and the code it fails with; None: nothing is missing."""
    if current is None:
        kubelet = "" if observed.kubelet_started_unix_s is not None else " and no kubelet runs that would start one"
        return Phase.NEW_PROCESS, f"no new API server has started{kubelet}", "never-started"
    if not flags_agree(desired, current):
        return Phase.FLAGS, f"{_name(current)} does not carry the flags", "flags-missing"
    if observed.health is None or not observed.health.ready:
        return Phase.READY, f"{_name(current)} is not ready", "not-ready"
    return None


def _name(process: ApiServerProcess | None) -> str:
    return "the API server" if process is None else f"the API server (pid {process.pid})"
