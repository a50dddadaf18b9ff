"""mode: observe reports drift and writes nothing: no file of the node, none of our own."""

import pytest

from kauditd.core.model import Verdict
from tests.engine.world import NEW, World, codes, has_flags, plain, protected_world, started_world


def silent(world: World) -> None:
    assert world.node.written == []
    assert world.memory.written == []


def test_plain_node_is_reported_and_nothing_is_written() -> None:
    world = started_world("mode: observe\n")
    world.node.put("/etc/kubernetes/manifests/.kauditd.0badcafe.1", b"left behind")
    world.crash()
    shown = world.run(60)
    world.kubeadm_moves_in(plain(NEW))
    shown = world.run(60)
    silent(world)
    assert shown.verdict is Verdict.UNPROTECTED
    assert "flag-missing" in codes(shown)
    assert "mode-observe" in codes(shown)
    assert shown.plan.diff
    assert shown.mode == "observe"


def test_protected_node_switched_to_observe_is_left_as_it_is() -> None:
    world = protected_world()
    world.settings("mode: observe\n")
    world.run(6)
    world.node.written.clear()
    world.memory.written.clear()
    world.kubeadm_moves_in(plain(NEW))
    policy = next(p for p in world.node.files if "/audit/policy-" in p)
    world.node.remove(policy)
    shown = world.run(60)
    world.crash()
    world.run(20)
    silent(world)
    assert not has_flags(world.manifest)
    assert {"flag-missing", "policy-file-missing"} <= codes(shown)


@pytest.mark.parametrize("seconds", [20])
def test_back_to_enforce_goes_on(seconds: float) -> None:
    world = started_world("mode: observe\n")
    world.run(seconds)
    world.settings("mode: enforce\n")
    world.run(6)
    assert has_flags(world.manifest)
