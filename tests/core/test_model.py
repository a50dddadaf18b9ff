"""Values that travel: flags in force, and nothing that can be changed behind one's back."""

from dataclasses import FrozenInstanceError

import pytest

from kauditd.core.model import Flag, Outcome, Severity, Verdict
from tests.core.builders import DESIRED, OURS, change, process, view


def test_flag_reads_like_a_command_line() -> None:
    assert str(Flag(name="audit-log-maxage", value="30")) == "--audit-log-maxage=30"


def test_last_of_duplicate_flags_is_in_force() -> None:
    pairs = (("a", "1"), ("b", "2"), ("a", "3"))
    assert process(1, 0.0, *pairs).flag("a") == "3"
    assert view(*pairs).flag("a") == "3"


def test_absent_flag_is_none() -> None:
    assert process().flag("a") is None
    assert view().flag("a") is None
    assert DESIRED.flag("a") is None
    assert DESIRED.flag(OURS[0][0]) == OURS[0][1]


def test_values_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        change().id = 5


def test_words_of_the_contract() -> None:
    assert {str(v) for v in Verdict} == {"protected", "changing", "degraded", "unprotected", "unknown"}
    assert {str(o) for o in Outcome} == {"open", "proven", "unproven", "rolled-back", "refused", "superseded"}
    assert {str(s) for s in Severity} == {"info", "warning", "critical"}
    assert change().outcome is Outcome.OPEN
