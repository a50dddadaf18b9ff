"""The kubelet's complaints about our manifest and pod, as it wrote them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.kubeletwords import KubeletWords, find_kubelet_words

DATA = Path(__file__).parents[1] / "data/podlogs"
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
UID = "6ac7652694a63c3fdc23b2a4a85ecf2e"


def find(*lines: str, uid: str = "") -> tuple[KubeletWords, ...]:
    return find_kubelet_words(lines, manifest=MANIFEST, pod_name="kube-apiserver", pod_uid=uid)


@pytest.mark.parametrize(
    ("name", "code", "part"),
    [
        (
            "hostpath-file-missing",
            "hostpath-mismatch",
            'volume "x", whose hostPath is not of its type: /etc/kubernetes',
        ),
        ("image-missing", "image-missing", "kube-apiserver:v9.9.9"),
        ("unknown-flag", "crash-back-off", "40s"),
        ("manifest-broken", "manifest-unreadable", "yaml: line 27: did not find expected key"),
    ],
)
def test_recorded_complaint_is_told_once(name: str, code: str, part: str) -> None:
    words = find(*(DATA / f"kubelet-{name}.log").read_text().splitlines())
    assert [w.code for w in words] == [code]
    assert words[0].sentence.endswith(part) or part in words[0].sentence
    assert words[0].remedy
    assert words[0].line.startswith("E1123")


def test_volumes_that_come_late_after_the_restart_of_the_kubelet() -> None:
    (line,) = (DATA / "kubelet-volumes-late.log").read_text().splitlines()
    assert find(line) == (), "the recording was cut before it named the pod"
    (words,) = find(f'{line} deadline exceeded" pod="kube-system/kube-apiserver-cp1" podUID="{UID}"')
    assert words.code == "volumes-late"
    assert "ca-certs etc-ca-certificates" in words.sentence


POD = 'pod="kube-system/kube-apiserver-cp1"'


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        (
            f'E1 x] "Could not process manifest file" err="open {MANIFEST}: permission denied" path="{MANIFEST}"',
            "manifest-unreadable",
            "permission denied",
        ),
        (
            f'E1 x] "Could not process manifest file" err="{MANIFEST}: couldn\'t parse as pod(invalid pod: &core.X',
            "manifest-unreadable",
            "invalid pod: &core.X",
        ),
        (
            'E1 x] MountVolume.SetUp failed for volume "y" (UniqueName: "k") pod "kube-apiserver" (UID: "u") : no host',
            "mount-failed",
            'volume "y": no host',
        ),
        (
            rf'E1 x] "Error" err="with ErrImageNeverPull: \"Container image \\\"r.example/a:v1\\\" is" {POD}',
            "image-missing",
            "r.example/a:v1",
        ),
        (
            rf'E1 x] "Error" err="InvalidImageName: \"Failed to apply default image tag \\\"a/b:UP!\\\": x" {POD}',
            "image-missing",
            "a/b:UP",
        ),
        (
            rf'E1 x] "Error" err="failed with RunContainerError: \"not a directory\"" {POD}',
            "container-refused",
            "not a directory",
        ),
        (rf'E1 x] "CreatePodSandbox for pod failed" err="no runtime" {POD}', "container-refused", "no runtime"),
    ],
)
def test_complaint(line: str, code: str, part: str) -> None:
    (words,) = find(line)
    assert words.code == code
    assert part in words.sentence


def test_lines_about_others_and_without_a_complaint_are_left_out() -> None:
    assert not find(
        'E1 x] "Error syncing pod" err="ErrImagePull: image \\"a\\"" pod="kube-system/etcd-cp1"',
        f'I1 x] "Trying to delete pod" {POD}',
        f'E1 file.go:107] "Unable to process watch event" err="can\'t process config file \\"{MANIFEST}\\": '
        f'open {MANIFEST}: no such file or directory"',
        "",
    )


def test_pod_of_another_name_is_known_by_its_uid() -> None:
    line = f'E1 x] "Error" err="back-off 40s restarting failed container=api pod=api_kube-system({UID})"'
    assert find(line) == ()
    assert [w.code for w in find(line, uid=UID)] == ["crash-back-off"]


def test_newest_complaint_stands_last_and_each_is_told_once() -> None:
    waits = [f'E1 x] "Error" err="back-off {wait} restarting failed container" {POD}' for wait in ("10s", "20s")]
    refused = f'E1 x] "CreatePodSandbox for pod failed" err="no runtime" {POD}'
    words = find(waits[0], refused, waits[1])
    assert [w.code for w in words] == ["container-refused", "crash-back-off"]
    assert "20s" in words[1].sentence


def test_each_volume_has_its_own_complaint() -> None:
    lines = [f'E1 x] volume "{v}" : hostPath type check failed: /{v} is not a file {POD}' for v in ("a", "b", "a")]
    assert [w.subject for w in find(*lines)] == ["b", "a"]


@given(text=st.text(max_size=200))
def test_any_line_is_read_without_an_error(text: str) -> None:
    for words in find(text, f"{MANIFEST} couldn't parse as pod({text}", f"kube-apiserver RunContainerError {text}"):
        assert words.sentence.isprintable()
        assert len(words.sentence) < 500
