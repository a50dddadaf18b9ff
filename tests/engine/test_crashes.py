"""The process is killed after each step: the next start ends in the old state or the new one and says which."""

from collections.abc import Callable

import pytest

from kauditd.core.model import Outcome, Verdict
from tests.engine.fakes import Crash
from tests.engine.world import MANIFEST, NEW, World, has_flags, plain, protected_world, started_world

CALM_S = 420.0


def crash_points(make: Callable[[], World], act: Callable[[World], None]) -> int:
    """How many points an undisturbed run passes."""
    world = make()
    before = len(world.chaos.passed)
    act(world)
    return len(world.chaos.passed) - before


def killed_at(make: Callable[[], World], act: Callable[[World], None], number: int) -> World:
    """A world whose guard was killed at the ``number``-th point of ``act`` and started again."""
    world = make()
    world.chaos.crash_at = len(world.chaos.passed) + number
    with pytest.raises(Crash):
        act(world)
    world.crash()
    return world


def crash_on(world: World, point: str, *, time: int = 1) -> None:
    """Run until the guard is killed at ``point``, passed for the ``time``-th time; nothing is started again yet."""
    world.chaos.crash_on = (point, time)
    with pytest.raises(Crash):
        world.run(60)


def settle(world: World) -> None:
    """Until no change is open, and a little longer."""
    world.run_until(lambda: world.guard.space.changes.open() is None, limit_s=CALM_S)
    world.run(6)
    world.run_until(lambda: world.guard.space.changes.open() is None, limit_s=CALM_S)
    world.run(6)


def _enable(world: World) -> None:
    world.run(30)


def _repair(world: World) -> None:
    world.kubeadm_moves_in(plain(NEW))
    world.run(30)


def _fail(world: World) -> None:
    world.kubelet.fate = lambda c: "crashes" if has_flags(c) else "runs"
    world.run(60)


def _disable(world: World) -> None:
    world.commands.disable()
    world.run(30)


def test_killed_at_any_point_of_a_first_edit() -> None:
    total = crash_points(started_world, _enable)
    assert total > 15
    for number in range(1, total + 1):
        world = killed_at(started_world, _enable, number)
        assert world.manifest == plain() or has_flags(world.manifest)
        settle(world)
        assert has_flags(world.manifest), number
        assert world.report().verdict is Verdict.PROTECTED, number
        assert [o for o in world.outcomes if o[1] is Outcome.PROVEN], number
        assert world.kubelet.restarts == 1, number


def test_killed_at_any_point_of_a_repair() -> None:
    total = crash_points(protected_world, _repair)
    for number in range(1, total + 1):
        world = killed_at(protected_world, _repair, number)
        settle(world)
        assert has_flags(world.manifest), number
        assert b":v1.37.2" in world.manifest
        assert world.report().verdict is Verdict.PROTECTED, number


def test_killed_at_any_point_of_a_way_back() -> None:
    """Wherever it happens, the plain manifest is live in the end and the bad target is not tried a second time."""
    total = crash_points(started_world, _fail)
    for number in range(1, total + 1):
        world = killed_at(started_world, _fail, number)
        settle(world)
        assert world.manifest == plain(), (number, world.outcomes)
        assert world.outcomes[-1][1] is Outcome.ROLLED_BACK, number
        tried = [c for c in world.changes if c.outcome is not Outcome.REFUSED]
        assert len(tried) == 1, (number, world.outcomes)


def test_way_back_begun_before_the_crash_goes_on_at_once() -> None:
    """It does not wait for another gate while the API server is down."""
    world = started_world()
    world.kubelet.fate = lambda c: "crashes" if has_flags(c) else "runs"
    crash_on(world, "replace: before the rename", time=2)
    world.crash()
    assert has_flags(world.manifest)
    world.run(1)
    assert world.manifest == plain()


def test_killed_at_any_point_of_disable_stays_disabled() -> None:
    total = crash_points(protected_world, _disable)
    for number in range(1, total + 1):
        world = killed_at(protected_world, _disable, number)
        settle(world)
        was_saved = number > 1  # the first point is the beginning of that save
        assert world.guard.space.standing.disabled is was_saved, number
        world.kubeadm_moves_in(plain(NEW))
        world.run(10)
        assert has_flags(world.manifest) is not was_saved, number


def test_killed_between_intent_and_rename_says_that_nothing_was_written() -> None:
    world = started_world()
    crash_on(world, "replace: before the rename")
    world.crash()
    assert world.outcomes == [("enable", Outcome.REFUSED)]
    assert "before the manifest was written" in world.changes[0].reason
    assert world.manifest == plain()


def test_killed_after_the_rename_goes_on_at_the_gate() -> None:
    world = started_world()
    crash_on(world, "replace: renamed")
    world.crash()
    assert world.report().verdict is Verdict.CHANGING
    settle(world)
    assert world.outcomes == [("enable", Outcome.PROVEN)]


def test_killed_after_the_rename_and_overwritten_meanwhile_is_superseded() -> None:
    world = started_world()
    crash_on(world, "replace: renamed")
    world.kubeadm_moves_in(plain(NEW))
    world.crash()
    assert world.outcomes == [("enable", Outcome.SUPERSEDED)]


def test_policy_edited_while_down_inside_a_gate_is_not_held_against_the_change() -> None:
    """What runs has the policy that was written; the new one is a change of its own."""
    world = started_world()
    crash_on(world, "replace: renamed")
    world.settings("policy:\n  profile: metadata\n")
    world.crash()
    settle(world)
    assert [o for _, o in world.outcomes] == [Outcome.PROVEN, Outcome.PROVEN]
    assert world.guard.space.standing.bad_targets == {}
    assert world.report().verdict is Verdict.PROTECTED


def test_manifest_unreadable_at_the_start_keeps_the_change_open() -> None:
    world = started_world()
    crash_on(world, "replace: renamed")
    world.node.unreadable[MANIFEST] = "input/output error (EIO)"
    world.crash()
    world.run(5)
    assert world.outcomes == [("enable", Outcome.OPEN)]
    world.node.unreadable.clear()
    settle(world)
    assert world.outcomes == [("enable", Outcome.PROVEN)]
