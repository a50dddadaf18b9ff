"""The gate: inside which deadlines a written manifest must prove itself, phase by phase.

Pure: the engine feeds it one observation at a time and keeps the ``GateState`` in between. The clock of the gate
counts from the end of the old process; while that one still serves nothing has failed yet (a kubelet may take
150 s to act after its own restart). Phases: ``old-ends`` -> ``new-process`` -> ``flags`` -> ``ready``; the phases
that look into the log follow ``ready`` when there are any.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from kauditd.core.drift import flags_agree
from kauditd.core.model import Desired
from kauditd.core.observed import Observed


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
    ``seen`` are the (pid, start) of new processes that appeared since.
    """

    written_unix_s: float
    old_pid: int | None
    old_started_unix_s: float | None
    old_ended_unix_s: float | None = None
    seen: tuple[tuple[int, float], ...] = ()
    phase: Phase = Phase.OLD_ENDS


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


def judge(state: GateState, desired: Desired, observed: Observed, deadlines: Deadlines) -> GateResult:
    """One look. ``desired`` is what the written manifest asks for (after a rollback: nothing)."""
    if not observed.anything_runs and state.old_pid is None and not state.seen:
        return Passed(state=state, proven=False, text="neither a kubelet nor an API server runs here")
    now = observed.at_unix_s
    state, old_serves = _follow_processes(state, observed)
    if old_serves:
        waited_s = now - state.written_unix_s
        if waited_s > deadlines.overlap_s:
            text = f"the old API server (pid {state.old_pid}) still runs {waited_s:.0f} s after the write"
            return Failed(state=state, code="old-process-stays", text=text)
        return Waiting(state=replace(state, phase=Phase.OLD_ENDS), text="the old API server has not ended yet")
    return _judge_new(state, desired, observed, deadlines)


def _follow_processes(state: GateState, observed: Observed) -> tuple[GateState, bool]:
    """Bring ``seen`` and the end of the old process up to date; true while the old process still runs."""
    old = (state.old_pid, state.old_started_unix_s)
    running = {(p.pid, p.started_unix_s) for p in observed.processes}
    new = tuple(sorted(r for r in running if r != old and r not in state.seen))
    state = replace(state, seen=state.seen + new)
    if state.old_pid is not None and old in running:
        return state, True
    if state.old_ended_unix_s is None:
        state = replace(state, old_ended_unix_s=observed.at_unix_s)
    return state, False


def _judge_new(state: GateState, desired: Desired, observed: Observed, deadlines: Deadlines) -> GateResult:
    ended = state.old_ended_unix_s if state.old_ended_unix_s is not None else state.written_unix_s
    waited_s = observed.at_unix_s - ended
    current = observed.process
    dead = len(state.seen) - len(observed.processes)
    if dead >= 2:
        return Failed(state=state, code="crash-loop", text=f"the new API server died {dead} times")
    phase, text, code = _missing(desired, observed)
    if phase is None and current is not None:
        return Passed(state=replace(state, phase=Phase.READY), proven=True, text=text)
    if waited_s > deadlines.gate_s:
        return Failed(state=state, code=code, text=f"{text} {waited_s:.0f} s after the old one ended")
    return Waiting(state=replace(state, phase=phase or state.phase), text=text)


def _missing(desired: Desired, observed: Observed) -> tuple[Phase | None, str, str]:
    """The first phase that is not reached, what to say of it, and the code it fails with."""
    current = observed.process
    if current is None:
        return Phase.NEW_PROCESS, "no new API server has started", "never-started"
    if not flags_agree(desired, current):
        return Phase.FLAGS, f"the API server (pid {current.pid}) does not carry the flags", "flags-missing"
    if observed.health is None or not observed.health.ready:
        return Phase.READY, f"the API server (pid {current.pid}) is not ready", "not-ready"
    return None, f"pid {current.pid} carries every flag and is ready", ""
