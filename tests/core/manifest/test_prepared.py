"""The edit that is ready before kubeadm's file is there."""

import time

import pytest

from kauditd.core.manifest import edit, prepare
from tests.core.manifest.pods import DESIRED, default, manifests, pod, wish


def test_the_next_version_is_edited_without_reading_yaml() -> None:
    known = default("v1.36.3/v1beta4")
    coming = known.replace(b"v1.36.3", b"v1.37.2")
    assert prepare(known, edit(known, wish("n"))).apply(coming) == edit(coming, wish("n"))


@pytest.mark.parametrize("path", manifests(), ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_every_variant_can_be_prepared(path: object) -> None:
    known = path.read_bytes()
    coming = known.replace(b"kube-apiserver:v1.", b"kube-apiserver:v9.")
    quick = prepare(known, edit(known, DESIRED)).apply(coming)
    assert (quick is None) is ("v1.30.3" in str(path))
    assert quick is None or quick == edit(coming, DESIRED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"v1.36.3", b"v1.30.3"),
        (b"image: registry.k8s.io/kube-apiserver:v1.36.3", b"image: 'registry.k8s.io/kube-apiserver:v1.36.3'"),
        (b"image: registry.k8s.io/kube-apiserver:v1.36.3", b"image: kube-apiserver"),
        (b"image: registry.k8s.io/kube-apiserver:v1.36.3", b"image: registry.k8s.io/kube-apiserver:"),
        (b"image: registry.k8s.io/kube-apiserver:v1.36.3", b"image: registry.k8s.io/kube-apiserver:v1 # c"),
        (b"    image: ", b"     image: "),
        (b"image: registry.k8s.io/kube-apiserver:v1.36.3\n", b"image: registry.k8s.io/kube-apiserver:v1.37.2\r\n"),
        (b"--secure-port=6443", b"--secure-port=6444"),
        (b"spec:\n", b"spec:\n# c\n"),
        (b"hostNetwork", b"\xff"),
    ],
)
def test_anything_else_is_left_to_the_slow_way(old: bytes, new: bytes) -> None:
    known = default("v1.36.3/v1beta4")
    assert old in known
    assert prepare(known, edit(known, DESIRED)).apply(known.replace(old, new)) is None


def test_an_image_line_that_is_no_image_is_not_touched() -> None:
    text = "    x: |\n      image: a/b:1\n    y: {image: a/b:1}\n    z: &i\n      image: &j a/b:1\n"
    known = pod("command: [kube-apiserver]\n", mounts=text)
    prepared = prepare(known, edit(known, DESIRED))
    assert prepared.apply(known.replace(b"      image: a/b:1\n    y", b"      image: a/b:2\n    y")) is None
    assert prepared.apply(known.replace(b"&j a/b:1", b"&j a/b:2")) is None
    other = pod("command: [kube-apiserver]\n", tail="  - name: side\n    image: a/b:1")
    prepared = prepare(other, edit(other, DESIRED))
    assert prepared.apply(other.replace(b"a/b:1", b"a/b:2")) is None


def test_the_image_of_a_sidecar_decides_nothing_about_flags() -> None:
    known = pod("command: [kube-apiserver]\n", tail="  - name: side\n    image: a/kube-apiserver:v1.37.2\n")
    coming = known.replace(b"a/kube-apiserver:v1.37.2", b"a/kube-apiserver:v1.30.3")
    assert prepare(known, edit(known, DESIRED)).apply(coming) == edit(coming, DESIRED)


def test_a_known_text_without_edits_is_carried_over() -> None:
    known = edit(default(), DESIRED).text
    coming = known.replace(b"v1.37.2", b"v1.38.0")
    assert prepare(known, edit(known, DESIRED)).apply(coming) == edit(coming, DESIRED)


@pytest.mark.serial
def test_it_is_quicker_than_a_reader_of_yaml_by_far() -> None:
    known = default("v1.36.3/v1beta4")
    coming = known.replace(b"v1.36.3", b"v1.37.2")
    prepared = prepare(known, edit(known, DESIRED))

    def best(act: object) -> float:
        spans = []
        for _ in range(20):
            start = time.perf_counter()
            act()
            spans.append(time.perf_counter() - start)
        return min(spans)

    assert best(lambda: prepared.apply(coming)) * 20 < best(lambda: edit(coming, DESIRED))
