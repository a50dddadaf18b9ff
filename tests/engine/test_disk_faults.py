"""ENOSPC and its kin: nothing half done, the reason in the status, another attempt after a growing pause."""

import pytest

from kauditd.core.model import Outcome, Verdict
from tests.engine.fakes import no_space
from tests.engine.world import MANIFEST, NEW, World, codes, has_flags, plain, protected_world, started_world

STEPS = ["append", "save_manifest", "save_record", "replace_manifest", "publish_policy", "make_log_directory"]


def attempts(world: World, method: str) -> int:
    return sum(1 for p in world.chaos.passed if p.startswith(method))


@pytest.mark.parametrize("method", STEPS)
def test_refused_step_of_a_first_edit_writes_no_manifest_and_recovers(method: str) -> None:
    world = started_world()
    world.chaos.refused[method] = no_space("/somewhere")
    shown = world.run(30)
    assert world.manifest == plain()
    assert "write-failed" in codes(shown)
    assert "no space is left" in shown.sentence or any("no space is left" in r.text for r in shown.reasons)
    assert shown.verdict is Verdict.UNPROTECTED
    assert world.guard.space.changes.open() is None
    world.chaos.refused.clear()
    world.run_until(lambda: world.outcomes[-1:] == [("enable", Outcome.PROVEN)], limit_s=180)
    assert "write-failed" not in codes(world.run(5))


@pytest.mark.parametrize("method", ["append", "save_manifest", "save_record", "replace_manifest"])
def test_refused_step_of_a_repair_writes_no_manifest_and_recovers(method: str) -> None:
    world = protected_world()
    world.chaos.refused[method] = no_space("/somewhere")
    world.kubeadm_moves_in(plain(NEW))
    shown = world.run(20)
    assert world.manifest == plain(NEW)
    assert "write-failed" in codes(shown)
    world.chaos.refused.clear()
    world.run_until(lambda: has_flags(world.manifest), limit_s=70)
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes[-1][1] is Outcome.PROVEN
    assert "write-failed" not in codes(world.run(5))


@pytest.mark.parametrize("starts_enabled", [False, True])
def test_pauses_between_attempts_grow(starts_enabled: bool) -> None:
    world = protected_world() if starts_enabled else started_world()
    world.chaos.refused["replace_manifest"] = no_space(MANIFEST)
    if starts_enabled:
        world.kubeadm_moves_in(plain(NEW))
    counts = []
    for _ in range(3):
        before = attempts(world, "replace: begun")
        world.run(100)
        counts.append(attempts(world, "replace: begun") - before)
    assert counts[0] > counts[-1]
    assert sum(counts) <= 10
    assert counts[-1] >= 1


def test_state_that_cannot_be_saved_is_told_until_it_can() -> None:
    world = protected_world()
    world.chaos.refused["save_state"] = no_space("/var/lib/kauditd/state.json")
    world.commands.pause(10)
    assert "state-unsaved" in codes(world.run(1))
    assert world.run(30).verdict is Verdict.DEGRADED
    world.chaos.refused.clear()
    shown = world.run(10)
    assert "state-unsaved" not in codes(shown)
    assert shown.verdict is Verdict.PROTECTED


def test_full_disk_at_the_outcome_does_not_leave_the_change_open() -> None:
    world = started_world()
    world.run(3)
    world.chaos.refused["append"] = no_space("/var/lib/kauditd/journal.ndjson")
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    shown = world.run(6)
    assert world.outcomes == [("enable", Outcome.PROVEN)]
    assert "journal-behind" in codes(shown)
    assert shown.verdict is Verdict.DEGRADED
    world.chaos.refused.clear()
    assert world.run(6).verdict is Verdict.PROTECTED
    world.crash()
    assert world.outcomes == [("enable", Outcome.PROVEN)]


def test_tampered_policy_on_a_full_disk_is_told_and_mended_later() -> None:
    world = protected_world()
    policy = next(p for p in world.node.files if "/audit/policy-" in p)
    good = world.node.content(policy)
    world.node.put(policy, b"rules: []\n")
    world.chaos.refused["publish_policy"] = no_space(policy)
    shown = world.run(20)
    assert {"policy-file-tampered", "write-failed"} <= codes(shown)
    world.chaos.refused.clear()
    shown = world.run(70)
    assert world.node.content(policy) == good
    assert shown.verdict is Verdict.PROTECTED
