"""The gate: inside which deadlines a written manifest must prove itself, phase by phase.

Pure: the engine feeds it one observation at a time and keeps the ``GateState`` in between. The clock of the gate
counts from the end of the old process; while that one still serves nothing has failed yet (a kubelet may take
150 s to act after its own restart). Phases: ``old-ends`` -> ``new-process`` -> ``flags`` -> ``ready`` -> ``trail``,
where an event of the new process has to be seen in its log. A way back asks for no flag, and so for no event.

A dead etcd is not blamed on the change: while it does not answer no death counts and the gate's clock stands still, in
all no longer than ``gate_s`` and ``overlap_s`` together. Two faults leave no process and no word: a hostPath whose type
does not match (no log directory of the new pod) and an image that is not there (an empty one); both are told early.

The wall clock may be stepped while a change is inside its gate. So the gate adds up the time between looks instead
of subtracting wall times: a step back adds nothing, a step ahead no more than the longest look takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from kauditd.core.drift import flags_agree
from kauditd.core.model import ApiServerProcess, Desired
from kauditd.core.observed import ContainerEnd, Observed, PodEvidence
from kauditd.core.phases import Missing, Phase, find_missing, name_process
from kauditd.core.silence import explain_silence
from kauditd.errors import quote

LONGEST_LOOK_S = 15.0
"""No longer time than this counts between two looks (0.5 s apart): more is a stepped clock or a suspended machine."""

START_SLACK_S = 2.0
"""How far the start time of one process may move: it is told relative to the boot time, which moves with the clock."""

KUBELET_SETTLES_S = 60.0
"""A kubelet younger than this may still wait for its volumes: what it has not done says nothing yet."""

CRASHES = 2
"""So many ends of new containers are a crash loop; one may be chance."""

SAME_POD_S = 60.0
"""After three re-lists of the kubelet (20 s each) a pod that is the running one has been seen as that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateState:
    """What must be remembered between two looks. ``written_unix_s`` is when the rename happened.

    ``old_pid`` and ``old_started_unix_s`` name the process that served at the write (None: there was none).
    ``seen`` are the (pid, start) of new processes that appeared since. ``alive`` is true once a kubelet or an API
    server was seen, so that a kubelet that is just being restarted is not taken for a machine image.
    ``same_pod``: the bytes written are those that ran before, so the kubelet may never have seen anything else.
    ``ended_before`` is the container that had ended when the gate was first looked at: no fault of the change.
    ``pod_before`` are the log directories as the first look found them. ``excused`` deaths fell into an outage of etcd,
    for want of which nothing could start for ``without_etcd_s``. ``empty_s``: so long the new pod's log directory has
    been empty.
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
    same_pod: bool = False
    ended_before: ContainerEnd | None = None
    pod_before: PodEvidence | None = None
    excused: int = 0
    without_etcd_s: float = 0.0
    empty_s: float = 0.0
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
    """The change must be taken back; ``code`` is stable, ``remedy`` says what a person can do.

    ``blames_target`` is false where the manifest is not at fault (etcd, the kubelet, the image, a full disk, a log that
    somebody moved): it may be tried again.
    """

    state: GateState
    code: str
    text: str
    remedy: str = ""
    blames_target: bool = True


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
    state, elapsed_s = _follow_clock(state, observed)
    state, old = _follow_processes(state, observed, elapsed_s)
    if old is not None:
        return _judge_old(state, old, desired, observed, deadlines)
    empty = observed.pod_logs is not None and observed.pod_logs.empty
    state = replace(state, empty_s=state.empty_s + elapsed_s if empty else 0.0)
    return _judge_new(state, desired, observed, deadlines, elapsed_s)


def _follow_clock(state: GateState, observed: Observed) -> tuple[GateState, float]:
    """Bring the clock up to date; the time since the last look."""
    looked = state.looked_unix_s
    if looked is None:
        looked = state.written_unix_s
        state = replace(state, ended_before=observed.ended, pod_before=observed.pod_logs, looked_unix_s=looked)
    elapsed_s = min(max(0.0, observed.at_unix_s - looked), LONGEST_LOOK_S)
    return replace(state, waited_s=state.waited_s + elapsed_s), elapsed_s


def _follow_processes(
    state: GateState, observed: Observed, elapsed_s: float
) -> tuple[GateState, ApiServerProcess | None]:
    """Bring the processes up to date; the old one while it still runs."""
    looked = state.written_unix_s if state.looked_unix_s is None else state.looked_unix_s
    old, new = None, []
    for process in observed.processes:
        if _is_same(state.old_pid, state.old_started_unix_s, process, looked, observed):
            old = process
        else:
            new.append(process)
    kept = [k for k in state.seen if not any(_is_same(*k, p, looked, observed) for p in new)]
    seen = (*kept, *((p.pid, p.started_unix_s) for p in new))
    state = replace(state, seen=seen, looked_unix_s=observed.at_unix_s)
    if old is not None:
        # An end that was noted by a look which missed the process is taken back.
        return replace(
            state,
            old_started_unix_s=old.started_unix_s,
            old_ended_unix_s=None,
            since_end_s=0.0,
            without_etcd_s=0.0,
            empty_s=0.0,
        ), old
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
    if state.same_pod and state.waited_s >= SAME_POD_S and (seen := _proven_since(state, old, desired, observed)):
        text = f"{name_process(old)} runs this very pod, so nothing had to restart; {seen}"
        return Passed(state=state, proven=True, text=text)
    if state.waited_s <= deadlines.overlap_s:
        return Waiting(state=state, text="the old API server has not ended yet")
    text = f"the old API server (pid {old.pid}) still runs {state.waited_s:.0f} s after the write"
    if flags_agree(desired, old) and observed.health is not None and observed.health.ready:
        return Passed(state=state, proven=False, text=f"{text}; it is ready and lacks no flag, so nothing was tried")
    return Failed(
        state=state,
        code="old-process-stays",
        text=text,
        remedy="see whether the kubelet acts on its manifests at all: journalctl -u kubelet",
        blames_target=False,
    )


def _proven_since(state: GateState, old: ApiServerProcess, desired: Desired, observed: Observed) -> str:
    """What was seen of the old process's trail since the write; "" where anything is missing."""
    trail = observed.trail
    if trail is None or trail.taken_unix_s <= state.written_unix_s or find_missing(desired, observed, old) is not None:
        return ""
    return trail.text


def _judge_new(
    state: GateState, desired: Desired, observed: Observed, deadlines: Deadlines, elapsed_s: float
) -> GateResult:
    """No process of before runs."""
    # Where several match (a nested cluster's), ours is the one that carries the flags, else the one started last.
    current = max(observed.processes, key=lambda p: (flags_agree(desired, p), p.started_unix_s), default=None)
    missing = find_missing(desired, observed, current)
    if missing is None:
        return _pass(state, desired, observed, current)
    state = replace(state, phase=missing.phase)
    if missing.phase is Phase.TRAIL:
        # It serves: what earlier attempts died of, and the etcd that they lacked, say nothing of its log.
        return _judge_deadline(state, missing, deadlines) or Waiting(state=state, text=missing.text)
    return _judge_start(state, missing, observed, deadlines, elapsed_s)


def _judge_start(
    state: GateState, missing: Missing, observed: Observed, deadlines: Deadlines, elapsed_s: float
) -> GateResult:
    """It does not serve yet. What etcd keeps from starting is not the change's fault; it is bounded all the same."""
    absent = missing.phase is Phase.NEW_PROCESS
    ends = _count_ends(state, observed.ended)
    ended = observed.ended if ends else None
    if ended is not None and ended.blames_audit:
        text = f"the new API server gave up: {ended.words.sentence} ({quote(ended.last_line)})"
        return Failed(state=state, code="audit-blamed", text=text, remedy=ended.words.remedy)
    dead = max(len(state.seen) - len(observed.processes), ends)
    etcd_down = observed.etcd_down or (ended is not None and ended.blames_etcd)
    if etcd_down:
        state = replace(state, excused=dead)
    # When etcd is back, the kubelet still holds the container back for what it died of meanwhile.
    held_back = state.excused > 0 and dead == state.excused and absent
    if etcd_down or held_back:
        state = replace(state, without_etcd_s=state.without_etcd_s + elapsed_s)
        why = _explain_etcd(observed, ended) if etcd_down else ": it serves again, the kubelet holds the pod back"
        if state.since_end_s > deadlines.gate_s + deadlines.overlap_s:
            return _etcd_failed(state, why)
        return Waiting(state=state, text=f"the API server cannot start without etcd{why}")
    if dead - state.excused >= CRASHES:
        return _crash_loop(state, dead, ended)
    return (
        (_judge_silence(state, observed) if dead == 0 and absent else None)
        or _judge_deadline(state, missing, deadlines)
        or Waiting(state=state, text=missing.text)
    )


def _pass(state: GateState, desired: Desired, observed: Observed, current: ApiServerProcess | None) -> Passed:
    """Nothing is missing; the evidence is told where there had to be any."""
    name = name_process(current)
    if not desired.flags or observed.trail is None:
        return Passed(state=replace(state, phase=Phase.READY), proven=True, text=f"{name} is ready")
    text = f"{name} carries every flag and is ready; {observed.trail.text}"
    return Passed(state=replace(state, phase=Phase.TRAIL), proven=True, text=text)


def _explain_etcd(observed: Observed, ended: ContainerEnd | None) -> str:
    detail = "" if ended is None else ended.words.sentence
    if observed.etcd is not None and observed.etcd.down:
        detail = observed.etcd.detail
    elif observed.etcd_down and observed.health is not None:
        detail = observed.health.detail
    return f": {detail}" if detail else ""


def _etcd_failed(state: GateState, why: str) -> Failed:
    return Failed(
        state=state,
        code="etcd-down",
        text=f"nothing could start for want of etcd in {state.without_etcd_s:.0f} of {state.since_end_s:.0f} s{why}",
        remedy="see to etcd first: crictl ps -a --name etcd, and its logs below /var/log/pods",
        blames_target=False,
    )


def _crash_loop(state: GateState, dead: int, ended: ContainerEnd | None) -> Failed:
    text = f"the new API server died {dead} times"
    if ended is None:
        remedy = "crictl logs, or the newest file below /var/log/pods/kube-system_kube-apiserver-*, has its words"
        return Failed(state=state, code="crash-loop", text=text, remedy=remedy)
    return Failed(state=state, code="crash-loop", text=f"{text}: {ended.words.sentence}", remedy=ended.words.remedy)


def _judge_silence(state: GateState, observed: Observed) -> Failed | None:
    """What leaves neither a process nor a word; None: nothing to be told yet."""
    started = observed.kubelet_started_unix_s
    if started is None or observed.at_unix_s - started < KUBELET_SETTLES_S:
        return None
    fault = explain_silence(
        state.pod_before,
        observed.pod_logs,
        written_unix_s=state.written_unix_s,
        since_end_s=state.since_end_s,
        empty_s=state.empty_s,
        image="" if observed.view is None else observed.view.image,
    )
    if fault is None:
        return None
    return Failed(state=state, code=fault.code, text=fault.text, remedy=fault.remedy, blames_target=fault.blames_target)


def _judge_deadline(state: GateState, missing: Missing, deadlines: Deadlines) -> Failed | None:
    """The time without etcd does not count, but all of it has an end."""
    if state.since_end_s - state.without_etcd_s > deadlines.gate_s:
        return Failed(
            state=state,
            code=missing.code,
            text=f"{missing.text} {state.since_end_s:.0f} s after the old one ended",
            remedy=missing.remedy,
            blames_target=missing.blames_target,
        )
    if state.since_end_s > deadlines.gate_s + deadlines.overlap_s:
        return _etcd_failed(state, f"; {missing.text}")
    return None


def _count_ends(state: GateState, ended: ContainerEnd | None) -> int:
    """How many containers ended since the first look, also those that no look at the process table met.

    The container that ran then is the old one: its end is what the change is for.
    """
    if ended is None:
        return 0
    pod, before = state.pod_before, state.ended_before
    if pod is not None and pod.attempt is not None and pod.pod_uid == ended.pod_uid:
        return max(0, ended.attempt - pod.attempt)
    if before is not None and before.pod_uid == ended.pod_uid:
        return max(0, ended.attempt - before.attempt)
    return ended.attempt + 1
