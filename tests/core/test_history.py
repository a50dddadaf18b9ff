"""The journal's records as changes, and what an unfinished one means after a crash."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core import history
from kauditd.core.history import Record, Recovery
from kauditd.core.model import Change, ChangeEvent, Digest, Outcome
from kauditd.core.records import digest_of

BEFORE, AFTER, OTHER = digest_of(b"before"), digest_of(b"after"), digest_of(b"other")


def change(number: int = 1, *, summary: str = "put the flags back") -> Change:
    return Change(
        id=number,
        cause="repair",
        target="/etc/kubernetes/manifests/kube-apiserver.yaml",
        summary=summary,
        before=BEFORE,
        after=AFTER,
        started_unix_s=10.5,
    )


def ended(number: int = 1, outcome: Outcome = Outcome.PROVEN) -> Record:
    return history.outcome_record(number, outcome, finished_unix_s=50.0, reason="the canary was found")


def story(number: int = 1) -> list[Record]:
    event = ChangeEvent(at_unix_s=20.0, what="process-ended", detail="pid 7")
    return [history.intent_record(change(number)), history.event_record(number, event), ended(number)]


def test_a_whole_story_becomes_one_change() -> None:
    (found,) = history.fold(story())
    assert found == Change(
        id=1,
        cause="repair",
        target="/etc/kubernetes/manifests/kube-apiserver.yaml",
        summary="put the flags back",
        before=BEFORE,
        after=AFTER,
        started_unix_s=10.5,
        finished_unix_s=50.0,
        outcome=Outcome.PROVEN,
        reason="the canary was found",
        events=(ChangeEvent(at_unix_s=20.0, what="process-ended", detail="pid 7"),),
    )


def test_an_intent_alone_is_an_open_change() -> None:
    changes = history.fold([history.intent_record(change())])
    assert changes == (change(),)
    assert history.open_change(changes) == change()


def test_every_outcome_survives_the_way_there_and_back() -> None:
    for outcome in set(Outcome) - {Outcome.OPEN}:
        assert history.fold([history.intent_record(change()), ended(1, outcome)])[0].outcome is outcome


def test_no_change_is_open_after_its_outcome() -> None:
    assert history.open_change(history.fold(story())) is None


def test_the_last_outcome_counts() -> None:
    records = [history.intent_record(change()), ended(1, Outcome.UNPROVEN), ended(1, Outcome.PROVEN)]
    assert history.fold(records)[0].outcome is Outcome.PROVEN


def test_changes_are_told_by_rising_id() -> None:
    assert [c.id for c in history.fold([*story(3), *story(1), *story(2)])] == [1, 2, 3]


def test_the_newest_open_change_is_the_one_to_resume_and_older_ones_are_abandoned() -> None:
    changes = history.fold([history.intent_record(change(n)) for n in (1, 2, 3)] + [ended(2)])
    open_one = history.open_change(changes)
    assert open_one is not None
    assert open_one.id == 3
    assert [c.id for c in history.abandoned(changes)] == [1]


def test_an_open_change_overtaken_by_a_finished_one_is_abandoned() -> None:
    changes = history.fold([history.intent_record(change(1)), *story(2)])
    assert [c.id for c in history.abandoned(changes)] == [1]


def test_an_open_change_is_started_over_by_a_second_intent_and_keeps_its_events() -> None:
    records = [*story()[:2], history.intent_record(change(summary="once more"))]
    (found,) = history.fold(records)
    assert (found.summary, len(found.events)) == ("once more", 1)


def test_a_finished_change_is_not_started_over() -> None:
    (found,) = history.fold([*story(), history.intent_record(change(summary="once more"))])
    assert (found.summary, found.outcome) == ("put the flags back", Outcome.PROVEN)


def test_ids_are_never_used_twice() -> None:
    assert history.next_id(()) == 1
    assert history.next_id(history.fold([*story(7), *story(2)])) == 8


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"v": 1, "type": "sealed", "id": 1},
        {"v": 2, "type": "outcome", "id": 1, "outcome": "refused", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": "1", "outcome": "refused", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": True, "outcome": "refused", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": 2, "outcome": "refused", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": 1, "outcome": "splendid", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": 1, "outcome": "open", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "outcome", "id": 1, "outcome": "refused", "finished": "now", "reason": ""},
        {"v": 1, "type": "event", "id": 1, "at": 1.0, "what": 3, "detail": ""},
        {"v": 1, "type": "event", "id": 9, "at": 1.0, "what": "x", "detail": ""},
        {"v": 1, "type": "intent", "id": 2, "cause": "repair"},
        {"v": 1, "type": ["intent"], "id": 1},
        {"v": 1, "type": "outcome", "id": [1], "outcome": "refused", "finished": 1.0, "reason": ""},
        {"v": 1, "type": "intent", "id": 0, "cause": "repair"},
    ],
)
def test_a_record_that_says_nothing_to_us_changes_nothing(record: Record) -> None:
    begun = [history.intent_record(change())]
    assert history.fold([*begun, record]) == history.fold(begun)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (BEFORE, Recovery.NOT_WRITTEN),
        (AFTER, Recovery.WRITTEN),
        (OTHER, Recovery.SUPERSEDED),
        (None, Recovery.UNCLEAR),
    ],
)
def test_the_manifest_tells_what_became_of_an_intent(current: Digest | None, expected: Recovery) -> None:
    assert history.recover(change(), current) is expected


def test_the_boot_of_an_intent_is_remembered() -> None:
    records = [
        {"type": "intent"},
        history.intent_record(change(1), boot_id="aaa"),
        history.intent_record(change(2), boot_id="bbb"),
        history.intent_record(change(3)),
    ]
    assert [history.boot_id(records, n) for n in (1, 2, 3)] == ["aaa", "bbb", ""]


def test_compaction_keeps_the_newest_changes_the_open_ones_and_what_is_not_ours() -> None:
    foreign: list[Record] = [
        {"v": 1, "type": "sealed", "id": 2},
        {"v": 9, "type": "event", "id": 2},
        {"v": 1, "type": "event", "id": [2]},
    ]
    records = [history.intent_record(change(1)), *story(2), *foreign, *story(3), *story(4)]
    kept = history.compact(records, keep_changes=2)
    assert kept == (records[0], *foreign, *story(3), *story(4))


def test_compaction_to_nothing_keeps_open_changes() -> None:
    kept = history.compact([*story(1), history.intent_record(change(2))], keep_changes=0)
    assert [c.id for c in history.fold(kept)] == [2]


STORIES = st.lists(
    st.sampled_from([record for n in (1, 2, 3) for record in story(n)] + [{"v": 1, "type": "other"}]), max_size=12
)


@given(STORIES, st.integers(1, 4))
def test_compaction_never_alters_what_it_keeps(records: list[Record], keep: int) -> None:
    before = history.fold(records)
    after = history.fold(history.compact(records, keep_changes=keep))
    assert set(after) <= set(before)
    assert set(before[-keep:]) <= set(after)
    assert history.open_change(after) == history.open_change(before)
    assert history.next_id(after) == history.next_id(before)
