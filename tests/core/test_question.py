"""Questions and answers cross the pipe whole, and nothing malformed is taken for an answer."""

import json

import pytest

from kauditd.core.canary import RANDOM_BYTES, CanaryAnswer, compose
from kauditd.core.counters import Counters, CountersAnswer
from kauditd.core.credentials import Credentials, Material
from kauditd.core.observed import HealthFacts
from kauditd.core.question import Answers, Question, dump_answers, dump_question, load_answers, load_question
from kauditd.errors import KauditError

CANARY = compose(bytes(RANDOM_BYTES))
ANSWER = CanaryAnswer(status=403, echoed_id="x", asked_unix_s=1.0, answered_unix_s=2.0, duration_ms=3.5, detail="d")
COUNTERS = Counters(events=5, errors=(("log", 1),), levels=(("None", 2),), rejected=3)


@pytest.mark.parametrize(
    "question",
    [
        Question(address="::1", port=6443, timeout_s=2.5),
        Question(address="10.0.0.1", port=1, timeout_s=1, health=False, canary=CANARY, counters=True),
        Question(
            address="a",
            port=1,
            timeout_s=1,
            credentials=Credentials(source="s", token=Material(text="t"), authority=Material(path="/ca")),
        ),
    ],
)
def test_questions(question: Question) -> None:
    line = dump_question(question)

    assert line.count(b"\n") == 1
    assert load_question(line) == question


@pytest.mark.parametrize(
    "answers",
    [
        Answers(),
        Answers(health=HealthFacts(livez=200, readyz=None, detail="d")),
        Answers(canary=ANSWER),
        Answers(canary=CanaryAnswer(status=None, asked_unix_s=1.0, answered_unix_s=2.0, refused=True)),
        Answers(counters=CountersAnswer(status=200, counters=COUNTERS, asked_unix_s=1.0, answered_unix_s=2.0)),
        Answers(counters=CountersAnswer(status=None, counters=None, asked_unix_s=1.0, answered_unix_s=2.0, detail="d")),
    ],
)
def test_answers(answers: Answers) -> None:
    line = dump_answers(answers)

    assert line.count("\n") == 1
    assert load_answers(line.encode()) == answers


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"health": 5},
        {"health": {"livez": "200", "readyz": 200, "detail": ""}},
        {"canary": {"status": 403}},
        {"counters": {"status": 200, "counters": {"events": 1, "errors": [["log"]], "levels": [], "rejected": 0}}},
        {"counters": {"status": 200, "counters": {"events": True}}},
    ],
)
def test_malformed_answers(value: object) -> None:
    with pytest.raises(KauditError):
        load_answers(json.dumps(value).encode())


def test_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        load_answers(b"")
