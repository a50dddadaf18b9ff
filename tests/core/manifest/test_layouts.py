"""One layout, one rule: the exact lines that an edit writes."""

import json

import pytest

from kauditd.core.manifest import edit, read, strip
from kauditd.core.manifest.compose import render_scalar
from kauditd.core.model import Desired, Edited, Flag, Mount
from tests.core.manifest.pods import DESIRED, LOG_DIR, LOG_MOUNT, POLICY, default, pod, wish

ONE = Desired(flags=(Flag(name="audit-log-maxage", value="30"),), mounts=())


def changed(command: str, desired: Desired = ONE, **pieces: str) -> str:
    """What stands in the container before its image after an edit that must also come out again."""
    source = pod(command, **pieces)
    outcome = checked(source, desired)
    text = outcome.text.decode()
    return text[text.index("containers:\n") + 12 : text.index("    image:")]


def checked(source: bytes, desired: Desired = DESIRED) -> Edited:
    outcome = edit(source, desired)
    assert strip(outcome.text, outcome.record) == source
    assert edit(outcome.text, desired).edits == ()
    return outcome


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("command: [kube-apiserver]\n", "command: [kube-apiserver, --audit-log-maxage=30]\n"),
        ("command: [kube-apiserver, '--a=b']\n", "command: [kube-apiserver, '--a=b', '--audit-log-maxage=30']\n"),
        (
            "command:\n    - kube-apiserver # program\n    # the end\n",
            "command:\n    - kube-apiserver # program\n    - --audit-log-maxage=30\n    # the end\n",
        ),
        (
            "command:\n    -   kube-apiserver\n    -   --a=b\n",
            "command:\n    -   kube-apiserver\n    -   --a=b\n    -   --audit-log-maxage=30\n",
        ),
        (
            "command: [\n      kube-apiserver,\n      --a=b # last\n    ]\n",
            "command: [\n      kube-apiserver,\n      --a=b, # last\n      --audit-log-maxage=30\n    ]\n",
        ),
        (
            "command: [\n      kube-apiserver,\n      --a=b, # last\n    ]\n",
            "command: [\n      kube-apiserver,\n      --a=b, # last\n      --audit-log-maxage=30,\n    ]\n",
        ),
        (
            "command:\n    - kube-apiserver\n    - |-\n      --a=b\n",
            "command:\n    - kube-apiserver\n    - |-\n      --a=b\n    - --audit-log-maxage=30\n",
        ),
        (
            "command:\n    - kube-apiserver\n    - >-\n      --a=b\n\n    # c\n",
            "command:\n    - kube-apiserver\n    - >-\n      --a=b\n\n    - --audit-log-maxage=30\n    # c\n",
        ),
        (
            "command:\n    - kube-apiserver\n    - --a=b\n      c\n",
            "command:\n    - kube-apiserver\n    - --a=b\n      c\n    - --audit-log-maxage=30\n",
        ),
        (
            "command: &c\n    - kube-apiserver\n",
            "command: &c\n    - kube-apiserver\n    - --audit-log-maxage=30\n",
        ),
        (
            "command:\n    -\n      kube-apiserver\n    -\n      --a=b\n",
            "command:\n    -\n      kube-apiserver\n    -\n      --a=b\n    - --audit-log-maxage=30\n",
        ),
        (
            "command: [kube-apiserver]\n    args:\n    - --a=b\n",
            "command: [kube-apiserver]\n    args:\n    - --a=b\n    - --audit-log-maxage=30\n",
        ),
        (
            "args: [--a=b]\n    command: [kube-apiserver, --c=d]\n",
            "args: [--a=b, --audit-log-maxage=30]\n    command: [kube-apiserver, --c=d]\n",
        ),
        (
            "command: [kube-apiserver]\n    args: []\n",
            "command: [kube-apiserver, --audit-log-maxage=30]\n    args: []\n",
        ),
        (
            "command: [kube-apiserver]\n    args:\n",
            "command: [kube-apiserver, --audit-log-maxage=30]\n    args:\n",
        ),
        (
            "command: [kube-apiserver, --, x]\n",
            "command: [kube-apiserver, --audit-log-maxage=30, --, x]\n",
        ),
    ],
)
def test_a_flag_is_put_behind_the_last_one(before: str, after: str) -> None:
    assert changed(before).removeprefix("  - ") == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("- --audit-log-maxage=1 # why", "- --audit-log-maxage=30 # why"),
        ("- --audit_log_maxage=1", "- --audit_log_maxage=30"),
        ("- '--audit-log-maxage=1'", "- '--audit-log-maxage=30'"),
        ('- "--audit-log-maxage=1"', '- "--audit-log-maxage=30"'),
        ("- --audit-log-maxage\n    - '1'", "- --audit-log-maxage\n    - '30'"),
        ('- --audit-log-maxage\n    - "1" # c', '- --audit-log-maxage\n    - "30" # c'),
        ("- --audit-log-maxage\n    - |-\n      1", "- --audit-log-maxage\n    - '30'"),
        ("- --audit-log-maxage", "- --audit-log-maxage=30"),
        ("- |-\n      --audit-log-maxage=1", "- --audit-log-maxage=30"),
        ("- --audit-log-maxage=1\n    - --audit-log-maxage=2", "- --audit-log-maxage=1\n    - --audit-log-maxage=30"),
    ],
)
def test_a_flag_of_somebody_else_is_edited_where_it_stands(before: str, after: str) -> None:
    text = changed(f"command:\n    - kube-apiserver\n    {before}\n    - --z=1\n")
    assert text == f"  - command:\n    - kube-apiserver\n    {after}\n    - --z=1\n"


def test_an_edit_in_place_tells_what_it_replaced_and_whose_it_was() -> None:
    source = pod("command: [kube-apiserver, --audit-log-maxage=1, --audit-log-maxage=2, --audit-log-maxsize]\n")
    asked = Desired(flags=(*ONE.flags, Flag(name="audit-log-maxsize", value="100")), mounts=())
    first, second = checked(source, asked).edits
    assert (first.code, first.before, first.after, first.foreign, first.line) == ("flag-duplicate", "2", "30", True, 8)
    assert (second.code, second.before, second.after) == ("flag-differs", None, "100")


def test_duplicates_whose_last_is_right_stay() -> None:
    source = pod("command: [kube-apiserver, --audit-log-maxage=1, --audit-log-maxage=30]\n")
    assert edit(source, ONE).edits == ()
    assert read(source).duplicates == ("audit-log-maxage",)


def test_our_own_flags_are_not_foreign_when_the_policy_changes() -> None:
    first = edit(default(), DESIRED).text
    newer = Desired(
        flags=(Flag(name="audit-policy-file", value=POLICY.replace("0123", "fedc")),), mounts=DESIRED.mounts
    )
    (change,) = edit(first, newer).edits
    assert (change.code, change.foreign) == ("flag-differs", False)


@pytest.mark.parametrize(
    ("image", "order"),
    [
        ("registry.k8s.io/kube-apiserver:v1.29.0", "sorted"),
        ("registry.k8s.io/kube-apiserver:v1.32.11", "sorted"),
        ("registry.k8s.io/kube-apiserver:v1.32.12", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.33.7", "sorted"),
        ("registry.k8s.io/kube-apiserver:v1.33.8", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.34.3", "sorted"),
        ("registry.k8s.io/kube-apiserver:v1.34.4", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.35.0", "sorted"),
        ("mirror:5000/x/kube-apiserver:v1.35.1", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.36.0", "appended"),
        ("registry.k8s.io/kube-apiserver:v2.0.0", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.30.3-custom", "appended"),
        ("registry.k8s.io/kube-apiserver:v1.30.3@sha256:00", "appended"),
        ("registry.k8s.io/kube-apiserver", "appended"),
        ("hyperkube:v1.30.3", "appended"),
    ],
)
def test_flags_go_where_kubeadm_of_that_version_puts_them(image: str, order: str) -> None:
    words = "command:\n    - kube-apiserver\n    - --a=1\n    - --audit=x\n    - --z=1\n"
    source = pod(words).replace(b"registry.k8s.io/kube-apiserver:v1.37.2", image.encode())
    text = checked(source, ONE).text
    ours = b"    - --audit-log-maxage=30\n"
    assert text == source.replace(
        b"    - --z=1\n", ours + b"    - --z=1\n" if order == "sorted" else b"    - --z=1\n" + ours
    )


@pytest.mark.parametrize("words", ["--z=1, --a=1", "--a=1, --z, '1'", "--z"])
def test_a_command_that_is_not_sorted_is_appended_to(words: str) -> None:
    source = pod(f"command: [kube-apiserver, {words}]\n").replace(b"v1.37.2", b"v1.30.3")
    assert f"{words}, --audit-log-maxage=30]".encode() in checked(source, ONE).text


@pytest.mark.parametrize("style", ["args:\n    - --z=1\n", "args: [--z=1]\n", "args: [--z=1,\n      --zz=2]\n"])
def test_a_flag_may_become_the_first_of_sorted_args(style: str) -> None:
    source = pod(f"command: [kube-apiserver]\n    {style}").replace(b"v1.37.2", b"v1.30.3")
    asked = Desired(flags=(Flag(name="b", value="2"), Flag(name="a", value="1")), mounts=())
    outcome = checked(source, asked)
    assert [str(flag) for flag in read(outcome.text).flags][:3] == ["--a=1", "--b=2", "--z=1"]


def test_a_flow_list_on_lines_takes_a_flag_in_the_middle() -> None:
    source = pod("command: [\n      kube-apiserver,\n      --a=1,\n      --z=1\n    ]\n").replace(
        b"v1.37.2", b"v1.30.3"
    )
    assert b"      --a=1,\n      --audit-log-maxage=30,\n      --z=1\n" in checked(source, ONE).text
    odd = pod("command: [\n      kube-apiserver\n      , --a=1\n      , --z=1\n    ]\n").replace(b"v1.37.2", b"v1.30.3")
    assert b"      , --a=1, --audit-log-maxage=30\n" in checked(odd, ONE).text


def test_json_on_one_line_and_on_many() -> None:
    containers = [
        {"name": "kube-apiserver", "command": ["kube-apiserver", "--a=b"], "image": "x/kube-apiserver:v1.37.2"}
    ]
    whole = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "kube-apiserver", "namespace": "kube-system"},
        "spec": {"containers": containers},
    }
    for indent in (None, 2, 4):
        for volumes in (None, [], [{"name": "a", "emptyDir": {}}]):
            whole["spec"] = {"containers": containers, **({} if volumes is None else {"volumes": volumes})}
            source = json.dumps(whole, indent=indent).encode()
            outcome = checked(source, wish("n-1"))
            parsed = json.loads(outcome.text)
            assert parsed["spec"]["containers"][0]["command"][-1] == f"--audit-policy-file={POLICY}"
            assert len(parsed["spec"]["volumes"]) == 2 + len(volumes or [])
            assert parsed["metadata"]["annotations"] == {"kauditd.io/nonce": "n-1"}


def test_json_with_nulls_and_a_value_edited_in_place() -> None:
    source = (
        b'{"apiVersion":"v1","kind":"Pod","metadata":{"name":"kube-apiserver","annotations":{}},"spec":{"volumes":null,'
        b'"containers":[{"command":["kube-apiserver","--audit-log-maxage=1"],"volumeMounts":null}]}}'
    )
    parsed = json.loads(checked(source, wish("n")).text)
    assert parsed["spec"]["containers"][0]["command"][1] == "--audit-log-maxage=30"
    assert len(parsed["spec"]["volumes"]) == 2


@pytest.mark.parametrize(
    "empty",
    [
        "",
        "  volumes:\n",
        "  volumes: # none\n",
        "  volumes: ~\n",
        "  volumes: []\n",
        "  volumes: [] # none\n",
        "  volumes: [\n  ]\n",
    ],
)
def test_missing_null_and_empty_volumes(empty: str) -> None:
    source = pod("command: [kube-apiserver]\n", volumes=empty)
    text = checked(source).text.decode()
    assert read(text.encode()).log_host_path == f"{LOG_DIR}/audit.log"
    assert ("# none" in empty) == ("# none" in text)


def test_flow_containers_with_empty_pieces() -> None:
    source = (
        b"apiVersion: v1\nkind: Pod\nmetadata: {name: kube-apiserver, annotations: }\n"
        b"spec: {containers: [{command: [kube-apiserver], volumeMounts:}], volumes: }\n"
    )
    checked(source, wish("n"))


@pytest.mark.parametrize(
    ("metadata", "shown"),
    [
        ("  annotations: {}\n", '  annotations:\n    kauditd.io/nonce: "n-1"\n'),
        ("  annotations:\n", '  annotations:\n    kauditd.io/nonce: "n-1"\n'),
        ("  annotations: {a: b}\n", '  annotations: {a: b, kauditd.io/nonce: "n-1"}\n'),
        ("  annotations:\n     z: '1'\n", "  annotations:\n     kauditd.io/nonce: \"n-1\"\n     z: '1'\n"),
        ("  labels:\n     z: '1'\n", '  annotations:\n     kauditd.io/nonce: "n-1"\n'),
        ("  annotations:\n    kauditd.io/nonce: 'old'\n", "  annotations:\n    kauditd.io/nonce: 'n-1'\n"),
        ("  annotations:\n    kauditd.io/nonce: old\n", '  annotations:\n    kauditd.io/nonce: "n-1"\n'),
    ],
)
def test_the_nonce_goes_into_the_annotations(metadata: str, shown: str) -> None:
    source = pod("command: [kube-apiserver]\n", metadata=metadata)
    text = checked(source, wish("n-1")).text.decode()
    assert shown in text
    assert read(text.encode()).nonce == "n-1"


def test_the_nonce_goes_at_the_next_edit_and_never_alone() -> None:
    carrying = edit(default(), wish("n-1"))
    assert edit(carrying.text, DESIRED).edits == ()
    assert edit(default(), DESIRED).text == edit(carrying.text.replace(b"maxage=30", b"maxage=7"), DESIRED).text
    alone = pod("command: [kube-apiserver]\n", metadata="  annotations:\n    kauditd.io/nonce: x\n")
    assert b"annotations" not in checked(alone).text
    flow = pod("command: [kube-apiserver]\n", metadata="  annotations: {kauditd.io/nonce: x, a: b}\n")
    assert b"annotations: {a: b}" in checked(flow).text


def test_sidecars_and_init_containers_are_left_alone() -> None:
    side = "  - {name: side, command: [/kube-apiserver-proxy, --audit-log-maxage=1]}\n"
    init = "  initContainers:\n  - command: [kube-apiserver]\n    name: init\n"
    source = pod("command: [kube-apiserver]\n", tail=side + init)
    text = checked(source).text.decode()
    assert side in text
    assert init in text


def test_lists_go_in_the_style_of_the_file() -> None:
    source = (
        "apiVersion: v1\nkind: Pod\nmetadata:\n   name: kube-apiserver\nspec:\n   containers:\n"
        "     -   command:\n             - kube-apiserver\n"
        "   volumes:\n     -   hostPath:\n            path: /a\n         name: a\n"
    )
    text = checked(source.encode()).text.decode()
    assert "     -   hostPath:\n            path: /var/log/kubernetes/audit\n" in text
    assert "         volumeMounts:\n           - mountPath: /var/log/kubernetes/audit\n" in text


def test_a_key_is_never_put_before_the_dash_of_its_mapping() -> None:
    source = b"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - x: 1\n    y: 2\n    command: [kube-apiserver]\n"
    outcome = checked(source)
    assert b"\n  - x: 1\n" in outcome.text
    first = source.replace(b"    y: 2\n", b"    z: [kube-apiserver]\n")
    assert b"\n  - x: 1\n" in checked(first).text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--a=b", "--a=b"),
        ("30", "'30'"),
        ("yes", "'yes'"),
        ("-", "'-'"),
        ("---", "'---'"),
        ("a: b", "'a: b'"),
        ("a:", "'a:'"),
        ("it's", "'it''s'"),
        ("a\tb", '"a\\tb"'),
        ("", "''"),
        ("@a", "'@a'"),
        ("a #b", "'a #b'"),
        ("ä", "'ä'"),
    ],
)
def test_a_value_is_quoted_where_a_reader_might_take_it_for_something_else(text: str, shown: str) -> None:
    assert render_scalar(text) == shown


def test_values_with_commas_and_colons_are_quoted_in_flow_lists() -> None:
    asked = Desired(flags=(Flag(name="x", value="a,b"), Flag(name="y", value="https://h:1")), mounts=())
    text = checked(pod("command: [kube-apiserver]\n"), asked).text
    assert b"[kube-apiserver, '--x=a,b', '--y=https://h:1']" in text


def test_a_mount_with_a_path_written_otherwise_is_the_same_mount() -> None:
    mount = Mount(name="kauditd-log", host_path=f"{LOG_DIR}/", mount_path=f"{LOG_DIR}//", read_only=False)
    outcome = checked(default(), Desired(flags=(), mounts=(mount,)))
    assert edit(outcome.text, Desired(flags=(), mounts=(LOG_MOUNT,))).edits == ()
