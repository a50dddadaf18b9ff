"""Somebody puts another manifest in the place of ours: kubeadm, a careless tool, a rival."""

from dataclasses import replace

import pytest

from kauditd.core.manifest import Prepared, pod_digest
from kauditd.core.model import NONCE_ANNOTATION, Edited, Outcome, Verdict
from kauditd.engine import editing
from tests.engine.conftest import REAL_FRESH_NONCE
from tests.engine.world import MANIFEST, NEW, World, codes, has_flags, plain, protected_world


@pytest.fixture
def world() -> World:
    return protected_world()


def test_kubeadm_upgrade_is_repaired_at_the_event_and_costs_one_restart(world: World) -> None:
    before = world.kubelet.restarts
    world.kubelet.kubeadm_pid, world.node.staging = 4711, True
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    assert has_flags(world.manifest)
    assert NONCE_ANNOTATION.encode() not in world.manifest, "the image differs, so the Pod does"
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes[-1] == ("repair", Outcome.PROVEN)
    assert world.kubelet.restarts == before + 1
    assert world.report().verdict is Verdict.PROTECTED
    assert world.audited


def test_repair_of_the_next_version_parses_no_yaml(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.kubeadm_moves_in(plain().replace(b":v1.36.3", b":v1.36.4"))

    def parse(*_arguments: object) -> None:
        raise AssertionError("parsed on the hot path")

    for name in ("edit", "read", "pod_digest"):
        monkeypatch.setattr(f"kauditd.engine.editing.{name}", parse)
    world.guard.repair_now()
    monkeypatch.undo()
    assert has_flags(world.manifest)
    assert world.guard.space.counters["quick_repairs_total"] == 1


def test_quick_repair_is_held_against_the_full_parser_in_the_next_cycle(world: World) -> None:
    world.kubeadm_moves_in(plain().replace(b":v1.36.3", b":v1.36.4"))
    world.guard.repair_now()
    world.cycle()
    assert world.guard.space.counters["quick_repairs_total"] == 1
    assert "quick_repairs_wrong_total" not in world.guard.space.counters


def test_quick_repair_that_the_full_parser_disowns_is_counted_and_not_repeated(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Prepared.apply

    def astray(self: Prepared, content: bytes) -> Edited | None:
        done = apply(self, content)
        return done and replace(done, text=done.text.replace(b"--allow-privileged=true", b"--allow-privileged=false"))

    monkeypatch.setattr(Prepared, "apply", astray)
    world.kubeadm_moves_in(plain().replace(b":v1.36.3", b":v1.36.4"))
    world.guard.repair_now()
    world.cycle()
    assert world.guard.space.counters["quick_repairs_wrong_total"] == 1
    world.kubeadm_moves_in(plain().replace(b":v1.36.3", b":v1.36.5"))
    world.guard.repair_now()
    assert b"--allow-privileged=true" in world.manifest


def test_lost_event_costs_one_resync(world: World) -> None:
    world.kubeadm_moves_in(plain(NEW))
    world.run(5, events=False)
    assert has_flags(world.manifest)
    assert world.guard.space.counters["resync_found_drift_total"] == 1


def test_byte_identical_plain_manifest_moved_in_twice_is_repaired_twice(world: World) -> None:
    for number in (1, 2):
        world.kubeadm_moves_in(plain())
        world.guard.repair_now()
        assert has_flags(world.manifest)
        assert world.guard.space.counters["repairs_total"] == number


def test_our_own_bytes_moved_in_by_somebody_else_need_no_write(world: World) -> None:
    ours = world.manifest
    world.kubeadm_moves_in(ours)
    world.run(6)
    assert world.manifest == ours
    assert world.replaced() == 0


def test_kubeadm_that_brings_the_same_pod_gets_another_hash(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """kubeadm waits five minutes for a hash that never changes; the nonce changes it."""
    monkeypatch.setattr(editing, "_fresh_nonce", REAL_FRESH_NONCE)
    before = str(pod_digest(world.manifest))
    nonces = set()
    for _ in range(2):
        world.node.staging = True
        world.kubeadm_moves_in(plain())
        world.guard.repair_now()
        assert NONCE_ANNOTATION.encode() in world.manifest
        nonces.add(str(pod_digest(world.manifest)))
        world.node.staging = False
        world.run(700)
        world.kubeadm_moves_in(plain())
        world.guard.repair_now()
        assert NONCE_ANNOTATION.encode() not in world.manifest
        world.run(700)
    assert len(nonces) == 2
    assert before not in nonces


def test_plain_manifest_without_kubeadm_gets_no_nonce(world: World) -> None:
    world.kubeadm_moves_in(plain())
    world.guard.repair_now()
    assert NONCE_ANNOTATION.encode() not in world.manifest


def test_kubeadm_rollback_that_brings_our_flags_is_accepted(world: World) -> None:
    backup = world.manifest
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    world.run(3)
    world.kubeadm_moves_in(backup)
    world.run(40)
    assert world.manifest == backup
    assert world.outcomes[-1] == ("repair", Outcome.SUPERSEDED)
    assert world.run(20).verdict is Verdict.PROTECTED


def test_overwritten_while_a_change_is_inside_its_gate(world: World) -> None:
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    world.run(3)
    world.kubeadm_moves_in(plain().replace(b"--allow-privileged=true", b"--allow-privileged=false"))
    world.guard.repair_now()
    assert [o for _, o in world.outcomes[-2:]] == [Outcome.SUPERSEDED, Outcome.OPEN]
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=90)
    assert world.changes[-1].outcome is Outcome.PROVEN
    assert b"--allow-privileged=false" in world.manifest


def test_overwritten_right_after_a_restart_of_the_daemon(world: World) -> None:
    world.crash()
    world.cycle()
    world.kubelet.kubeadm_pid = 4711
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    assert has_flags(world.manifest)


def test_manifest_missing_between_two_renames_is_never_created(world: World) -> None:
    world.node.remove(MANIFEST)
    for _ in range(3):
        assert world.guard.repair_now() is None
        world.cycle()
        assert MANIFEST not in world.node.files
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    assert has_flags(world.manifest)


@pytest.mark.parametrize("cut", [0, 1, 40, 800, -20])
def test_half_written_file_is_waited_for_and_never_replaced(world: World, cut: int) -> None:
    half = plain(NEW)[:cut]
    world.node.write_in_place(MANIFEST, half)
    again_s = world.guard.repair_now()
    world.cycle()
    assert world.manifest == half
    assert again_s is None or again_s <= 0.2
    world.node.write_in_place(MANIFEST, plain(NEW))
    world.guard.repair_now()
    assert has_flags(world.manifest)


def test_whole_but_unfinished_looking_file_is_waited_for_by_the_cycle_too(world: World) -> None:
    """It parses, but it does not end as kubeadm ends it, and it was written this instant."""
    begun = plain().removesuffix(b"status: {}\n")
    world.node.write_in_place(MANIFEST, begun)
    assert world.guard.repair_now() is not None
    world.cycle()
    assert world.manifest == begun
    world.node.now += 0.2
    world.guard.repair_now()
    assert has_flags(world.manifest)


def test_write_in_place_by_another_tool_is_repaired_with_its_lines_kept(world: World) -> None:
    foreign = plain().replace(b"--allow-privileged=true", b"--allow-privileged=false")
    world.node.write_in_place(MANIFEST, foreign)
    world.guard.repair_now()
    assert has_flags(world.manifest)
    assert b"--allow-privileged=false" in world.manifest


def test_two_writers_at_the_same_moment_lose_nothing(world: World) -> None:
    """The file changes between our read and our rename: nothing of ours is written over it."""
    latest = plain(NEW)

    def interfere() -> None:
        world.node.put(MANIFEST, latest)
        world.node.before_replace = lambda: None

    world.node.before_replace = interfere
    world.kubeadm_moves_in(plain())
    world.guard.repair_now()
    assert world.manifest == latest
    assert world.guard.space.counters.get("repairs_total", 0) == 0
    world.guard.repair_now()
    assert has_flags(world.manifest)
    assert b":v1.37.2" in world.manifest
    assert "write-failed" not in codes(world.report())


def test_overwrite_seen_by_the_cycle_alone_is_a_repair_with_its_nonce(world: World) -> None:
    """The overwrite falls between the repair and the look of one cycle."""
    look = world.guard.look

    def overwritten_first() -> object:
        world.guard.look = look
        world.node.staging = True
        world.kubeadm_moves_in(plain())
        return look()

    world.guard.look = overwritten_first
    world.cycle()
    assert world.changes[-1].cause == "repair"
    assert NONCE_ANNOTATION.encode() in world.manifest


def test_missing_policy_is_published_before_the_flags_go_back(world: World) -> None:
    policy = next(p for p in world.node.files if "/audit/policy-" in p)
    world.node.remove(policy)
    world.kubeadm_moves_in(plain(NEW))
    world.guard.repair_now()
    assert world.node.written == ["publish_policy", "replace_manifest"]


def test_overwrite_during_a_pause_waits_for_all_preconditions_afterwards(world: World) -> None:
    """Half an hour later the write would be a restart of its own, and kubeadm may be at work again."""
    world.commands.pause(1800)
    world.kubeadm_moves_in(plain(NEW))
    world.run(1790)
    assert not has_flags(world.manifest)
    world.kubelet.kubeadm_pid = 4711
    shown = world.run(30)
    assert not has_flags(world.manifest)
    assert "kubeadm-running" in codes(shown)
    world.kubelet.kubeadm_pid = None
    world.run(6)
    assert has_flags(world.manifest)
    assert world.changes[-1].cause == "repair"
