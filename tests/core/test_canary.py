"""Which line is the canary's event, and which only looks like it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.canary import (
    AUDITED_STATUSES,
    RANDOM_BYTES,
    Canary,
    CanaryAnswer,
    Route,
    Timeframe,
    compose,
    match_line,
    unix_s,
)

CANARY = compose(bytes(range(RANDOM_BYTES)))
RECEIVED = "2026-11-24T12:00:00.100000Z"
STAGED = "2026-11-24T12:00:00.103000Z"
ASKED_S = 1795521600.0
FRAME = Timeframe(not_before_unix_s=ASKED_S - 2, not_after_unix_s=ASKED_S + 10)


def line(canary: Canary = CANARY, **changed: object) -> bytes:
    """The line that kube-apiserver v1.37.2 writes for an anonymous canary, but for what is ``changed``."""
    event = {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": canary.audit_id,
        "stage": "ResponseComplete",
        "requestURI": canary.uri,
        "verb": "get",
        "user": {"username": "system:anonymous", "groups": ["system:unauthenticated"]},
        "sourceIPs": ["10.77.0.13"],
        "userAgent": "kauditd",
        "responseStatus": {"metadata": {}, "status": "Failure", "reason": "Forbidden", "details": {}, "code": 403},
        "requestReceivedTimestamp": RECEIVED,
        "stageTimestamp": STAGED,
        **changed,
    }
    return json.dumps({k: v for k, v in event.items() if v is not None}, separators=(",", ":")).encode()


def test_the_event_is_recognised() -> None:
    event = match_line(line(), CANARY, FRAME)

    assert event is not None
    assert (event.stage, event.level, event.code, event.glued) == ("ResponseComplete", "Metadata", 403, False)
    assert event.received_unix_s == pytest.approx(ASKED_S + 0.1)
    assert event.stage_unix_s == pytest.approx(ASKED_S + 0.103)


def test_a_failed_authentication_leaves_an_event_without_a_user() -> None:
    event = match_line(line(stage="ResponseStarted", user={}), CANARY, FRAME)

    assert event is not None
    assert event.stage == "ResponseStarted"


@pytest.mark.parametrize(
    "status", [None, {"metadata": {}}, {"metadata": {}, "code": "403"}, [], {"code": 1.5}], ids=str
)
def test_an_early_stage_has_no_status(status: object) -> None:
    event = match_line(line(stage="RequestReceived", responseStatus=status), CANARY, FRAME)

    assert event is not None
    assert event.code is None


@pytest.mark.parametrize(
    "changed",
    [
        {"requestURI": "/kauditd-canary"},
        {"requestURI": CANARY.uri + "0"},
        {"requestURI": "/version?n=1011121314151617"},
        {"requestURI": None},
        {"auditID": CANARY.audit_id + "0"},
        {"auditID": "other", "userAgent": CANARY.audit_id},
        {"auditID": [CANARY.audit_id]},
        {"requestReceivedTimestamp": "2026-11-24T11:59:57.999999Z"},
        {"requestReceivedTimestamp": "2026-11-24T12:00:10.000001Z"},
        {"stageTimestamp": "2026-11-25T12:00:00.000000Z"},
        {"stageTimestamp": None},
        {"stageTimestamp": "yesterday"},
        {"stageTimestamp": "2026-11-24T12:00:00"},
        {"requestReceivedTimestamp": 5},
        {"level": None},
        {"stage": None},
    ],
    ids=str,
)
def test_a_forged_line_is_not_the_event(changed: dict[str, object]) -> None:
    """The id is in the line, but something else about it is wrong."""
    forged = line(**changed)
    if "auditID" not in changed:
        assert CANARY.audit_id.encode() in forged

    assert match_line(forged, CANARY, FRAME) is None


def test_an_event_quoted_in_the_body_of_another_request_is_not_the_event() -> None:
    inner = json.loads(line())
    outer = line(auditID="other", requestURI="/api/v1/namespaces/x/configmaps", requestObject=inner)

    assert match_line(outer, CANARY, FRAME) is None
    assert match_line(outer.replace(b'"verb":"get"', b'"verb":"\xff"', 1), CANARY, FRAME) is None


def test_an_event_that_continues_a_torn_line_counts() -> None:
    """ENOSPC cut the event before; the next write that succeeds goes on where it was cut."""
    for cut in (1, 20, 43, 100, 300):
        event = match_line(line(auditID="other")[:cut] + line(), CANARY, FRAME)

        assert event is not None
        assert event.glued


def test_a_torn_event_does_not_count() -> None:
    whole = line()

    assert [cut for cut in range(len(whole)) if match_line(whole[:cut], CANARY, FRAME)] == []
    assert match_line(whole[:-30] + line(auditID="other"), CANARY, FRAME) is None


@pytest.mark.parametrize(
    "junk", [b"[1]", b"null", b"\xff\xfe", b"[" * 50000, b'{"auditID":"' + b"x" * 70000, b"2026 AUDIT: id=", b""]
)
def test_a_line_that_cannot_be_read_is_passed_over(junk: bytes) -> None:
    assert match_line(junk + b" " + CANARY.audit_id.encode(), CANARY, FRAME) is None


def test_deep_nesting_is_passed_over() -> None:
    deep = b'{"auditID":"' + CANARY.audit_id.encode() + b'","x":' + b"[" * 30000 + b"]" * 30000 + b"}"

    assert match_line(deep, CANARY, FRAME) is None


def legacy(**changed: str) -> bytes:
    """The form of --audit-log-format=legacy (kube-apiserver pkg/audit/format.go)."""
    fields = {"when": "2026-11-24T12:00:00.103456789Z", "id": CANARY.audit_id, "uri": CANARY.uri, "code": "403"}
    fields |= changed
    return (
        f'{fields["when"]} AUDIT: id="{fields["id"]}" stage="ResponseComplete" ip="10.0.0.1" method="get" '
        f'user="system:anonymous" groups="\\"system:unauthenticated\\"" as="<self>" asgroups="<lookup>" '
        f'user-agent="kauditd" namespace="<none>" uri="{fields["uri"]}" response="{fields["code"]}"'
    ).encode()


def test_the_legacy_format_is_recognised() -> None:
    event = match_line(legacy(), CANARY, FRAME)

    assert event is not None
    assert (event.stage, event.level, event.code) == ("ResponseComplete", "", 403)
    early = match_line(legacy(code="<deferred>"), CANARY, FRAME)
    assert early is not None
    assert early.code is None
    assert match_line(legacy(uri="/version"), CANARY, FRAME) is None
    assert match_line(legacy(when="2026-11-24T13:00:00Z"), CANARY, FRAME) is None
    assert match_line(legacy(when="now"), CANARY, FRAME) is None


def test_no_two_canaries_are_alike_and_each_route_has_its_path() -> None:
    other = compose(bytes(RANDOM_BYTES), route=Route.VERSION)

    assert CANARY.audit_id == "kauditd-000102030405060708090a0b0c0d0e0f"
    assert CANARY.uri == "/kauditd-canary?n=1011121314151617"
    assert other.uri == "/version?n=0000000000000000"
    assert other.route is Route.VERSION
    with pytest.raises(ValueError, match="24 random bytes"):
        compose(bytes(RANDOM_BYTES - 1))


def test_the_event_lies_in_the_time_of_question_and_answer() -> None:
    frame = CanaryAnswer(status=403, asked_unix_s=100.0, answered_unix_s=101.0).timeframe

    assert frame.holds(100.5)
    assert frame.holds(98.0)
    assert not frame.holds(97.9)
    assert not frame.holds(111.1)


def test_what_the_shutdown_filters_answer_is_not_audited() -> None:
    assert not {503, 429, 504, 500, 400} & AUDITED_STATUSES
    assert {401, 403, 404} <= AUDITED_STATUSES


@given(st.text(max_size=40) | st.integers() | st.none())
def test_no_timestamp_makes_it_raise(text: object) -> None:
    assert isinstance(unix_s(text), float | None)


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_line_makes_it_raise(junk: bytes, place: int) -> None:
    spoiled = junk[:place] + CANARY.audit_id.encode() + junk[place:]

    assert match_line(spoiled, CANARY, FRAME) is None
