"""A rival that keeps reverting us is not fought for ever, and never at the cost of more restarts than promised (P7)."""

from kauditd.core.model import Outcome, Verdict
from tests.engine.world import World, codes, has_flags, plain, protected_world, started_world

OTHERS = tuple(plain().replace(b"--allow-privileged=true", f"--v={n}".encode()) for n in range(6))


def revert(world: World, number: int) -> None:
    world.kubeadm_moves_in(OTHERS[number % len(OTHERS)])


def test_rival_that_reverts_every_two_seconds_costs_three_writes_in_ten_minutes() -> None:
    world = protected_world()
    world.run(700)
    began = world.node.now
    writes: list[float] = []
    count = world.replaced()
    for number in range(900):
        revert(world, number)
        world.run(2, step=1)
        if world.replaced() > count:
            writes += [world.node.now] * (world.replaced() - count)
            count = world.replaced()
    for first in writes:
        assert len([t for t in writes if first <= t < first + 600]) <= 3
    assert writes[0] <= began + 2
    shown = world.report()
    assert shown.contested
    assert "contested" in codes(shown)
    assert shown.verdict is not Verdict.PROTECTED


def test_back_off_grows_and_ends_with_a_repair_once_the_rival_is_gone() -> None:
    world = protected_world()
    for number in range(3):
        revert(world, number)
        world.run(2)
    world.run(30)
    assert world.report().contested
    revert(world, 3)
    world.run(30)
    assert not has_flags(world.manifest)
    world.run_until(lambda: has_flags(world.manifest), limit_s=700)
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes[-1] == ("repair", Outcome.PROVEN)
    assert world.run(6).verdict is Verdict.PROTECTED


def test_contest_survives_a_restart() -> None:
    world = protected_world()
    for number in range(3):
        revert(world, number)
        world.run(2)
    revert(world, 3)
    world.run(10)
    world.crash()
    shown = world.run(20)
    assert shown.contested
    assert not has_flags(world.manifest)


def test_apply_ends_the_back_off() -> None:
    world = protected_world()
    for number in range(3):
        revert(world, number)
        world.run(2)
    revert(world, 3)
    world.run(90)
    assert not has_flags(world.manifest)
    world.commands.apply()
    assert has_flags(world.manifest)


def test_rewrites_where_nothing_runs_do_not_count() -> None:
    """On a machine image no API server can be restarted."""
    world = started_world()
    world.kubelet.started, world.kubelet.process = None, None
    world.run(6)
    for number in range(6):
        revert(world, number)
        world.run(6)
        assert has_flags(world.manifest)
    assert not world.report().contested


def test_deleted_policy_is_published_again_even_during_a_contest() -> None:
    """An API server that starts now would end at once without it."""
    world = protected_world()
    for number in range(2):
        revert(world, number)
        world.run(2)
    world.run(20)
    assert world.report().contested
    policy = next(p for p in world.node.files if "/audit/policy-" in p)
    world.node.remove(policy)
    world.run(6)
    assert policy in world.node.files
