"""The proof: each reason for having none, told from the others, and what evidence holds."""

from dataclasses import replace

import pytest

from kauditd.core.canary import RANDOM_BYTES, Canary, CanaryAnswer, Event, Found, Route, compose
from kauditd.core.counters import BATCH_SETTLE_S, Counters
from kauditd.core.generations import FileKey, Position
from kauditd.core.model import ApiServerProcess, Flag
from kauditd.core.observed import Shadow
from kauditd.core.proof import (
    CanaryFacts,
    Held,
    Inconclusive,
    LogFacts,
    PolicyFacts,
    ProofFacts,
    ProofResult,
    Proven,
    Unproven,
    judge,
    routes_to_try,
)
from tests.core.builders import DESIRED, LOG, NOW, OURS, POLICY, audited, process

FILE = f"{LOG}/audit.log"
KEY = FileKey(device=1, inode=2, size_bytes=3000)
OTHER = FileKey(device=1, inode=9, size_bytes=0)
SHADOW = Shadow(name="kube-apiserver.yaml.bak", pod="kube-system/kube-apiserver")
POLICY_FLAG = ("audit-policy-file", POLICY)
ROOM = 10 << 30


def canary(route: Route = Route.OWN) -> Canary:
    return compose(bytes(range(RANDOM_BYTES)), route=route)


def answer(status: int | None = 403, **values: object) -> CanaryAnswer:
    made = {"echoed_id": canary().audit_id, "asked_unix_s": NOW, "answered_unix_s": NOW + 0.003}
    return CanaryAnswer(status=status, **{**made, **values})


def found(route: Route = Route.OWN, **values: object) -> Found:
    event = Event(
        audit_id=canary(route).audit_id,
        uri=canary(route).uri,
        stage="ResponseComplete",
        level="Metadata",
        code=403,
        received_unix_s=NOW,
        stage_unix_s=NOW + 0.002,
    )
    place = Position(device=1, inode=2, offset_bytes=2400)
    made = {"event": event, "file": FILE, "position": place, "length_bytes": 600, "latency_s": 0.004}
    return Found(**{**made, **values})


def sent(
    route: Route = Route.OWN, *, seen: Found | None = None, searched_s: float = 3.0, **values: object
) -> CanaryFacts:
    return CanaryFacts(canary=canary(route), answer=answer(**values), found=seen, searched_s=searched_s)


def log(held: Held = Held.OPEN, **values: object) -> LogFacts:
    made = {"path": FILE, "seen_path": f"/proc/100/root{FILE}", "host_path": FILE, "seen": KEY, "host": KEY}
    return LogFacts(**{**made, "held": held, "free_bytes": ROOM, **values})


def facts(*canaries: CanaryFacts, **values: object) -> ProofFacts:
    """A node that is well, but for what is given; without canaries one that was lost."""
    made = {"at_unix_s": NOW + 4, "process": audited(), "desired": DESIRED, "log": log()}
    return ProofFacts(**{**made, "canaries": canaries or (sent(),), **values})


def code(result: ProofResult) -> str:
    return result.code if isinstance(result, Unproven) else type(result).__name__


def running(*pairs: tuple[str, str]) -> ApiServerProcess:
    return process(100, NOW - 3600, *pairs)


def test_an_event_in_the_open_file_is_proof() -> None:
    result = judge(facts(sent(seen=found())))

    assert isinstance(result, Proven)
    evidence = result.evidence
    assert (evidence.audit_id, evidence.uri) == (canary().audit_id, canary().uri)
    assert (evidence.stage, evidence.level, evidence.status) == ("ResponseComplete", "Metadata", 403)
    assert (evidence.file, evidence.device, evidence.inode) == (FILE, 1, 2)
    assert (evidence.offset_bytes, evidence.length_bytes) == (2400, 600)
    assert evidence.latency_ms == pytest.approx(4.0)
    assert (evidence.event_unix_s, evidence.proven_unix_s) == (NOW + 0.002, NOW + 4)
    assert (evidence.policy, evidence.policy_digest) == (POLICY, "a" * 12)
    assert (evidence.pid, evidence.started_unix_s) == (100, NOW - 3600)
    assert evidence.as_desired
    assert not evidence.glued
    assert evidence.hidden == ()


@pytest.mark.parametrize("status", [200, 401, 404, 429, 503, 500, None])
def test_an_event_in_the_file_is_proof_whatever_was_answered(status: int | None) -> None:
    assert isinstance(judge(facts(sent(seen=found(), status=status))), Proven)


def test_a_rotation_between_request_and_search_is_no_obstacle() -> None:
    rotated = found(file=f"{LOG}/audit-2026-11-24T12-00-00.000.log")

    assert isinstance(judge(facts(sent(seen=rotated))), Proven)


def test_evidence_names_the_file_on_the_host() -> None:
    """The way through /proc ends with the process, and a mount may put the file elsewhere."""
    name = "audit-2026-11-24T12-00-00.000.log"
    seen = found(file=f"/proc/100/root{LOG}/{name}")

    for host, expected in ((FILE, f"{LOG}/{name}"), ("/srv/trail/audit.log", f"/srv/trail/{name}"), ("/a", f"/{name}")):
        result = judge(facts(sent(seen=seen), log=log(host_path=host)))
        assert isinstance(result, Proven)
        assert result.evidence.file == expected


def test_descriptors_that_cannot_be_seen_leave_the_event_as_proof() -> None:
    assert isinstance(judge(facts(sent(seen=found()), log=log(Held.UNKNOWN))), Proven)


def test_a_full_disk_does_not_undo_an_event_that_was_written() -> None:
    assert isinstance(judge(facts(sent(seen=found()), log=log(free_bytes=0))), Proven)


@pytest.mark.parametrize(
    ("policy", "digest"),
    [
        ("/etc/kubernetes/audit/policy-0123456789ab.yaml", "0123456789ab"),
        ("/etc/kubernetes/audit/policy-0123456789AB.yaml", ""),
        ("/etc/kubernetes/audit/policy-0123.yaml", ""),
        ("/etc/kubernetes/audit/0123456789ab.yaml", ""),
        ("/etc/kubernetes/audit-policy.yaml", ""),
    ],
)
def test_evidence_names_the_policy_digest_that_the_flag_carries(policy: str, digest: str) -> None:
    foreign = running(("audit-log-path", FILE), ("audit-policy-file", policy))
    result = judge(facts(sent(seen=found()), process=foreign))

    assert isinstance(result, Proven)
    assert result.evidence.policy == policy
    assert result.evidence.policy_digest == digest
    assert not result.evidence.as_desired


def test_a_fallback_proves_and_says_what_is_hidden() -> None:
    result = judge(facts(sent(), sent(Route.VERSION, seen=found(Route.VERSION), status=200)))

    assert isinstance(result, Proven)
    assert result.evidence.hidden == ("/kauditd-canary",)
    unanswered = judge(facts(sent(status=503), sent(seen=found())))
    assert isinstance(unanswered, Proven)
    assert unanswered.evidence.hidden == (), "a canary that was not let in tells nothing about the policy"


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ((), "audit-off"),
        ((("audit-log-path", ""),), "audit-off"),
        ((POLICY_FLAG,), "audit-off"),
        ((POLICY_FLAG, ("audit-webhook-config-file", "/etc/w.yaml")), "webhook-only"),
        ((POLICY_FLAG, ("audit-log-path", ""), ("audit-webhook-config-file", "/etc/w.yaml")), "webhook-only"),
        ((("audit-log-path", FILE),), "policy-missing-flag"),
        ((("audit-log-path", FILE), ("audit-policy-file", "")), "policy-missing-flag"),
        ((("audit-log-path", "-"), POLICY_FLAG), "log-stdout"),
        ((("audit-log-path", "-"),), "log-stdout"),
        ((("audit-log-path", "/dev/stdout"), POLICY_FLAG), "log-stdout"),
        ((*OURS, ("audit-log-path", "")), "audit-off"),
    ],
)
def test_flags_that_rule_a_proof_out(pairs: tuple[tuple[str, str], ...], expected: str) -> None:
    result = judge(facts(sent(seen=found()), process=running(*pairs)))

    assert isinstance(result, Unproven)
    assert result.code == expected
    assert result.text
    assert result.hint
    assert result.fallback is None


def test_log_and_webhook_together_are_no_obstacle() -> None:
    both = running(*OURS, ("audit-webhook-config-file", "/etc/w.yaml"))

    assert isinstance(judge(facts(sent(seen=found()), process=both)), Proven)


def test_a_second_manifest_explains_flags_that_nobody_asked_for() -> None:
    result = judge(facts(process=running(), shadows=(SHADOW,)))

    assert isinstance(result, Unproven)
    assert result.code == "shadow-manifest"
    assert SHADOW.name in result.text


def test_a_second_manifest_is_not_blamed_for_what_the_settings_ask_for() -> None:
    stdout = running(("audit-log-path", "-"), POLICY_FLAG)
    wanted = replace(DESIRED, flags=(Flag(name="audit-log-path", value="-"),))

    assert code(judge(facts(process=stdout, desired=wanted, shadows=(SHADOW,)))) == "log-stdout"


@pytest.mark.parametrize("seen", [None, found()])
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (log(Held.DELETED, held_path=FILE, seen=None, host=None), "log-deleted"),
        (log(Held.DELETED, held_path=FILE, seen=OTHER, host=OTHER), "log-deleted"),
        (log(Held.RENAMED, held_path=f"{FILE}.1", seen=OTHER, host=OTHER), "log-renamed"),
        (log(host=None), "log-in-container"),
        (log(host=OTHER), "log-in-container"),
        (log(Held.NOT_OPEN, host=None), "log-in-container"),
        (log(Held.ELSEWHERE, held_path=f"/layer{FILE}", seen=None, host=None), "log-in-container"),
    ],
)
def test_a_file_that_rules_a_proof_out(state: LogFacts, expected: str, seen: Found | None) -> None:
    """An event that was found before the file was lost proves nothing about the next one."""
    result = judge(facts(sent(seen=seen), log=state))

    assert code(result) == expected
    assert isinstance(result, Unproven)
    assert "audit.log" in result.text


def test_what_the_process_sees_may_be_unknown() -> None:
    assert log(process_root_seen=False).shared is None
    assert log(Held.NOT_OPEN, seen=None, host=None).shared is None
    assert log().shared is True


def test_an_event_in_a_file_that_is_not_held_is_looked_at_again() -> None:
    assert isinstance(judge(facts(sent(seen=found()), log=log(Held.NOT_OPEN))), Inconclusive)
    assert isinstance(judge(facts(sent(seen=found()), log=None)), Inconclusive)


def test_no_process_and_no_canary_tell_nothing() -> None:
    assert isinstance(judge(facts(process=None)), Inconclusive)
    assert isinstance(judge(facts(canaries=())), Inconclusive)


def test_an_api_server_that_does_not_answer() -> None:
    result = judge(facts(sent(status=None, echoed_id="", detail="cannot ask 10.0.0.1:6443: Connection refused")))

    assert isinstance(result, Unproven)
    assert result.code == "api-server-silent"
    assert "Connection refused" in result.text
    assert code(judge(facts(sent(status=None, echoed_id="")))) == "api-server-silent"


@pytest.mark.parametrize("status", [503, 429, 504, 500, 400, 302])
def test_answers_from_before_the_audit_filter_are_inconclusive(status: int) -> None:
    assert isinstance(judge(facts(sent(status=status))), Inconclusive)


@pytest.mark.parametrize("echoed", ["", "somebody-elses"])
def test_an_answer_without_our_id_is_inconclusive(echoed: str) -> None:
    assert isinstance(judge(facts(sent(echoed_id=echoed))), Inconclusive)


def test_an_event_may_take_its_time() -> None:
    assert isinstance(judge(facts(sent(searched_s=1.9))), Inconclusive)
    batch = running(*OURS, ("audit-log-mode", "batch"))
    assert isinstance(judge(facts(sent(searched_s=30.0), process=batch)), Inconclusive)
    assert isinstance(judge(facts(sent(searched_s=BATCH_SETTLE_S), process=batch)), Unproven)


def test_a_full_disk() -> None:
    result = judge(facts(sent(searched_s=0.0), log=log(free_bytes=4096)))

    assert isinstance(result, Unproven)
    assert result.code == "disk-full"
    assert "4096 bytes" in result.text


@pytest.mark.parametrize(("free", "expected"), [(0, "disk-full"), (ROOM, "canary-lost"), (None, "canary-lost")])
def test_strict_mode_refuses_what_it_cannot_store(free: int | None, expected: str) -> None:
    assert code(judge(facts(sent(status=500, refused=True), log=log(free_bytes=free)))) == expected
    assert code(judge(facts(sent(status=500, refused=True), log=None))) == "canary-lost"


def test_a_policy_that_cannot_be_read_is_asked_by_other_requests() -> None:
    """Each is tried once; only then an event is called lost."""
    first = judge(facts(sent()))
    second = judge(facts(sent(), sent(Route.VERSION)))
    third = judge(facts(sent(), sent(Route.VERSION), sent(Route.RESOURCE)))

    assert isinstance(first, Unproven)
    assert (first.code, first.fallback) == ("canary-hidden", Route.VERSION)
    assert isinstance(second, Unproven)
    assert (second.code, second.fallback) == ("canary-hidden", Route.RESOURCE)
    assert isinstance(third, Unproven)
    assert (third.code, third.fallback) == ("canary-lost", None)


def test_a_policy_known_to_hide_our_path_is_asked_by_what_it_records() -> None:
    policy = PolicyFacts(path="/etc/kubernetes/own.yaml", foreign=True, recorded=frozenset({Route.RESOURCE}))
    result = judge(facts(sent(), policy=policy))

    assert isinstance(result, Unproven)
    assert (result.code, result.fallback) == ("canary-hidden", Route.RESOURCE)
    assert "not kauditd's" in result.text
    assert "/etc/kubernetes/own.yaml" in result.text
    assert code(judge(facts(sent(), sent(Route.RESOURCE), policy=policy))) == "canary-lost"


def test_a_request_that_the_policy_hides_tells_nothing_beside_one_that_it_records() -> None:
    policy = PolicyFacts(path=POLICY, foreign=False, recorded=frozenset({Route.VERSION}))

    assert code(judge(facts(sent(Route.VERSION), sent(), policy=policy))) == "canary-lost"
    assert isinstance(judge(facts(sent(Route.VERSION, status=503), sent(), policy=policy)), Inconclusive)


def test_a_policy_that_records_nothing() -> None:
    nothing = PolicyFacts(path=POLICY, foreign=False, recorded=frozenset())
    result = judge(facts(sent(), policy=nothing))

    assert isinstance(result, Unproven)
    assert (result.code, result.fallback) == ("policy-none", None)
    assert "not kauditd's" not in result.text


ALL_TRIED = (sent(), sent(Route.VERSION), sent(Route.RESOURCE))
BEFORE = Counters(events=7, errors=(("log", 1),), levels=(("None", 10),))


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (Counters(events=7, levels=(("None", 13),)), "policy-none"),
        (Counters(events=0, levels=(("None", 3),)), "policy-none"),
        (Counters(events=0, levels=(("None", 2),)), "canary-lost"),
        (Counters(events=7, levels=(("None", 12),)), "canary-lost"),
        (Counters(events=8, errors=(("log", 1),), levels=(("None", 13),)), "canary-hidden"),
        (Counters(events=8, errors=(("log", 1),), levels=(("None", 12),)), "canary-lost"),
        (Counters(events=8, errors=(("log", 2),), levels=(("None", 13),)), "canary-lost"),
        (None, "canary-hidden"),
    ],
)
def test_counters_tell_a_policy_that_hides_from_an_event_that_was_lost(after: Counters | None, expected: str) -> None:
    """A policy that cannot be read, after everything was tried."""
    policy = PolicyFacts(path="/p.yaml", foreign=True)
    result = judge(facts(*ALL_TRIED, policy=policy, before=BEFORE, after=after))

    assert isinstance(result, Unproven)
    assert (result.code, result.fallback) == (expected, None)


def test_without_earlier_counters_only_a_total_of_nothing_tells() -> None:
    nothing = Counters(events=0, levels=(("None", 3),))

    assert code(judge(facts(*ALL_TRIED, after=nothing))) == "policy-none"
    assert code(judge(facts(*ALL_TRIED, after=BEFORE))) == "canary-lost"
    assert code(judge(facts(*ALL_TRIED, policy=PolicyFacts(path=POLICY, foreign=False)))) == "canary-lost"


def test_a_policy_that_records_only_what_was_not_tried() -> None:
    """The settled answer when a caller asked for everything but one thing, which then is the request to try."""
    policy = PolicyFacts(path=POLICY, foreign=False, recorded=frozenset({Route.OWN}))
    result = judge(facts(sent(Route.VERSION), policy=policy))

    assert isinstance(result, Unproven)
    assert (result.code, result.fallback) == ("canary-hidden", Route.OWN)


def test_an_event_that_the_policy_records_and_the_file_lacks() -> None:
    policy = PolicyFacts(path=POLICY, foreign=False, recorded=frozenset(Route))
    result = judge(facts(policy=policy, after=Counters(events=9, errors=(("log", 4),))))

    assert isinstance(result, Unproven)
    assert (result.code, result.fallback) == ("canary-lost", None)
    assert canary().audit_id in result.text
    assert "4 failed writes" in result.text
    assert "failed writes" not in getattr(judge(facts(policy=policy)), "text", "failed writes")
    assert code(judge(facts(policy=policy, log=None))) == "canary-lost"


def test_a_log_that_is_not_open_after_an_answer() -> None:
    """Before the first event that is normal: lumberjack opens at its first write."""
    policy = PolicyFacts(path=POLICY, foreign=False, recorded=frozenset(Route))

    assert code(judge(facts(policy=policy, log=log(Held.NOT_OPEN)))) == "log-not-open"
    assert isinstance(judge(facts(sent(status=503), policy=policy, log=log(Held.NOT_OPEN))), Inconclusive)


def test_which_requests_to_try() -> None:
    some = PolicyFacts(path=POLICY, foreign=True, recorded=frozenset({Route.RESOURCE, Route.VERSION}))

    assert list(routes_to_try(None)) == list(Route)
    assert list(routes_to_try(PolicyFacts(path=POLICY, foreign=True))) == list(Route)
    assert list(routes_to_try(some)) == [Route.VERSION, Route.RESOURCE]
    assert list(routes_to_try(replace(some, recorded=frozenset()))) == [Route.OWN]
