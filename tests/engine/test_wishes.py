"""Settings and policy change, break, move and vanish; the last good ones stay in force (law 5)."""

import pytest

from kauditd.core.layout import SETTINGS_FILE
from kauditd.core.model import Outcome, Verdict
from tests.engine.world import MANIFEST, World, codes, flag_of, has_flags, plain, protected_world, started_world

SOURCE = "/etc/kubernetes/audit-policy.yaml"
FIRST = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
SECOND = FIRST + b"  omitStages: [RequestReceived]\n"
BROKEN = b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Everything\n"
STABLE = "target:\n  kubelet_stable_s: 60\n"
OWN_POLICY = STABLE + f"policy:\n  file: {SOURCE}\n"


@pytest.fixture
def own_policy() -> World:
    """Protected with a policy of the operator's own."""
    world = protected_world()
    world.node.put(SOURCE, FIRST)
    world.settings(OWN_POLICY)
    world.run_until(lambda: world.outcomes[-1] == ("change", Outcome.PROVEN), limit_s=90)
    world.run(6)
    world.node.written.clear()
    return world


def named_policy(world: World) -> str:
    flag = flag_of(world.manifest, "audit-policy-file")
    assert flag is not None
    return flag.value


def test_broken_settings_at_the_first_start_write_nothing() -> None:
    world = started_world("mode: enforced\n")
    shown = world.run(30)
    assert world.manifest == plain()
    assert world.node.written == []
    assert world.memory.written == []
    assert shown.verdict is Verdict.UNPROTECTED
    assert any(f"{SETTINGS_FILE}:1:7" in p for p in shown.settings.problems), shown.settings.problems


def test_broken_settings_beside_an_earlier_good_run_keep_it_over_any_number_of_restarts() -> None:
    world = protected_world(STABLE + "log:\n  max_backups: 12\n")
    world.settings("log:\n  max_backups: many\n")
    for _ in range(3):
        world.crash()
        shown = world.run(10)
        assert shown.verdict is Verdict.DEGRADED
        assert "settings-invalid" in codes(shown)
        assert any(f"{SETTINGS_FILE}:2:16" in p for p in shown.settings.problems)
        flag = flag_of(world.manifest, "audit-log-maxbackup")
        assert flag is not None
        assert flag.value == "12"
    world.kubeadm_moves_in(plain())
    world.run(1)
    assert flag_of(world.manifest, "audit-log-maxbackup") == flag


def test_settings_broken_while_running_degrade_and_mended_ones_end_it() -> None:
    world = protected_world()
    ours = world.manifest
    world.settings("target:\n  kubelet_stable: 60\n")
    shown = world.run(6)
    assert shown.verdict is Verdict.DEGRADED
    assert "kubelet_stable" in shown.sentence
    assert world.manifest == ours
    world.settings(STABLE)
    assert world.run(6).verdict is Verdict.PROTECTED


def test_settings_file_moved_away_by_an_editor_does_not_mean_the_defaults() -> None:
    """mode: observe must not become the default, enforce, for the instant in which there is no file."""
    world = started_world("mode: observe\n")
    world.run(6)
    world.node.remove(SETTINGS_FILE)
    shown = world.run(20)
    assert world.node.written == []
    assert shown.mode == "observe"
    assert "settings-invalid" in codes(shown)
    world.settings("mode: observe\n")
    assert "settings-invalid" not in codes(world.run(6))


def test_node_without_a_settings_file_has_the_defaults() -> None:
    world = World()
    world.node.remove(SETTINGS_FILE)
    world.kubelet.boot()
    world.start()
    world.run(3)
    assert has_flags(world.manifest)


def test_settings_that_cannot_be_read_keep_the_last_good_ones() -> None:
    from tests.engine.fakes import no_space

    world = protected_world()
    world.chaos.refused[f"read_file {SETTINGS_FILE}"] = no_space(SETTINGS_FILE)
    world.settings("mode: observe\n")
    shown = world.run(6)
    assert shown.mode == "enforce"
    assert shown.verdict is Verdict.DEGRADED


def test_changed_policy_becomes_a_new_file_and_a_planned_edit_and_the_old_file_stays(own_policy: World) -> None:
    world, before = own_policy, named_policy(own_policy)
    world.node.put(SOURCE, SECOND)
    world.run_until(lambda: named_policy(world) != before, limit_s=10)
    assert world.node.written == ["publish_policy", "replace_manifest"]
    assert before in world.node.files
    assert world.changes[-1].cause == "change"
    world.run_until(lambda: world.changes[-1].outcome is not Outcome.OPEN, limit_s=60)
    assert world.outcomes[-1] == ("change", Outcome.PROVEN)


def test_changed_policy_waits_for_the_preconditions_of_a_restart(own_policy: World) -> None:
    world, before = own_policy, named_policy(own_policy)
    world.kubelet.kubeadm_pid = 4711
    world.node.put(SOURCE, SECOND)
    shown = world.run(20)
    assert named_policy(world) == before
    assert "kubeadm-running" in codes(shown)
    assert "policy-stale" in codes(shown)


def test_policy_source_moved_with_the_same_rules_restarts_nothing(own_policy: World) -> None:
    world, ours = own_policy, own_policy.manifest
    world.node.put("/etc/kubernetes/policies/audit.yaml", b"# moved\n" + FIRST)
    world.settings(STABLE + "policy:\n  file: /etc/kubernetes/policies/audit.yaml\n")
    shown = world.run(20)
    assert world.manifest == ours
    assert shown.verdict is Verdict.PROTECTED
    world.crash()
    assert world.run(20).verdict is Verdict.PROTECTED
    assert world.manifest == ours


def test_broken_policy_keeps_the_published_one_over_a_restart(own_policy: World) -> None:
    world, before = own_policy, named_policy(own_policy)
    world.node.put(SOURCE, BROKEN)
    for _ in range(2):
        shown = world.run(10)
        assert shown.verdict is Verdict.DEGRADED
        assert any(f"{SOURCE}:4:10" in p for p in shown.policy.problems), shown.policy.problems
        assert named_policy(world) == before
        assert shown.policy.path == before
        world.crash()
    world.kubeadm_moves_in(plain())
    world.run(1)
    assert named_policy(world) == before


def test_policy_source_deleted_keeps_the_published_one(own_policy: World) -> None:
    world, before = own_policy, named_policy(own_policy)
    world.node.remove(SOURCE)
    shown = world.run(10)
    assert "policy-invalid" in codes(shown)
    assert named_policy(world) == before
    assert shown.verdict is Verdict.DEGRADED


def test_first_start_with_a_broken_policy_writes_nothing() -> None:
    world = started_world(OWN_POLICY)
    world.node.put(SOURCE, BROKEN)
    shown = world.run(10)
    assert world.manifest == plain()
    assert shown.verdict is Verdict.UNPROTECTED
    assert "policy-invalid" in codes(shown)


@pytest.mark.parametrize(("harm", "code"), [("tampered", "policy-file-tampered"), ("deleted", "policy-file-missing")])
def test_published_policy_that_was_harmed_is_written_again_and_told(harm: str, code: str) -> None:
    world = protected_world()
    policy = named_policy(world)
    good = world.node.content(policy)
    world.commands.pause(8)
    if harm == "tampered":
        world.node.write_in_place(policy, good + b"# me too\n")
    else:
        world.node.remove(policy)
    assert code in codes(world.run(6))
    world.run(10)
    assert world.node.content(policy) == good
    assert "replace_manifest" not in world.node.written
    assert world.report().verdict is Verdict.PROTECTED


def test_other_manifest_named_by_the_settings_is_a_first_edit() -> None:
    """It was not overwritten, so it waits for everything that a restart waits for."""
    world = protected_world()
    other = "/etc/kubernetes/static/kube-apiserver.yaml"
    world.node.put(other, plain())
    world.kubelet.kubeadm_pid = 4711
    world.settings(STABLE + f"  manifest: {other}\n")
    shown = world.run(20)
    assert shown.target.path == other
    assert "kubeadm-running" in codes(shown)
    assert world.node.content(other) == plain()
    world.kubelet.kubeadm_pid = None
    world.run(6)
    assert has_flags(world.node.content(other))
    assert has_flags(world.node.content(MANIFEST)), "the old one is left as it is"


def test_other_manifest_named_inside_a_gate_ends_that_gate() -> None:
    world = started_world()
    world.run(2)
    other = "/etc/kubernetes/static/kube-apiserver.yaml"
    world.node.put(other, plain())
    world.settings(STABLE + f"  manifest: {other}\n")
    world.run(6)
    assert world.outcomes[0] == ("enable", Outcome.SUPERSEDED)
    assert "another manifest" in world.changes[0].reason
