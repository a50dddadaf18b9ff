"""What must be true before a manifest is written: each thing that is not becomes a hold with its reason.

A first edit waits for all of them. The repair of an overwrite waits for almost none: whoever overwrote the manifest
has already made the kubelet restart the API server, and a write that comes before the new pod starts is absorbed
into the same restart (measured: up to about 28 s after kubeadm's rename), so there speed is safety.
"""

from dataclasses import dataclass, field

from kauditd.core.contest import Contest
from kauditd.core.model import Reason, Severity
from kauditd.core.observed import Observed

MIB = 1 << 20

FEWEST_REVERTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """What the engine knows beside the observation. Times in Unix seconds; ``room_bytes`` is what the log may need.

    ``reverts`` counts how often of late somebody overwrote a manifest that had our lines.
    """

    mode: str
    kubelet_stable_s: float
    paused_until_unix_s: float | None = None
    disabled: bool = False
    contest: Contest = field(default_factory=Contest)
    reverts: int = 0
    target_known_bad: str = ""
    policy_usable: bool = True
    room_bytes: int = 0


def consent_holds(guards: Guards, now_unix_s: float) -> list[Reason]:
    """Holds that bind every write of ours, repairs included: what the operator said, and our own limits."""
    holds: list[Reason] = []
    if guards.mode == "observe":
        holds.append(_hold("mode-observe", "settings say mode: observe, so nothing is written", "set mode: enforce"))
    if guards.disabled:
        holds.append(_hold("disabled", "audit was disabled by hand", "kauditctl apply turns it on again"))
    if guards.paused_until_unix_s is not None and now_unix_s < guards.paused_until_unix_s:
        holds.append(_hold("paused", "kauditd is paused", "kauditctl resume"))
    if not guards.policy_usable:
        holds.append(
            _hold(
                "policy-unusable",
                "there is no valid policy to publish",
                "kauditctl policy show tells what is wrong with its source",
            )
        )
    if guards.target_known_bad:
        holds.append(
            _hold(
                "target-known-bad",
                f"this very state did not prove itself before ({guards.target_known_bad}) and is not tried again",
                "change settings, policy or the API server's version, or run kauditctl apply",
            )
        )
    if guards.contest.contested(now_unix_s):
        holds.append(_restart_hold(guards, now_unix_s))
    return holds


def is_contested(contest: Contest, reverts: int, now_unix_s: float) -> bool:
    """Whether the pause is somebody else's doing: one overwrite is an upgrade, a second one is a rival."""
    return contest.contested(now_unix_s) and reverts >= FEWEST_REVERTS


def _restart_hold(guards: Guards, now_unix_s: float) -> Reason:
    wait_s = guards.contest.until_unix_s - now_unix_s
    if is_contested(guards.contest, guards.reverts, now_unix_s):
        return _hold(
            "contested",
            f"somebody else keeps rewriting the manifest; the next attempt is in {wait_s:.0f} s",
            "find the other writer (configuration management, another agent) and stop one of the two",
            severity=Severity.CRITICAL,
        )
    return _hold(
        "restart-limit",
        f"three restarts of the API server in ten minutes are enough; the next one waits for {wait_s:.0f} s",
        "wait, or run kauditctl apply",
        severity=Severity.WARNING,
    )


def first_edit_holds(observed: Observed, guards: Guards) -> list[Reason]:
    """Holds of an edit that would itself restart a healthy API server."""
    if not observed.anything_runs:
        return _room_holds(observed, guards)
    holds = [*_kubelet_holds(observed, guards), *_server_holds(observed), *_room_holds(observed, guards)]
    if observed.shadows:
        names = ", ".join(s.name for s in observed.shadows)
        holds.append(
            _hold(
                "shadow-manifest",
                f"the kubelet may prefer {names} to the manifest, so an edit would restart the API server for nothing",
                "move the other file out of the directory at a planned time",
                severity=Severity.CRITICAL,
            )
        )
    if observed.kubeadm_pid is not None:
        holds.append(
            _hold("kubeadm-running", f"kubeadm (pid {observed.kubeadm_pid}) is at work", "wait until it has ended")
        )
    return holds


def _kubelet_holds(observed: Observed, guards: Guards) -> list[Reason]:
    started = observed.kubelet_started_unix_s
    if started is None:
        return [
            _hold(
                "kubelet-down",
                "no kubelet is running, so nothing would act on an edit",
                "systemctl status kubelet",
                severity=Severity.WARNING,
            )
        ]
    age_s = observed.at_unix_s - started
    if age_s < guards.kubelet_stable_s:
        # An edit 4 s after a kubelet restart took 160 s to take effect: the kubelet waits for volumes it forgot.
        return [
            _hold(
                "kubelet-young",
                f"the kubelet is {age_s:.0f} s old; an edit waits until it is {guards.kubelet_stable_s:.0f} s old",
                "nothing to do",
            )
        ]
    return []


def _server_holds(observed: Observed) -> list[Reason]:
    health = observed.health
    if observed.process is None:
        text = "no API server is running, so an edit could not be told from what is already broken"
    elif health is None or not health.ready:
        detail = "not asked yet" if health is None else health.detail or f"/readyz answered {health.readyz}"
        text = f"the API server is not ready ({detail})"
    else:
        return []
    return [_hold("api-server-unhealthy", text, "kauditd waits until it is healthy", severity=Severity.WARNING)]


def _room_holds(observed: Observed, guards: Guards) -> list[Reason]:
    log = observed.log_directory
    if log is None:
        return []
    if log.fault:
        return [_hold("log-directory-unwritable", f"cannot write to {log.path}: {log.fault}", "mend the directory")]
    if log.free_bytes is not None and log.free_bytes < guards.room_bytes:
        return [
            _hold(
                "no-room",
                f"{log.path} has {log.free_bytes // MIB} MiB free, one log file alone may take "
                f"{guards.room_bytes // MIB} MiB",
                "free space, or lower log.max_size_mib",
                severity=Severity.WARNING,
            )
        ]
    return []


def _hold(code: str, text: str, hint: str, *, severity: Severity = Severity.INFO) -> Reason:
    return Reason(code=code, severity=severity, text=text, hint=hint)
