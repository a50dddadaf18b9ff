"""Another API server in the manifests directory is seen, however it is written."""

import json

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kauditd.core.manifest import defines_api_server
from tests.core.manifest.pods import default, manifests

NAME = "kube-system/kube-apiserver"
POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: ns}\n"


@pytest.mark.parametrize("path", manifests()[::7], ids=lambda path: path.name)
def test_a_copy_is_seen(path: object) -> None:
    assert defines_api_server(path.read_bytes()) == NAME


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POD + "spec: {containers: [{command: [kube-apiserver]}]}\n", "ns/x"),
        (POD + "spec: {containers: [{command: [/usr/bin/kube-apiserver, --a=b]}]}\n", "ns/x"),
        (POD + "spec: {containers: [{command: [sh, -c, 'exec kube-apiserver --a']}]}\n", "ns/x"),
        (POD + "spec: {containers: [{command: [/go-runner, /usr/bin/kube-apiserver]}]}\n", "ns/x"),
        (POD + "spec: {containers: [{image: 'r/kube-apiserver:v1', args: [--a=b]}]}\n", "ns/x"),
        (POD + "spec: {containers: [{command: [etcd], args: [kube-apiserver]}]}\n", None),
        (POD + "spec: {containers: [{image: x}]} # kube-apiserver\n", None),
        (POD + "spec: {containers: kube-apiserver}\n", None),
        (POD + "spec: {containers: [kube-apiserver]}\n", None),
        (POD + "kind: Pod\nspec: {containers: [{command: [kube-apiserver]}]}\n", "ns/x"),
        (POD + "spec:\n  containers:\n  - command:\t[kube-apiserver]\n", "ns/x"),
        (POD + 'spec: {containers: [{command: ["kube\\x2dapiserver"]}]}\n', "ns/x"),
        (POD + "spec: {containers: [{command: [!!binary a3ViZS1hcGlzZXJ2ZXI=]}]}\n", "ns/x"),
        (POD + "spec: {containers: [{command: [!!binary '*', kube-apiserver]}]}\n", None),
        ("kind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\n", NAME),
        ("kind: Pod\nmetadata: {name: kube-apiserver}\n", None),
        ("kind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\n---\n\x00broken: [\n", NAME),
        ("kind: Deployment\nmetadata: {name: kube-apiserver, namespace: kube-system}\n", None),
        ("\ufeffkind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\n", NAME),
        ("- kube-apiserver\n", None),
        ("kube-apiserver: [\n", None),
        ("# kube-apiserver\n", None),
        ("*kube-apiserver", None),
        ('{"kind": "Pod", "kube-apiserver": ', None),
        ('["kube-apiserver"]', None),
        ("{kind: Pod, metadata: {name: kube-apiserver, namespace: kube-system}}", NAME),
        (json.dumps({"kind": "Pod", "metadata": {"name": "kube-apiserver", "namespace": "kube-system"}}), NAME),
        ("", None),
        ("kind: Pod\n", None),
    ],
)
def test_what_counts_as_an_api_server(text: str, expected: str | None) -> None:
    assert defines_api_server(text.encode()) == expected


def test_wide_text_is_read_too() -> None:
    assert defines_api_server(default().decode().encode("utf-16")) == NAME


def test_padding_does_not_hide_a_copy() -> None:
    assert defines_api_server(b"# padding\n" * 200_000 + default()) == NAME
    assert defines_api_server(default() + b"x: " + b"y" * (1 << 20)) == NAME
    assert defines_api_server(b"name: kube-apiserver\nx: " + b"y" * (1 << 20)) is None
    assert defines_api_server(default() + b"#" * (11 << 20)) is None


@settings(max_examples=100, deadline=None, phases=(Phase.explicit, Phase.generate, Phase.shrink))
@given(st.binary(max_size=60), st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t\\", max_size=60))
def test_it_never_raises(head: bytes, tail: str) -> None:
    defines_api_server(head + b"kube-apiserver" + tail.encode())
    defines_api_server(b'{"kube-apiserver":' + head)
