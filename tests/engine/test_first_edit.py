"""The first edit restarts a healthy API server, so it waits until nothing speaks against it."""

import pytest

from kauditd.core.model import Outcome, Verdict
from tests.engine.fakes import START_UNIX_S
from tests.engine.world import (
    LOG_DIRECTORY,
    MANIFEST,
    OLD,
    World,
    codes,
    flag_of,
    has_flags,
    plain,
    protected_world,
    started_world,
)


def held_by(world: World, code: str) -> None:
    """Twenty seconds of waiting, with the reason in the status and nothing written."""
    shown = world.run(20)
    assert world.manifest == plain()
    assert world.changes == ()
    assert code in codes(shown)
    assert code in {r.code for r in shown.plan.holds}
    assert shown.plan.diff.startswith("--- ")
    assert shown.verdict in {Verdict.UNPROTECTED, Verdict.UNKNOWN}


def test_healthy_node_is_enabled_and_proven_by_the_new_process() -> None:
    world = started_world()
    first = world.cycle()
    assert has_flags(world.manifest)
    assert first.verdict is Verdict.CHANGING
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes == [("enable", Outcome.PROVEN)]
    assert world.audited
    shown = world.run(6)
    assert shown.verdict is Verdict.PROTECTED
    assert shown.drift == ()
    assert world.kubelet.restarts == 1
    assert world.replaced() == 1


def test_policy_and_log_directory_are_there_before_the_manifest_names_them() -> None:
    world = started_world()
    world.cycle()
    assert world.node.written == ["publish_policy", "make_log_directory", "replace_manifest"]
    policy = flag_of(world.manifest, "audit-policy-file")
    assert policy is not None
    assert world.node.content(policy.value)
    assert LOG_DIRECTORY in world.node.directories


def test_young_kubelet_is_waited_for() -> None:
    world = started_world()
    world.kubelet.started = START_UNIX_S - 30
    held_by(world, "kubelet-young")
    world.run(11)
    assert has_flags(world.manifest)


def test_stopped_kubelet_is_waited_for() -> None:
    world = started_world()
    world.kubelet.started = None
    held_by(world, "kubelet-down")


def test_unready_api_server_is_waited_for() -> None:
    world = started_world()
    world.kubelet._ready = START_UNIX_S + 30
    held_by(world, "api-server-unhealthy")
    world.run(20)
    assert has_flags(world.manifest)


def test_node_whose_api_server_is_down_is_left_alone() -> None:
    world = started_world()
    world.kubelet.process, world.kubelet.asleep = None, True
    held_by(world, "api-server-unhealthy")


def test_kubeadm_at_work_is_waited_for() -> None:
    world = started_world()
    world.kubelet.kubeadm_pid = 4711
    held_by(world, "kubeadm-running")
    world.kubelet.kubeadm_pid = None
    world.run(6)
    assert has_flags(world.manifest)


def test_shadow_manifest_holds_the_edit_and_is_named() -> None:
    world = started_world()
    world.node.put("/etc/kubernetes/manifests/kube-apiserver.yaml.bak", plain())
    held_by(world, "shadow-manifest")
    assert any("kube-apiserver.yaml.bak" in d.text for d in world.report().drift)


def test_full_disk_of_the_log_is_waited_for() -> None:
    world = started_world()
    world.node.directories.add(LOG_DIRECTORY)
    world.node.free_bytes = 10 << 20
    held_by(world, "no-room")
    world.node.free_bytes = 10 << 30
    world.run(6)
    assert has_flags(world.manifest)


def test_read_only_log_directory_is_waited_for() -> None:
    world = started_world()
    world.node.directories.add(LOG_DIRECTORY)
    world.node.log_fault = "it is read-only"
    held_by(world, "log-directory-unwritable")


def test_machine_image_is_edited_at_once_and_stays_unproven() -> None:
    """Neither kubelet nor API server: nothing can break, and nothing can prove."""
    world = World()
    world.kubelet.started = None
    world.start()
    shown = world.cycle()
    assert has_flags(world.manifest)
    assert world.outcomes == [("enable", Outcome.UNPROVEN)]
    assert shown.verdict is Verdict.UNKNOWN
    assert world.guard.space.standing.contest.rewrites_unix_s == ()


def test_node_without_a_manifest_gets_none() -> None:
    world = started_world()
    world.node.remove(MANIFEST)
    shown = world.run(20)
    assert MANIFEST not in world.node.files
    assert "manifest-missing" in codes(shown)
    assert "replace_manifest" not in world.node.written


def test_manifest_that_cannot_be_edited_is_named_with_its_line_and_left_alone() -> None:
    world = started_world()
    broken = plain() + b"---\nkind: [\n"
    world.node.put(MANIFEST, broken)
    shown = world.run(20)
    assert world.manifest == broken
    assert "manifest-refused" in codes(shown)
    assert world.changes == ()


def test_manifest_still_being_written_is_not_replaced_by_a_first_edit() -> None:
    """Without the last line of kubeadm's form nobody can tell whether more is coming, until it rests."""
    world = started_world()
    begun = plain().removesuffix(b"status: {}\n")
    world.node.write_in_place(MANIFEST, begun)
    shown = world.cycle()
    assert world.manifest == begun
    assert "manifest-unsettled" in {r.code for r in shown.plan.holds}
    world.run(6)
    assert has_flags(world.manifest)


def test_manifest_changed_between_read_and_rename_is_not_overwritten() -> None:
    world = started_world()
    other = plain().replace(b"--allow-privileged=true", b"--allow-privileged=false")

    def interfere() -> None:
        world.node.put(MANIFEST, other)
        world.node.before_replace = lambda: None

    world.node.before_replace = interfere
    world.cycle()
    assert world.manifest == other
    assert world.outcomes == [("enable", Outcome.REFUSED)]
    assert "write-failed" not in codes(world.report())
    world.run(6)
    assert has_flags(world.manifest)
    assert b"--allow-privileged=false" in world.manifest


def test_audit_turned_on_by_hand_with_our_values_needs_no_change() -> None:
    world = protected_world()
    again = World()
    again.node.files, again.kubelet = world.node.files, world.kubelet
    again.node.directories = world.node.directories
    again.node.now = world.node.now
    again.start()
    assert again.cycle().verdict is Verdict.PROTECTED
    assert again.changes == ()


@pytest.mark.parametrize("version", ["v1.33.13", OLD])
def test_only_our_lines_are_added(version: str) -> None:
    world = started_world(version=version)
    world.cycle()
    kept = [line for line in world.manifest.splitlines() if line in plain(version).splitlines()]
    assert [line for line in plain(version).splitlines() if line in kept] == plain(version).splitlines()
    assert len(world.manifest) > len(plain(version))
