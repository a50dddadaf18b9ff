"""From facts to one result.

Where no event was seen, the reason that explains it best is given, with what to do: first what the command line
says, then what the log file shows, then what the API server answered, then what the policy hides, and only then that
an event was lost.
"""

from collections.abc import Sequence

from kauditd.core.canary import AUDITED_STATUSES, Found, Route
from kauditd.core.counters import settle_s
from kauditd.core.drift import flags_agree
from kauditd.core.layout import base_name, parent
from kauditd.core.model import ApiServerProcess
from kauditd.core.proof.facts import (
    CanaryFacts,
    Evidence,
    Held,
    Inconclusive,
    LogFacts,
    PolicyFacts,
    ProofFacts,
    ProofResult,
    Proven,
    Unproven,
)
from kauditd.errors import quote

FULL_BYTES = 1 << 20
"""Less free space than this counts as a full disk: one event may take up to a megabyte and more."""

_STREAMS = frozenset({"-", "/dev/stdout", "/dev/stderr", "/proc/self/fd/1", "/proc/self/fd/2"})


def judge(facts: ProofFacts) -> ProofResult:
    """The one result that the facts allow."""
    process = facts.process
    if process is None:
        return Inconclusive(text="no API server runs here")
    if wrong := _judge_flags(process):
        return _blame_shadow(facts, process, wrong)
    if facts.log is not None and (wrong := _judge_log(facts.log)):
        return wrong
    found = next((c for c in reversed(facts.canaries) if c.found is not None), None)
    if found is not None and found.found is not None:
        return _accept(facts, process, found, found.found)
    return _explain_silence(facts, process)


def _judge_flags(process: ApiServerProcess) -> Unproven | None:
    """What the command line rules out. An empty value switches a backend off, as an absent flag does."""
    log, webhook = process.flag("audit-log-path"), process.flag("audit-webhook-config-file")
    name = f"the API server (pid {process.pid})"
    if not log and webhook:
        return Unproven(
            code="webhook-only",
            text=f"{name} sends its events to a webhook and writes no log",
            hint="kauditd proves a log file only: set --audit-log-path beside the webhook",
        )
    if not log:
        return Unproven(
            code="audit-off",
            text=f"{name} runs without --audit-log-path: it writes no audit log",
            hint="see kauditctl diff for what is missing, and kauditctl apply",
        )
    if log in _STREAMS:
        return Unproven(
            code="log-stdout",
            text=f"{name} writes its events to {quote(log)}, mixed with its own messages",
            hint="set --audit-log-path to a file in a mounted directory",
        )
    if not process.flag("audit-policy-file"):
        return Unproven(
            code="policy-missing-flag",
            text=f"{name} has a log path and no --audit-policy-file: the file is made, and nothing is ever written",
            hint="see kauditctl diff for what is missing, and kauditctl apply",
        )
    return None


def _blame_shadow(facts: ProofFacts, process: ApiServerProcess, wrong: Unproven) -> Unproven:
    """The wrong flags may be those of a second manifest, which the kubelet reads too."""
    if not facts.shadows or flags_agree(facts.desired, process):
        return wrong
    names = ", ".join(quote(s.name, limit=60) for s in facts.shadows)
    return Unproven(
        code="shadow-manifest",
        text=f"{wrong.text}; the manifests directory holds {names} too, which the kubelet may run instead",
        hint="move it out of the directory at a planned time: removing it restarts the API server",
    )


def _judge_log(log: LogFacts) -> Unproven | None:
    """What the file alone rules out, whatever was found in it before."""
    name = quote(log.path)
    held = quote(log.held_path)
    if log.held is Held.DELETED:
        return Unproven(
            code="log-deleted",
            text=f"{name} was deleted while the API server writes it: every event goes into a file without a name",
            hint="restart the API server; its descriptor under /proc still holds the events until then",
        )
    if log.held is Held.RENAMED:
        return Unproven(
            code="log-renamed",
            text=f"{name} was renamed to {held}, and the API server goes on writing there",
            hint="do not let logrotate touch the log, the API server rotates it by itself; move the file back",
        )
    if log.shared is False:
        where = f" (it writes {held})" if log.held_path else ""
        return Unproven(
            code="log-in-container",
            text=f"{name} lies in the API server's container and not on the host{where}: a restart deletes it",
            hint=f"mount the host directory of {quote(log.host_path)} into the pod: kauditctl diff shows how",
        )
    return None


def _accept(facts: ProofFacts, process: ApiServerProcess, canary: CanaryFacts, found: Found) -> ProofResult:
    """An event was found; the log must be the one that is still being written."""
    if facts.log is None:
        return Inconclusive(text="the event is in the file, and the file was not looked at")
    if facts.log.held is Held.NOT_OPEN:
        return Inconclusive(text="the event is in the file, but the API server does not hold the file open")
    event, position = found.event, found.position
    policy = process.flag("audit-policy-file") or ""
    hidden = tuple(c.canary.route.value for c in facts.canaries if c.found is None and _audited(c))
    return Proven(
        evidence=Evidence(
            audit_id=event.audit_id,
            uri=event.uri,
            stage=event.stage,
            level=event.level,
            status=canary.answer.status,
            # The file may have been reached through the process's root, a path that ends with the process.
            file=f"{parent(facts.log.host_path).rstrip('/')}/{base_name(found.file)}",
            device=position.device,
            inode=position.inode,
            offset_bytes=position.offset_bytes,
            length_bytes=found.length_bytes,
            latency_ms=found.latency_s * 1000,
            event_unix_s=event.stage_unix_s,
            proven_unix_s=facts.at_unix_s,
            policy=policy,
            policy_digest=_policy_digest(policy),
            pid=process.pid,
            started_unix_s=process.started_unix_s,
            as_desired=flags_agree(facts.desired, process),
            glued=event.glued,
            hidden=hidden,
        )
    )


def _explain_silence(facts: ProofFacts, process: ApiServerProcess) -> ProofResult:
    """No event was found: why not?"""
    if not facts.canaries:
        return Inconclusive(text="no canary was sent yet")
    recorded = facts.policy.recorded if facts.policy is not None else None
    # What the policy is known to hide tells nothing where something else was sent as well.
    telling = (c for c in reversed(facts.canaries) if recorded is None or c.canary.route in recorded)
    last = next(telling, facts.canaries[-1])
    if last.answer.status is None:
        cause = f": {last.answer.detail}" if last.answer.detail else ""
        return Unproven(
            code="api-server-silent",
            text=f"the API server (pid {process.pid}) runs and does not answer{cause}",
            hint="look at the end of its log (crictl logs) and at etcd",
        )
    if last.answer.refused or (facts.log is not None and _is_full(facts.log)):
        return _blame_disk(facts)
    return _explain_answer(facts, process, last)


def _explain_answer(facts: ProofFacts, process: ApiServerProcess, last: CanaryFacts) -> ProofResult:
    """The API server answered, and the event is not there."""
    if last.answer.echoed_id != last.canary.audit_id:
        return Inconclusive(text="the answer does not carry the canary's Audit-ID: something else answered in between")
    if last.answer.status not in AUDITED_STATUSES:
        return Inconclusive(text=f"the API server answered {last.answer.status}, which may come from before its audit")
    if last.searched_s < settle_s(process):
        return Inconclusive(text=f"the event is not in the file {last.searched_s:.1f} s after the question")
    return _blame_policy(facts, last) or _blame_log(facts, last)


def _is_full(log: LogFacts) -> bool:
    return log.free_bytes is not None and log.free_bytes < FULL_BYTES


def _blame_disk(facts: ProofFacts) -> Unproven:
    log = facts.log
    if log is not None and _is_full(log):
        return Unproven(
            code="disk-full",
            text=f"there is no room for {quote(log.path)}: {log.free_bytes} bytes are free",
            hint="free space there (df -h); what was not written is listed in the API server's own log",
        )
    return Unproven(
        code="canary-lost",
        text="the API server says that it cannot store the event",
        hint="look in its own log for \"Error in audit plugin 'log'\", which names the cause",
    )


def _blame_policy(facts: ProofFacts, last: CanaryFacts) -> Unproven | None:
    """Whether the policy hides what was asked for; another request may be recorded."""
    policy, tried = facts.policy, [c.canary.route for c in facts.canaries]
    recorded = policy.recorded if policy is not None else None
    owner = "a policy that is not kauditd's" if policy is not None and policy.foreign else "the policy"
    place = f" ({quote(policy.path)})" if policy is not None else ""
    hint = f"let the first rule record {Route.OWN} at level Metadata, or choose a profile of kauditd's"
    fallback = next((r for r in Route if r not in tried and (recorded is None or r in recorded)), None)
    if fallback is not None and (recorded is None or last.canary.route not in recorded):
        text = f"{owner}{place} does not seem to record {last.canary.route}"
        return Unproven(code="canary-hidden", text=text, hint=hint, fallback=fallback)
    if (recorded is not None and not recorded) or (recorded is None and _only_level_none(facts)):
        text = f"{owner}{place} records nothing that was asked for: level None"
        return Unproven(code="policy-none", text=text, hint=hint)
    if policy is not None and policy.foreign and recorded is None and _may_be_hidden(facts):
        text = f"{owner}{place} does not seem to record {' nor '.join(tried)}"
        return Unproven(code="canary-hidden", text=text, hint=hint)
    return None


def _only_level_none(facts: ProofFacts) -> bool:
    """Whether the counters show that the policy was asked and nothing went to the log, meanwhile or ever."""
    before, after = facts.before, facts.after
    if after is None:
        return False
    if after.events == 0:
        return after.level("None") >= len(facts.canaries)
    if before is None or after.events != before.events:
        return False
    return after.level("None") - before.level("None") >= len(facts.canaries)


def _may_be_hidden(facts: ProofFacts) -> bool:
    """Whether the counters leave it open that each canary was at level None and none of their events failed."""
    before, after = facts.before, facts.after
    if before is None or after is None:
        return True
    hidden = after.level("None") - before.level("None")
    return hidden >= len(facts.canaries) and after.error("log") == before.error("log")


def _blame_log(facts: ProofFacts, last: CanaryFacts) -> Unproven:
    """The event should be there and is not."""
    log = facts.log
    if log is not None and log.held is Held.NOT_OPEN:
        return Unproven(
            code="log-not-open",
            text=f"the API server answered and does not hold {quote(log.path)} open: it writes no event there",
            hint="look in its own log for \"Error in audit plugin 'log'\"; a mounted single file cannot be rotated",
        )
    waited = f"{last.searched_s:.0f} s after the answer {last.answer.status}"
    errors = facts.after.error("log") if facts.after is not None else 0
    counted = f"; the API server counts {errors} failed writes" if errors else ""
    return Unproven(
        code="canary-lost",
        text=f"the event of {last.canary.audit_id} is not in the file {waited}{counted}",
        hint='look in the API server\'s own log for "Error in audit plugin", and compare the policy: kauditctl doctor',
    )


def _audited(canary: CanaryFacts) -> bool:
    return canary.answer.status in AUDITED_STATUSES


def _policy_digest(path: str) -> str:
    """The digits in ``policy-<12 hex>.yaml``, "" for another name."""
    name = base_name(path)
    digits = name.removeprefix("policy-").removesuffix(".yaml")
    ours = name == f"policy-{digits}.yaml" and len(digits) == 12 and not set(digits) - set("0123456789abcdef")
    return digits if ours else ""


def routes_to_try(policy: PolicyFacts | None) -> Sequence[Route]:
    """Which requests to send, in this order, until one is found: those that the policy records, else all."""
    recorded = policy.recorded if policy is not None else None
    return [r for r in Route if recorded is None or r in recorded] or [Route.OWN]
