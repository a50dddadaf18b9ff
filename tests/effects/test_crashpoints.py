"""The switch that kills at a named point."""

import os
import signal

import pytest

from kauditd.effects.crashpoints import VARIABLE, crash_point_hook
from kauditd.errors import Refused


class Killed(Exception):
    """Stands in for the end of the process."""


@pytest.fixture(autouse=True)
def _no_real_kill(monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (os.getpid(), signal.SIGKILL)
        raise Killed

    monkeypatch.setattr(os, "kill", kill)


@pytest.mark.parametrize("environ", [{}, {VARIABLE: ""}, {VARIABLE: "elsewhere"}, {VARIABLE: "a"}, {VARIABLE: "a.b:3"}])
def test_other_points_are_passed(environ: dict[str, str]) -> None:
    at = crash_point_hook(environ)
    at("a.b")
    at("a.b")


def test_the_named_point_kills() -> None:
    with pytest.raises(Killed):
        crash_point_hook({VARIABLE: "a.b"})("a.b")


def test_the_count_says_which_pass_kills() -> None:
    at = crash_point_hook({VARIABLE: "a.b:3"})
    at("a.b")
    at("a.c")
    at("a.b")
    with pytest.raises(Killed):
        at("a.b")


@pytest.mark.parametrize("count", ["0", "-1", "x", "1.5", "²"])
def test_a_count_that_is_none_is_refused(count: str) -> None:
    with pytest.raises(Refused, match=VARIABLE):
        crash_point_hook({VARIABLE: f"a.b:{count}"})
