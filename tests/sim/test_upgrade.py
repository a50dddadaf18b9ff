"""A kubeadm upgrade of the simulated node: the order on disk, and the outcomes recorded with and without a watcher."""

import threading
from pathlib import Path

import pytest

from kauditd.sim.node import Node
from kauditd.sim.upgrade import UpgradeFailed, UpgradeOutcome, UpgradeStep, upgrade
from tests.sim.conftest import MakeNode
from tests.sim.scenario import put_policy, replace, since, with_annotation, with_audit

pytestmark = pytest.mark.serial


@pytest.fixture
def audited(make_node: MakeNode) -> Node:
    node = make_node(edit=with_audit, speed=150.0)
    put_policy(node)
    node.start()
    node.wait_ready()
    return node


def has_audit(node: Node) -> bool:
    return "--audit-log-path" in Path(f"/proc/{node.pid}/cmdline").read_text()


def test_real_upgrade_without_a_watcher_drops_the_flags(audited: Node) -> None:
    before = audited.manifest.read_bytes()
    result = upgrade(audited.root, "v1.37.2")
    whats = [step.what for step in result.timeline]
    assert (result.outcome, result.exit_code) == (UpgradeOutcome.UPGRADED, 0)
    assert whats == [
        "staging-made",
        "staged",
        "etcd-restarted",
        "compared",
        "renewed",
        "moved-out",
        "moved-in",
        "pod-running",
    ]
    assert 0 < result.at("moved-in") - result.at("moved-out") < 0.05
    assert Path(result.backup_dir, "kube-apiserver.yaml").read_bytes() == before
    assert not list(Path(audited.root, "etc/kubernetes/tmp").glob("kubeadm-upgraded-manifests*"))
    audited.wait_ready()
    assert not has_audit(audited)
    assert '"gitVersion": "v1.37.2"' in audited.get("/version")[1]


def test_staged_file_patched_in_time_is_what_runs(audited: Node) -> None:
    def patch(step: UpgradeStep) -> None:
        if step.what == "staged":
            staged = Path(step.path)
            staged.write_text(with_audit(staged.read_text()))

    mark = len(audited.events())
    result = upgrade(audited.root, "v1.37.2", observer=patch)
    audited.wait_ready()
    assert result.outcome is UpgradeOutcome.UPGRADED
    assert has_audit(audited)
    assert len(since(audited, mark, "process-start")) == 1


def test_same_version_with_the_patched_staged_file_is_skipped(audited: Node) -> None:
    def patch(step: UpgradeStep) -> None:
        if step.what == "staged":
            staged = Path(step.path)
            staged.write_text(with_audit(staged.read_text()))

    mark = len(audited.events())
    result = upgrade(audited.root, "v1.36.3", observer=patch)
    assert (result.outcome, result.exit_code) == (UpgradeOutcome.EQUAL, 0)
    assert since(audited, mark, "process-exit") == []


def test_reapply_right_after_the_rename_is_one_restart_of_a_real_upgrade(audited: Node) -> None:
    def reapply(step: UpgradeStep) -> None:
        if step.what == "moved-in":
            replace(audited.manifest, with_audit(audited.manifest.read_text()))

    mark = len(audited.events())
    result = upgrade(audited.root, "v1.37.2", observer=reapply)
    audited.wait_ready()
    assert result.outcome is UpgradeOutcome.UPGRADED
    assert has_audit(audited)
    assert len(since(audited, mark, "process-start")) == 1


def test_restoring_the_same_pod_makes_a_same_version_upgrade_fail(audited: Node) -> None:
    before = audited.manifest.read_text()

    def restore(step: UpgradeStep) -> None:
        if step.what == "moved-in":
            replace(audited.manifest, before)

    result = upgrade(audited.root, "v1.36.3", etcd_wait_s=None, renew=False, observer=restore)
    assert (result.outcome, result.exit_code) == (UpgradeOutcome.ROLLED_BACK, 1)
    assert "did not change after 5m0s" in result.message
    assert audited.manifest.read_text() == before


def test_a_nonce_saves_the_same_version_upgrade(audited: Node) -> None:
    before = audited.manifest.read_text()

    def restore(step: UpgradeStep) -> None:
        if step.what == "moved-in":
            replace(audited.manifest, with_annotation(before, "nonce"))

    result = upgrade(audited.root, "v1.36.3", etcd_wait_s=None, renew=False, observer=restore)
    audited.wait_ready()
    assert result.exit_code == 0
    assert has_audit(audited)


def test_missing_manifest_fails_the_upgrade(audited: Node) -> None:
    audited.manifest.unlink()
    result = upgrade(audited.root, "v1.37.2", etcd_wait_s=None, renew=False)
    assert (result.outcome, result.exit_code) == (UpgradeOutcome.ROLLED_BACK, 1)


def test_kubeadm_config_that_agrees_needs_no_watcher(audited: Node) -> None:
    result = upgrade(audited.root, "v1.36.3", staged=audited.manifest.read_bytes())
    assert result.outcome is UpgradeOutcome.EQUAL


def test_upgrade_needs_a_simulated_node(tmp_path: Path) -> None:
    with pytest.raises(UpgradeFailed):
        upgrade(str(tmp_path), "v1.37.2")


def test_manifest_is_absent_only_between_the_two_renames(audited: Node) -> None:
    absent: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            if not audited.manifest.exists():
                absent.append(1)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        result = upgrade(audited.root, "v1.37.2", etcd_wait_s=None, renew=False)
    finally:
        done.set()
        watcher.join()
    assert result.exit_code == 0
    assert audited.manifest.exists()
    assert "etcd-restarted" not in [step.what for step in result.timeline]
