"""``/v1/proof`` and ``/v1/canary``: what they answer, how long they may take, and one round at a time."""

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from kauditd.api.limits import Limits
from kauditd.api.views import proof_view
from kauditd.errors import Refused
from tests.api.fake import (
    FAILED_PROOF,
    Answer,
    FakeBackend,
    dial,
    make_proof,
    make_snapshot,
    parse,
    read_all,
    request,
    serving,
)

SHORT = Limits(request_s=0.4, round_s=3)
CANARY = b"POST /v1/canary HTTP/1.1\r\nHost: kauditd\r\n\r\n"


def test_proof_names_event_file_offset_and_verdict(path: Path) -> None:
    with serving(path, FakeBackend()):
        answer = request(path, "GET", "/v1/proof")

    result = answer.result()
    proof = result["proof"]
    assert isinstance(proof, dict)
    evidence = proof["evidence"]
    assert isinstance(evidence, dict)
    assert (result["verdict"], result["proven"], answer.headers["kauditd-exit"]) == ("protected", True, "0")
    assert (evidence["audit_id"], evidence["offset_bytes"]) == ("6f1c2d3e", 8192)
    assert evidence["file"] == "/var/log/kubernetes/audit/audit.log"


def test_a_failed_proof_is_an_answer_that_says_no(path: Path) -> None:
    backend = FakeBackend()
    backend.publish(proof=FAILED_PROOF)
    with serving(path, backend):
        answer = request(path, "GET", "/v1/proof")

    assert (answer.status, answer.headers["kauditd-exit"]) == (200, "1")
    assert answer.result()["proven"] is False


def test_a_canary_answers_with_the_new_event(path: Path) -> None:
    with serving(path, backend := FakeBackend()):
        answer = request(path, "POST", "/v1/canary")
        text = request(path, "POST", "/v1/canary", headers={"Accept": "text/plain"})

    assert answer.result()["proven"] is True
    assert b'"audit_id":"9b2e4c1a"' in answer.body
    assert text.headers["content-type"] == "text/plain; charset=utf-8"
    assert [call[0] for call in backend.calls] == ["canary", "canary"]


def test_a_round_that_shows_nothing_new_is_not_proven(path: Path) -> None:
    """The engine keeps older evidence where a round is inconclusive; it must not answer a fresh question."""
    with serving(path, FakeBackend(round=make_proof())):
        answer = request(path, "POST", "/v1/canary")

    assert (answer.status, answer.headers["kauditd-exit"]) == (200, "1")
    assert answer.result()["proven"] is False


def test_a_round_outlives_the_request_deadline(path: Path) -> None:
    with serving(path, FakeBackend(act_delay_s=1.2), limits=SHORT):
        answer = request(path, "POST", "/v1/canary")

    assert answer.status == 200


def test_a_client_that_closes_its_own_side_still_gets_a_long_round(path: Path) -> None:
    with serving(path, FakeBackend(act_delay_s=1.2), limits=SHORT), dial(path) as connection:
        connection.sendall(CANARY)
        connection.shutdown(socket.SHUT_WR)
        answer = parse(read_all(connection))

    assert answer.status == 200


def test_a_round_that_takes_too_long_is_said_to_go_on(path: Path) -> None:
    backend = FakeBackend(act_delay_s=1.0)
    with serving(path, backend, limits=Limits(request_s=0.4, round_s=0.5)):
        answer = request(path, "POST", "/v1/canary")
        second = request(path, "POST", "/v1/canary")
        time.sleep(0.8)

    assert (answer.status, answer.result()["hint"]) == (503, "see: kauditctl status")
    assert second.status == 409, "the first one is still under way"
    assert backend.ended == 1


def test_there_is_one_round_at_a_time_and_another_after_it(path: Path) -> None:
    backend = FakeBackend(act_delay_s=0.8)
    answers: list[Answer] = []
    with serving(path, backend):
        first = threading.Thread(target=lambda: answers.append(request(path, "POST", "/v1/canary")))
        first.start()
        time.sleep(0.3)
        refused = request(path, "POST", "/v1/canary")
        other = request(path, "POST", "/v1/pause")
        first.join(10)
        after = request(path, "POST", "/v1/canary")

    assert (refused.status, refused.result()["kind"]) == (409, "refused")
    assert (other.status, answers[0].status, after.status) == (200, 200, 200)
    assert backend.ended == 2


def test_a_client_that_goes_away_does_not_free_the_round(path: Path) -> None:
    backend = FakeBackend(act_delay_s=0.8)
    with serving(path, backend):
        with contextlib.closing(dial(path)) as connection:
            connection.sendall(CANARY)
            time.sleep(0.2)
        refused = request(path, "POST", "/v1/canary")
        time.sleep(0.9)
        after = request(path, "POST", "/v1/canary")

    assert (refused.status, after.status) == (409, 200)


def test_a_refusal_of_the_engine_frees_the_round(path: Path) -> None:
    with serving(path, FakeBackend(fault=Refused("cannot ask: not ready", hint="wait"))):
        answers = [request(path, "POST", "/v1/canary") for _ in range(2)]

    assert [answer.result()["message"] for answer in answers] == ["cannot ask: not ready"] * 2


@pytest.mark.parametrize("known", [True, False])
def test_an_event_is_new_where_none_or_another_was_known(known: bool) -> None:
    before = FakeBackend().round if known else FAILED_PROOF

    assert proof_view(make_snapshot(), before=before).proven
