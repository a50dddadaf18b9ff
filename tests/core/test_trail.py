"""Of which process a round of proof speaks, and what a look calls proven."""

import pytest

from kauditd.core.trail import TrailState
from tests.core.builders import NOW, audited, observed, trail


@pytest.mark.parametrize(
    ("pid", "moved_s", "same"),
    [(100, 0.0, True), (100, 1.9, True), (100, -1.9, True), (100, 2.1, False), (100, -60.0, False), (101, 0.0, False)],
)
def test_round_speaks_of_one_process_only(pid: int, moved_s: float, *, same: bool) -> None:
    """A start is told relative to the boot time, which moves a little; a pid that is used again starts later."""
    round_ = trail(audited(100, NOW - 60))
    assert round_.speaks_of(audited(pid, NOW - 60 + moved_s)) is same


@pytest.mark.parametrize("state", TrailState)
def test_only_a_seen_event_of_the_serving_process_is_proven(state: TrailState) -> None:
    server, other = audited(100), audited(200, NOW - 5)
    assert observed(processes=(server,), trail=trail(server, state)).proven is (state is TrailState.PROVEN)
    assert not observed(processes=(server,), trail=trail(other, state)).proven
    assert not observed(processes=(server, other), trail=trail(other, state)).proven, "the older one still serves"
    assert not observed(processes=(), trail=trail(server, state)).proven


def test_flags_and_readiness_alone_are_not_proven() -> None:
    assert not observed(trail=None).proven
