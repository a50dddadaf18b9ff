"""The harness itself: the real API server starts from kubeadm's manifest and sees what the manifest mounts."""

from pathlib import Path

import pytest

from tests.real.cluster import ApiServer, Pod

pytestmark = [pytest.mark.real, pytest.mark.timeout(120, func_only=True)]


def test_the_default_manifest_starts_and_serves(apiserver: ApiServer, fresh_manifest: bytes) -> None:
    apiserver.start_and_wait(fresh_manifest)

    made = apiserver.request_as_admin("POST", "/api/v1/namespaces", {"metadata": {"name": "canary"}})

    assert made.status == 201
    assert apiserver.command_line()[0] == "kube-apiserver"


def test_a_path_that_no_mount_covers_is_not_there(fresh_manifest: bytes, node_root: Path) -> None:
    pod = Pod.parse(fresh_manifest)

    assert pod.host_path("/etc/kubernetes/pki/ca.crt", node_root) == node_root / "etc/kubernetes/pki/ca.crt"
    assert not pod.host_path("/etc/kubernetes/audit/policy.yaml", node_root).parent.exists()
