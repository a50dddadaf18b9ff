"""What a written manifest still lacks on its way to a proven API server: process, flags, readiness, an event."""

from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.drift import flags_agree
from kauditd.core.model import ApiServerProcess, Desired
from kauditd.core.observed import Observed
from kauditd.core.trail import TrailState

_NOT_THE_MANIFEST = frozenset({"disk-full", "log-deleted", "log-renamed", "api-server-silent"})
"""What no other manifest would do better under: the disk, somebody who moved the log, a server that stopped answering.

Every other round that fails counts against the target, and so does one that shows nothing till the deadline: a second
try would cost two more restarts, and it would have no better reason to prove itself than the first.
"""


class Phase(StrEnum):
    """What the gate is waiting for."""

    OLD_ENDS = "old-ends"
    NEW_PROCESS = "new-process"
    FLAGS = "flags"
    READY = "ready"
    TRAIL = "trail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """The first phase that is not reached, what to say of it, and what it fails with at the deadline."""

    phase: Phase
    text: str
    code: str
    remedy: str
    blames_target: bool = True


def find_missing(desired: Desired, observed: Observed, current: ApiServerProcess | None) -> Missing | None:
    """What is not reached yet; None: nothing is missing."""
    if current is None:
        kubelet = observed.kubelet_started_unix_s is not None
        return Missing(
            phase=Phase.NEW_PROCESS,
            text="no new API server has started" + ("" if kubelet else " and no kubelet runs that would start one"),
            code="never-started",
            remedy="journalctl -u kubelet has the reason" if kubelet else "start it: systemctl start kubelet",
            blames_target=kubelet,
        )
    if not flags_agree(desired, current):
        remedy = "look for a second manifest of the API server in the manifests directory, and at who wrote this one"
        text = f"{name_process(current)} does not carry the flags"
        return Missing(phase=Phase.FLAGS, text=text, code="flags-missing", remedy=remedy)
    health = observed.health
    if health is not None and health.ready:
        return _find_missing_trail(observed, current) if desired.flags else None
    if health is None or health.livez is not None or health.readyz is not None:
        detail = f" ({health.detail})" if health is not None and health.detail else ""
        text = f"{name_process(current)} is not ready{detail}"
        remedy = "ask it for the checks that fail: kubectl get --raw '/readyz?verbose'"
        return Missing(phase=Phase.READY, text=text, code="not-ready", remedy=remedy)
    text = f"{name_process(current)} runs and does not answer{f' ({health.detail})' if health.detail else ''}"
    remedy = "its log says what it waits for: crictl logs, or the newest file below /var/log/pods"
    return Missing(phase=Phase.READY, text=text, code="hangs", remedy=remedy)


def _find_missing_trail(observed: Observed, current: ApiServerProcess) -> Missing | None:
    """Flags and health are not the trail: an event of ``current`` has to be seen in the file."""
    trail = observed.trail
    if trail is None or not trail.speaks_of(current):
        text = f"no event of {name_process(current)} has been looked for yet"
        return Missing(phase=Phase.TRAIL, text=text, code="trail-unproven", remedy="journalctl -u kauditd")
    if trail.state is TrailState.PROVEN:
        return None
    return Missing(
        phase=Phase.TRAIL,
        text=trail.text,
        code=trail.code or "trail-unproven",
        remedy=trail.hint or "kauditctl doctor",
        blames_target=trail.code not in _NOT_THE_MANIFEST,
    )


def name_process(process: ApiServerProcess | None) -> str:
    """The process in a sentence."""
    return "the API server" if process is None else f"the API server (pid {process.pid})"
