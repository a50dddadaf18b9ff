"""Promise P7: at most three rewrites in ten minutes, then pauses of 1, 2, 4 ... 30 minutes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.contest import LONGEST_PAUSE_S, WINDOW_S, Contest, note_rewrite
from tests.core.builders import NOW


def fight(gaps: list[float], start: float = NOW) -> list[float]:
    """Times of the rewrites that happen when one is attempted after each gap."""
    contest, now, written = Contest(), start, []
    for gap in gaps:
        now += gap
        if not contest.contested(now):
            contest = note_rewrite(contest, now)
            written.append(now)
    return written


@given(st.lists(st.one_of(st.floats(0.0, 5.0), st.floats(0.0, 700.0), st.floats(0.0, 4000.0)), max_size=120))
def test_never_more_than_three_rewrites_in_ten_minutes(gaps: list[float]) -> None:
    written = fight(gaps)
    for first, fourth in zip(written, written[3:], strict=False):
        assert fourth - first >= WINDOW_S


def test_rival_that_never_sleeps_gets_longer_and_longer_pauses() -> None:
    written = fight([5.0] * 3000)
    pauses = [b - a for a, b in pairwise(written[2:])]
    # The first pause is stretched to what is left of the ten minutes; the others are the ladder itself.
    assert pauses[0] == WINDOW_S - 10.0
    assert pauses[1:8] == [120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0]


def test_first_pause_is_a_minute_where_the_ten_minutes_are_nearly_over() -> None:
    contest = Contest()
    for at in (0.0, 299.0, 598.0):
        assert not contest.contested(NOW + at)
        contest = note_rewrite(contest, NOW + at)
    assert contest.contested(NOW + 598.0)
    assert contest.until_unix_s == NOW + 658.0
    assert not contest.contested(NOW + 658.0)


def test_two_rewrites_are_no_contest() -> None:
    contest = note_rewrite(note_rewrite(Contest(), NOW), NOW + 1)
    assert not contest.contested(NOW + 1)
    assert not contest.contested(NOW + 2)


def test_rival_seen_last_month_does_not_slow_down_tonight() -> None:
    contest = Contest(rewrites_unix_s=(NOW - 3000,), level=4, until_unix_s=NOW - LONGEST_PAUSE_S - 1)
    contest = note_rewrite(contest, NOW)
    assert contest.level == 0
    assert not contest.contested(NOW)


def test_pause_just_over_is_not_a_quiet_period() -> None:
    contest = Contest(rewrites_unix_s=(NOW - 1800,), level=5, until_unix_s=NOW)
    contest = note_rewrite(contest, NOW)
    assert contest.until_unix_s == NOW + LONGEST_PAUSE_S


def test_contest_of_many_weeks() -> None:
    contest = Contest(level=5000, until_unix_s=NOW)
    contest = note_rewrite(contest, NOW)
    assert contest.until_unix_s == NOW + LONGEST_PAUSE_S
    assert contest.level < 10


@given(st.floats(1.0, 1e8))
def test_clock_stepped_back_during_contest(step_s: float) -> None:
    """The pause lasts no longer than the longest one, and no rewrite is forgotten."""
    contest = Contest()
    for at in (0.0, 1.0, 2.0):
        contest = note_rewrite(contest, NOW + at)
    now = NOW + 2.0 - step_s
    waits = [w for w in (0.0, 600.0, LONGEST_PAUSE_S) if not contest.contested(now + w)]
    assert waits, "the pause must end"
    contest = note_rewrite(contest, now + waits[0])
    assert contest.contested(now + waits[0])
    assert contest.until_unix_s >= now + waits[0] + 60.0


@given(st.lists(st.tuples(st.floats(0.0, 120.0), st.sampled_from([0.0] * 8 + [-7200.0, -60.0])), max_size=80))
def test_each_step_back_costs_at_most_one_rewrite_more(moves: list[tuple[float, float]]) -> None:
    """In true time: steps back may end one pause each, so they are all that may exceed three in ten minutes."""
    contest, true, offset = Contest(), NOW, 0.0
    written: list[float] = []
    steps: list[float] = []
    for gap, step in moves:
        true += gap
        offset += step
        if step:
            steps.append(true)
        if not contest.contested(true + offset):
            contest = note_rewrite(contest, true + offset)
            written.append(true)
    for last in written:
        inside = [t for t in written if last - WINDOW_S < t <= last]
        stepped = [t for t in steps if last - WINDOW_S < t <= last]
        assert len(inside) <= 3 + len(stepped)
