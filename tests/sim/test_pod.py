"""Which manifests are one pod: kubeadm's recorded verdicts, and the kubelet's identity over defaults and file name."""

from pathlib import Path

import pytest

from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.pod import NotAPod, decode_pod, pods_equal

EQUALITY = Path(__file__).parents[1] / "data" / "manifests" / "equality"
VERDICTS = [line.split("\t") for line in (EQUALITY / "expected.tsv").read_text().splitlines()]
MANIFEST = kubeadm_manifest("v1.36.3", address="127.0.0.1", port=6443)


def uid_of(content: bytes, *, path: str = "/etc/kubernetes/manifests/kube-apiserver.yaml") -> str:
    return decode_pod(content, path=path, node_name="cp1").uid


@pytest.mark.parametrize(("name", "verdict"), VERDICTS, ids=[name for name, _ in VERDICTS])
def test_equal_is_what_kubeadm_calls_equal(name: str, verdict: str) -> None:
    kubeadm, other = (EQUALITY / "00-kubeadm.yaml").read_bytes(), (EQUALITY / name).read_bytes()
    if verdict.startswith("error"):
        with pytest.raises(NotAPod):
            pods_equal(kubeadm, other)
    else:
        assert pods_equal(kubeadm, other) == (verdict == "equal")


def test_a_spelled_out_default_changes_the_file_for_kubeadm_but_not_for_the_kubelet() -> None:
    explicit = MANIFEST.replace(b"spec:\n", b"spec:\n  terminationGracePeriodSeconds: 30\n", 1)
    assert not pods_equal(MANIFEST, explicit)
    assert uid_of(MANIFEST) == uid_of(explicit)


def test_uid_depends_on_the_file_name() -> None:
    assert uid_of(MANIFEST) != uid_of(MANIFEST, path="/etc/kubernetes/manifests/kube-apiserver.yaml.bak")


def test_image_of_the_asked_version_stands_in_the_manifest() -> None:
    pod = decode_pod(MANIFEST, path="/m", node_name="cp1")
    assert pod.version == "v1.36.3"
    assert pod.command[0] == "kube-apiserver"
    assert pod.grace_s == 30


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"kind: Pod\n", b"\xff\xfe\x00", b"apiVersion: v1\nkind: ConfigMap\n", b"a: [\n"]
)
def test_what_is_no_pod(content: bytes) -> None:
    with pytest.raises(NotAPod):
        decode_pod(content, path="/m", node_name="cp1")
