"""What kubeadm wrote, for every version at hand: the edit puts our lines where kubeadm itself would have put them."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kauditd.core.manifest import edit, pod_digest, read, strip
from kauditd.core.model import Desired, Flag, Mount
from kauditd.errors import ManifestRefused
from tests.core.manifest.pods import DATA, DESIRED, default, manifests

CONFIGURATIONS = sorted(DATA.glob("v*/*/audit*.kubeadm.yaml"))


def asked(configuration: Path) -> Desired:
    """The extraArgs and extraVolumes of a kubeadm configuration as a wish: a map is sorted, a list keeps its order."""
    documents = YAML(typ="safe", pure=True).load_all(configuration.read_text())
    server = next(item for item in documents if item["kind"] == "ClusterConfiguration")["apiServer"]
    extra = server["extraArgs"]
    pairs = sorted(extra.items()) if isinstance(extra, dict) else [(item["name"], item["value"]) for item in extra]
    return Desired(
        flags=tuple(Flag(name=name, value=value) for name, value in pairs),
        mounts=tuple(
            Mount(
                name=volume["name"],
                host_path=volume["hostPath"],
                mount_path=volume["mountPath"],
                read_only=volume.get("readOnly", False),
                path_type=volume["pathType"],
            )
            for volume in server["extraVolumes"]
        ),
    )


def label(path: Path) -> str:
    return str(path.relative_to(DATA))


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=label)
def test_the_edit_equals_what_kubeadm_writes_with_audit_configured(configuration: Path) -> None:
    source = configuration.with_name("default.yaml").read_bytes()
    written = configuration.with_name(configuration.name.replace(".kubeadm", "")).read_bytes()
    outcome = edit(source, asked(configuration))
    assert outcome.text == written
    assert edit(written, asked(configuration)).edits == ()
    assert strip(written, outcome.record) == source


@pytest.mark.parametrize("path", manifests(), ids=label)
def test_every_variant_is_edited_and_given_back(path: Path) -> None:
    source = path.read_bytes()
    outcome = edit(source, DESIRED)
    view = read(outcome.text)
    assert [view.flag(flag.name) for flag in DESIRED.flags] == [flag.value for flag in DESIRED.flags]
    assert strip(outcome.text, outcome.record) == source


def test_facts_of_a_kubeadm_manifest() -> None:
    view = read(default("v1.36.3/v1beta4"))
    assert (view.namespace, view.pod_name, view.version) == ("kube-system", "kube-apiserver", "v1.36.3")
    assert (view.address, view.port) == ("10.0.0.11", 6443)
    assert (view.audit_flags, view.log_host_path, view.policy_host_path, view.nonce) == ((), None, None, None)
    assert (view.run_as_user, view.run_as_group) == (None, None)


def test_a_rootless_control_plane_tells_whom_the_log_must_belong_to() -> None:
    view = read((DATA / "v1.37.2/v1beta4/rootless.yaml").read_bytes())
    assert isinstance(view.run_as_user, int)
    assert isinstance(view.run_as_group, int)


EQUALITY = [line.split("\t") for line in (DATA / "equality" / "expected.tsv").read_text().splitlines()]


@pytest.mark.parametrize(("name", "verdict"), EQUALITY, ids=lambda item: item)
def test_digests_are_equal_where_kubeadm_sees_equal_manifests(name: str, verdict: str) -> None:
    content = (DATA / "equality" / name).read_bytes()
    if verdict.startswith("error"):
        with pytest.raises(ManifestRefused) as refusal:
            pod_digest(content)
        assert refusal.value.code == "not-a-pod"
        return
    same = pod_digest(content) == pod_digest((DATA / "equality" / "00-kubeadm.yaml").read_bytes())
    assert same is (verdict == "equal")


def test_explicit_zero_values_do_not_count_and_other_values_do() -> None:
    source = default()
    plain = pod_digest(source)
    zero = source.replace(b"hostNetwork: true", b"hostNetwork: true\n  hostIPC: false\n  nodeName: ''\n  os: null")
    assert pod_digest(zero) == plain
    probe = source.replace(b"periodSeconds: 10", b"periodSeconds: 10\n      successThreshold: 0")
    assert pod_digest(probe) == plain
    assert pod_digest(source.replace(b"hostNetwork: true", b"hostNetwork: false")) != plain
    typed = source.replace(b"type: DirectoryOrCreate", b"type: ''", 1)
    untyped = source.replace(b"\n      type: DirectoryOrCreate", b"", 1)
    assert pod_digest(typed) != pod_digest(untyped)


@pytest.mark.parametrize("content", [b"kind: List\n", b"a: 1\n"])
def test_only_a_pod_has_a_digest(content: bytes) -> None:
    with pytest.raises(ManifestRefused) as refusal:
        pod_digest(content)
    assert refusal.value.code == "not-a-pod"
