"""What the editor does not touch, and the reason it gives."""

import contextlib
import random

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from kauditd.core.manifest import defines_api_server, edit, pod_digest, read, record_of, strip
from kauditd.core.manifest.parse import LIMIT_BYTES
from kauditd.errors import ManifestRefused
from tests.core.manifest.pods import DESIRED, default, pod, wish

POD = "apiVersion: v1\nkind: Pod\n"
SERVER = "spec:\n  containers:\n  - command: [kube-apiserver]\n"
BOMB = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 9))
DEEP = "x0: &x0 [a]\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 90))

CASES = {
    "empty": ["", " \n\t\n", "# nothing\n", "---\n...\n", "\ufeff"],
    "too-large": ["#" * (LIMIT_BYTES + 1)],
    "tabs": [
        POD + "spec:\n\tcontainers: []\n",
        POD + "spec:\n  containers:\n  - command:\n\t- kube-apiserver\n",
        "a:\tb\n",
    ],
    "bad-yaml": [
        "!" * LIMIT_BYTES,
        "a: [b\n",
        "a: b: c\n",
        "a: 'b\n",
        "%YAML 1.2\n---\na: b\n",
        "a: \x00\n",
        "? [a]\n: b\n",
        "[" * 200,
        "- " * 200,
        '{"a": NaN}',
        '{"a": 1,}',
        "{a: b}",
        "a: &\n",
        "a: !\x7f\n",
        "{" * 2000,
    ],
    "duplicate-key": [
        POD + "kind: Pod\n" + SERVER,
        POD + "spec: {containers: [], 'containers': []}\n",
        POD + "true: a\nyes: b\n",
    ],
    "two-documents": [POD + SERVER + "---\n" + POD, "a: b\n---\nc: d\n", "---\n---\na: b\n"],
    "alias": [
        "a: *b\n",
        "a: &a [*a]\n",
        "x0: &x0 [a]\n" + BOMB,
        DEEP,
        POD + "x: &c [kube-apiserver]\nspec:\n  containers:\n  - command: *c\n",
        POD + "spec:\n  containers:\n  - command: &c [kube-apiserver]\n    x: *c\n",
        POD + "x: &s\n  containers:\n  - command: [kube-apiserver]\nspec: *s\n",
        POD + "x: &s\n  containers:\n  - command: [kube-apiserver]\nspec:\n  <<: *s\n",
        POD + "x: &c {command: [kube-apiserver]}\nspec:\n  containers:\n  - <<: *c\n",
        POD + "x: &c {command: [kube-apiserver]}\nspec:\n  containers: [*c]\n",
        POD + SERVER + "  volumes: &v [{name: a, emptyDir: {}}]\n  x: *v\n",
        POD + "x: &f --audit-log-maxage=1\nspec:\n  containers:\n  - command: [kube-apiserver, *f]\n",
        POD + "spec:\n  containers:\n  - command: [kube-apiserver, &f --audit-log-maxage=1]\n",
        POD + "spec:\n  containers:\n  - command: [kube-apiserver, !!str --audit-log-maxage=1]\n",
        POD + "x: &r true\nspec:\n  containers:\n  - command: [kube-apiserver]\n    volumeMounts:\n"
        "    - {mountPath: /var/log/kubernetes/audit, name: l, readOnly: *r}\n"
        "  volumes: [{name: l, hostPath: {path: /var/log/kubernetes/audit}}]\n",
    ],
    "not-a-pod": [
        "a\n",
        "~\n...\n---\n",
        "- a\n",
        "kind: List\n",
        "kind: Pod\n",
        POD,
        POD + "spec: {}\n",
        POD + "spec: {containers: a}\n",
        POD + "spec:\n  containers: [a]\n",
        POD + "spec:\n  containers: [{command: a}]\n",
        POD + "spec:\n  containers: [{command: [kube-apiserver, 10]}]\n",
        POD + "spec:\n  containers: [{command: [kube-apiserver, [a]]}]\n",
        POD + "spec:\n  containers: [{command: [kube-apiserver, ]}, {args: {a: b}}]\n",
        POD + SERVER + "  hostNetwork: 'true'\n",
        POD + SERVER + "  priority: high\n",
        POD + SERVER + "  priority: true\n",
        POD + SERVER + "metadata: {name: yes}\n",
        POD + SERVER + "metadata:\n  labels:\n    a: 1\n",
        POD + SERVER + "  volumes: a\n",
        POD + SERVER + "  volumes: {a: b}\n",
    ],
    "no-api-server": [
        POD + "spec:\n  containers: []\n",
        POD + "spec:\n  containers: [{command: [/etcd]}, {name: x}]\n",
        POD + "spec:\n  containers: [{image: 'x/kube-apiserver:v1', args: [--a=b]}]\n",
        POD + "spec:\n  containers: [{image: 'x/kube-apiserver:v1', command: []}]\n",
        POD + "spec:\n  containers: [{command: [/kube-apiserver-proxy, --log=/kube-apiserver]}]\n",
    ],
    "two-api-servers": [POD + "spec:\n  containers: [{command: [kube-apiserver]}, {command: [/bin/kube-apiserver]}]\n"],
    "shell-wrapped": [
        POD + "spec:\n  containers:\n  - command: [/bin/sh, -c, 'exec kube-apiserver --a=b 2>&1']\n",
        POD + "spec:\n  containers:\n  - command: [/bin/bash, -ec]\n    args: ['/usr/bin/kube-apiserver --a=b']\n",
        POD + "spec:\n  containers:\n  - command: [/go-runner, --log-file=/x, /usr/local/bin/kube-apiserver, --a=b]\n",
    ],
}


@pytest.mark.parametrize(("code", "text"), [(code, text) for code, texts in CASES.items() for text in texts])
def test_a_manifest_is_refused_with_a_reason(code: str, text: str) -> None:
    with pytest.raises(ManifestRefused) as refusal:
        edit(text.encode(), DESIRED)
    assert refusal.value.code == code
    assert refusal.value.message.startswith("cannot ")
    assert refusal.value.hint or code in {"bad-yaml", "alias"}


def test_the_refusal_names_the_line() -> None:
    with pytest.raises(ManifestRefused) as refusal:
        edit(b"a: b\n# \xff\n", DESIRED)
    assert (refusal.value.code, refusal.value.line) == ("not-utf8", 2)
    with pytest.raises(ManifestRefused) as refusal:
        edit((POD + "spec:\n  containers:\n  - command:\n    - kube-apiserver\n    - 10\n").encode(), DESIRED)
    assert refusal.value.line == 7


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (POD + SERVER, "not-a-pod"),
        (POD + SERVER + "metadata: {annotations: a}\n", "not-a-pod"),
        ("x: &m {name: a}\n" + POD + SERVER + "metadata: *m\n", "alias"),
        ("x: &m {kauditd.io/nonce: a}\n" + POD + SERVER + "metadata: {annotations: *m}\n", "alias"),
        ("x: &m {kauditd.io/nonce: a}\n" + POD + SERVER + "metadata: {annotations: {<<: *m}}\n", "alias"),
        ("x: &m a\n" + POD + SERVER + "metadata: {annotations: {kauditd.io/nonce: *m}}\n", "alias"),
    ],
)
def test_a_nonce_without_a_clear_place_is_refused(text: str, code: str) -> None:
    with pytest.raises(ManifestRefused) as refusal:
        edit(text.encode(), wish("n-1"))
    assert refusal.value.code == code


def test_a_nonce_that_cannot_be_dropped_is_refused() -> None:
    text = "x: &m {kauditd.io/nonce: a}\n" + POD + SERVER + "metadata: {annotations: {<<: *m, b: c}}\n"
    with pytest.raises(ManifestRefused) as refusal:
        edit(text.encode(), DESIRED)
    assert refusal.value.code == "alias"


def test_aliases_and_merge_keys_elsewhere_are_no_hindrance() -> None:
    source = pod(
        "command: [kube-apiserver]\n",
        tail="x-a: &a {b: c}\nx-b: *a\nx-c: {<<: *a, d: e}\nx-d: {<<: [*a, {f: g}]}\nx-e: {<<: 5}\nx-f: &unused h\n",
    )
    outcome = edit(source, DESIRED)
    assert strip(outcome.text, outcome.record) == source


def test_what_a_cut_would_change_twice_does_not_stand_the_check() -> None:
    text = "x: &p\n  spec: &s\n    containers:\n    - command: [kube-apiserver]\n" + POD + "<<: *p\n"
    with pytest.raises(ManifestRefused) as refusal:
        edit(text.encode(), DESIRED)
    assert refusal.value.code == "alias"
    shared = POD + SERVER + "    x: &y\n      z: |+\n        a\n\n\n  hostNetwork: true\n"
    assert edit(shared.encode(), DESIRED).edits


ANYTHING = st.binary(max_size=80) | st.text(alphabet="ab:-[]{}&*!|>'\"#%@, \n\t?~<", max_size=60).map(str.encode)


@settings(max_examples=150, deadline=None, phases=(Phase.explicit, Phase.generate, Phase.shrink))
@given(ANYTHING)
@example(b"? ")
@example(b"&a *a")
@example(b"!<tag:yaml.org,2002:int> x: 1")
@example(b"{a, b: [c: d]}")
def test_no_bytes_bring_anything_but_a_refusal(content: bytes) -> None:
    for act in (
        lambda: edit(content, DESIRED),
        lambda: read(content),
        lambda: record_of(content),
        lambda: pod_digest(content),
    ):
        with pytest.raises(ManifestRefused):
            act()
    assert defines_api_server(content) is None


@pytest.mark.parametrize("seed", range(60))
def test_a_damaged_manifest_is_edited_well_or_refused(seed: int) -> None:
    chance = random.Random(seed)
    damaged = bytearray(edit(default(), wish("n")).text if seed % 2 else default())
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(damaged))
        piece = chance.choice(
            [b"", b"\n", b" ", b"\t", b"- ", b":", b"{", b"]", b"&a", b"*a", b"<<: ", b"'", b"\xff", b"#", b"|"]
        )
        damaged[place : place + chance.choice([0, 1, 30])] = piece
    content = bytes(damaged)
    defines_api_server(content)
    with contextlib.suppress(ManifestRefused):
        outcome = edit(content, DESIRED)
        assert strip(outcome.text, outcome.record) == content
        assert edit(outcome.text, DESIRED).edits == ()
        read(content)
        record_of(content)
        pod_digest(content)
