"""What an operator asks for: apply, rollback, disable, pause, resume; with refusals that say why."""

import pytest

from kauditd.core.manifest import pod_digest
from kauditd.core.model import Outcome, Verdict
from kauditd.errors import FileFault, Refused
from tests.engine.fakes import START_UNIX_S, no_space
from tests.engine.world import MANIFEST, NEW, World, codes, has_flags, plain, protected_world, started_world


@pytest.fixture
def world() -> World:
    return protected_world()


def proven(world: World) -> None:
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=90)
    assert world.changes[-1].outcome is Outcome.PROVEN, world.changes[-1].reason


def test_disable_gives_the_original_bytes_and_proves_the_server_healthy(world: World) -> None:
    change = world.commands.disable()
    assert change is not None
    assert change.cause == "disable"
    assert world.manifest == plain()
    proven(world)
    assert not world.audited
    shown = world.run(30)
    assert world.manifest == plain()
    assert shown.disabled
    assert shown.verdict is Verdict.UNPROTECTED
    assert "disabled" in codes(shown)


def test_disable_holds_over_a_restart_and_an_upgrade(world: World) -> None:
    world.commands.disable()
    proven(world)
    world.crash()
    world.kubeadm_moves_in(plain(NEW))
    world.run(60)
    assert world.manifest == plain(NEW)


def test_disable_after_an_upgrade_gives_the_upgraded_manifest(world: World) -> None:
    world.kubeadm_moves_in(plain(NEW))
    world.run_until(lambda: world.outcomes[-1] == ("repair", Outcome.PROVEN), limit_s=90)
    world.commands.disable()
    assert world.manifest == plain(NEW)


def test_disable_after_a_repair_with_a_nonce_gives_the_plain_manifest(world: World) -> None:
    for _ in range(2):
        world.node.staging = True
        world.kubeadm_moves_in(plain())
        world.run(700)
        world.node.staging = False
        world.kubeadm_moves_in(plain())
        world.run(700)
    world.node.staging = True
    world.kubeadm_moves_in(plain())
    world.guard.repair_now()
    assert b"kauditd.io/nonce" in world.manifest
    world.kubeadm_moves_in(world.manifest.replace(b"--allow-privileged=true", b"--allow-privileged=false"))
    world.commands.disable()
    assert world.manifest == plain().replace(b"--allow-privileged=true", b"--allow-privileged=false")


def test_disable_after_policy_changes_gives_the_original(world: World) -> None:
    for profile in ("metadata", "stig"):
        world.settings(f"policy:\n  profile: {profile}\n")
        world.run_until(lambda: world.changes[-1].outcome is Outcome.OPEN, limit_s=700)
        proven(world)
    world.commands.disable()
    assert world.manifest == plain()


def test_disable_with_the_journal_and_all_copies_lost(world: World) -> None:
    world.memory.journal.clear()
    world.memory.manifests.clear()
    world.memory.records.clear()
    world.memory.state = {}
    world.crash()
    world.cycle()
    world.commands.disable()
    assert str(pod_digest(world.manifest)) == str(pod_digest(plain()))


def test_disable_where_nothing_of_ours_is_there_only_remembers_it() -> None:
    world = started_world()
    world.kubelet.started = START_UNIX_S - 5
    world.cycle()
    assert world.commands.disable() is None
    world.kubelet.started = START_UNIX_S - 500
    world.run(20)
    assert world.manifest == plain()


def test_disable_on_a_full_disk_changes_nothing_and_says_so(world: World) -> None:
    ours = world.manifest
    world.chaos.refused["replace_manifest"] = no_space(MANIFEST)
    with pytest.raises(FileFault, match="no space is left"):
        world.commands.disable()
    assert world.manifest == ours
    assert world.guard.space.changes.open() is None
    world.chaos.refused.clear()
    world.commands.disable()
    assert world.manifest == plain()


def test_disable_does_not_wait_for_an_open_gate() -> None:
    world = started_world()
    world.cycle()
    assert world.report().verdict is Verdict.CHANGING
    world.commands.disable()
    assert world.manifest == plain()
    assert world.outcomes[0] == ("enable", Outcome.SUPERSEDED)
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=400)
    world.run(30)
    assert world.manifest == plain()


def test_apply_ends_a_disable(world: World) -> None:
    world.commands.disable()
    proven(world)
    world.run(5)
    change = world.commands.apply()
    assert change is not None
    assert change.cause == "apply"
    proven(world)
    assert world.run(6).verdict is Verdict.PROTECTED


def test_apply_where_nothing_differs_changes_nothing(world: World) -> None:
    assert world.commands.apply() is None
    assert world.replaced() == 0


def test_apply_with_a_hold_is_refused_with_its_reason() -> None:
    world = started_world()
    world.kubelet.started = START_UNIX_S - 10
    world.cycle()
    with pytest.raises(Refused, match=r"^cannot apply: the kubelet is 10 s old") as caught:
        world.commands.apply()
    assert caught.value.hint
    assert world.manifest == plain()


def test_apply_in_observe_mode_is_refused() -> None:
    world = started_world("mode: observe\n")
    world.cycle()
    with pytest.raises(Refused, match="mode: observe") as caught:
        world.commands.apply()
    assert caught.value.hint == "set mode: enforce"


def test_apply_without_a_manifest_is_refused() -> None:
    world = started_world()
    world.node.remove(MANIFEST)
    world.cycle()
    with pytest.raises(Refused, match=r"^cannot apply: no manifest to edit"):
        world.commands.apply()


def test_apply_of_a_manifest_that_cannot_be_edited_names_it() -> None:
    world = started_world()
    world.node.put(MANIFEST, b"kind: Pod\nspec: [\n")
    world.cycle()
    with pytest.raises(Refused, match=r"^cannot apply: /etc/kubernetes/manifests/kube-apiserver.yaml: "):
        world.commands.apply()


def test_apply_on_a_full_disk_is_refused_with_the_cause() -> None:
    world = started_world()
    world.kubelet.started = START_UNIX_S - 10
    world.cycle()
    world.kubelet.started = START_UNIX_S - 3600
    world.guard.assess(world.guard.space.surroundings)
    world.settings("target:\n  kubelet_stable_s: 5\n")
    world.guard.reload()
    world.chaos.refused["replace_manifest"] = no_space(MANIFEST)
    with pytest.raises(Refused, match="no space is left"):
        world.commands.apply()
    assert world.manifest == plain()


def test_apply_that_loses_a_race_says_so() -> None:
    world = started_world("target:\n  kubelet_stable_s: 0\n")
    world.commands.pause(None)
    world.cycle()
    world.node.before_replace = lambda: world.node.put(MANIFEST, plain(NEW)) and None
    with pytest.raises(Refused, match="at the same moment"):
        world.commands.apply()
    assert world.manifest == plain(NEW)


def test_rollback_writes_what_was_live_before_and_holds(world: World) -> None:
    ours = world.manifest
    world.settings("policy:\n  profile: metadata\n")
    world.run_until(lambda: world.manifest != ours, limit_s=10)
    proven(world)
    change = world.commands.rollback()
    assert change is not None
    assert world.manifest == ours
    proven(world)
    shown = world.run(60)
    assert world.manifest == ours
    assert shown.paused_until_unix_s is not None
    world.crash()
    world.run(60)
    assert world.manifest == ours
    world.commands.resume()
    world.run(700)
    assert world.manifest != ours


def test_rollback_without_any_change_does_nothing() -> None:
    world = started_world("mode: enforce\ntarget:\n  kubelet_stable_s: 3600\n")
    world.kubelet.started = START_UNIX_S - 5
    world.cycle()
    assert world.commands.rollback() is None
    assert world.report().paused_until_unix_s is None


def test_rollback_to_a_manifest_that_is_no_longer_kept_is_refused(world: World) -> None:
    world.memory.manifests.clear()
    with pytest.raises(Refused, match="no longer kept") as caught:
        world.commands.rollback()
    assert "disable" in caught.value.hint
    assert world.report().paused_until_unix_s is None


@pytest.mark.parametrize("verb", ["disable", "rollback"])
def test_way_out_in_observe_mode_is_refused(verb: str) -> None:
    world = started_world("mode: observe\n")
    world.cycle()
    with pytest.raises(Refused, match=f"^cannot {verb}: settings say mode: observe"):
        getattr(world.commands, verb)()


@pytest.mark.parametrize("verb", ["disable", "rollback"])
def test_way_out_without_a_manifest_is_refused(verb: str, world: World) -> None:
    world.node.remove(MANIFEST)
    with pytest.raises(Refused, match=f"^cannot {verb}: the manifest cannot be read"):
        getattr(world.commands, verb)()


def test_pause_ends_by_itself(world: World) -> None:
    world.commands.pause(30)
    world.kubeadm_moves_in(plain(NEW))
    shown = world.run(25)
    assert not has_flags(world.manifest)
    assert "paused" in codes(shown)
    world.run(10)
    assert has_flags(world.manifest)


def test_pause_survives_a_restart_and_resume_ends_it(world: World) -> None:
    world.commands.pause(None)
    world.crash()
    world.kubeadm_moves_in(plain(NEW))
    world.run(20)
    assert not has_flags(world.manifest)
    world.commands.resume()
    world.run_until(lambda: has_flags(world.manifest), limit_s=60)


def test_pause_does_not_stop_the_way_back_of_a_change_that_fails() -> None:
    """The API server comes first: a pause asks for nothing new, not for leaving it broken."""
    world = started_world()
    world.kubelet.fate = lambda c: "crashes" if has_flags(c) else "runs"
    world.cycle()
    world.commands.pause(None)
    world.run_until(lambda: world.changes[0].outcome is not Outcome.OPEN, limit_s=90)
    assert world.changes[0].outcome is Outcome.ROLLED_BACK
    assert world.manifest == plain()
