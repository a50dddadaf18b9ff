"""Whatever happens in whatever order: once it is quiet, audit is on and proven, and nothing was harmed on the way."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from kauditd.core.model import Outcome, Verdict
from tests.engine.fakes import Crash, no_space
from tests.engine.world import MANIFEST, NEW, OLD, World, has_flags, plain, protected_world

OTHER = plain().replace(b"--allow-privileged=true", b"--allow-privileged=false")
WHOLE = (plain(OLD), plain(NEW), OTHER)


def _refuse(method: str) -> Callable[[World], None]:
    return lambda world: world.chaos.refused.update({method: no_space("/somewhere")})


def _kill_soon(points: int) -> Callable[[World], None]:
    def arm(world: World) -> None:
        world.chaos.crash_at = len(world.chaos.passed) + points

    return arm


ACTIONS: dict[str, Callable[[World], object]] = {
    "kubeadm brings the old version": lambda w: w.kubeadm_moves_in(plain(OLD)),
    "kubeadm brings the new version": lambda w: w.kubeadm_moves_in(plain(NEW)),
    "somebody edits": lambda w: w.node.write_in_place(MANIFEST, OTHER),
    "staging begins": lambda w: setattr(w.node, "staging", True),
    "staging ends": lambda w: setattr(w.node, "staging", False),
    "kubeadm runs": lambda w: setattr(w.kubelet, "kubeadm_pid", 4711),
    "kubeadm ends": lambda w: setattr(w.kubelet, "kubeadm_pid", None),
    "the kubelet restarts": lambda w: setattr(w.kubelet, "started", w.node.now),
    "other settings": lambda w: w.settings("policy:\n  profile: metadata\n"),
    "settings as before": lambda w: w.settings("target:\n  kubelet_stable_s: 60\n"),
    "broken settings": lambda w: w.settings("mode: enforced\n"),
    "a pause": lambda w: w.commands.pause(20),
    "the daemon is killed": lambda w: w.crash(),
    "the daemon is about to be killed": _kill_soon(3),
    "the journal is full": _refuse("append"),
    "the directory is full": _refuse("replace_manifest"),
    "the state is full": _refuse("save_state"),
    "there is room again": lambda w: w.chaos.refused.clear(),
}


def _step(world: World, seconds: float) -> None:
    try:
        world.run(seconds)
    except Crash:
        world.crash()


@settings(max_examples=15)
@given(st.lists(st.tuples(st.sampled_from(sorted(ACTIONS)), st.sampled_from([0.5, 2, 8, 40])), max_size=8))
def test_quiet_after_any_story_is_protected(story: list[tuple[str, float]]) -> None:
    world = protected_world()
    writes: list[float] = []
    for name, seconds in story:
        try:
            ACTIONS[name](world)
        except Crash:
            world.crash()
        before = world.replaced()
        _step(world, seconds)
        writes += [world.node.now] * (world.replaced() - before)
        content = world.manifest
        assert content in WHOLE or has_flags(content), "a manifest is somebody's whole one or ours"
        assert content.endswith(b"status: {}\n")
    kills = sum("killed" in name for name, _ in story)  # each may forget the write that was not yet noted
    for first in writes:
        assert len([t for t in writes if first <= t < first + 600]) <= 3 + kills

    world.chaos.refused.clear()
    world.chaos.crash_at = None
    world.node.staging, world.kubelet.kubeadm_pid = False, None
    world.settings("target:\n  kubelet_stable_s: 60\n")
    world.run(4000, step=2)
    world.run_until(lambda: world.guard.space.changes.open() is None, limit_s=400)
    shown = world.run(10)
    assert has_flags(world.manifest)
    assert shown.verdict is Verdict.PROTECTED, shown.sentence
    assert world.audited
    assert all(c.outcome is not Outcome.OPEN for c in world.changes)
    world.commands.disable()
    assert world.manifest in WHOLE
