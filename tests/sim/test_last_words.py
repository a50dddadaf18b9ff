"""A bad setting kills the stand-in with the words of the real kube-apiserver v1.37.2 (recorded), and in its rhythm."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kauditd.sim import timing
from tests.sim.conftest import MakeNode
from tests.sim.scenario import (
    LOG_PATH,
    POLICY,
    POLICY_PATH,
    last_line,
    put_policy,
    since,
    with_audit,
    with_flags,
    with_volume,
)

pytestmark = pytest.mark.serial

LOADING = '"command failed" err="loading audit policy file: '
HEADER = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
FROM = f": from file {POLICY_PATH}"

BAD_POLICIES = {
    "broken-yaml": (
        f"{HEADER}rules:\n- level: [Metadata\n  x: y\n",
        f"{LOADING}failed decoding: yaml: line 4: did not find expected ',' or ']'{FROM}\"",
    ),
    "bad-level": (
        f"{HEADER}rules:\n- level: Everything\n",
        (
            f'{LOADING}rules[0].level: Unsupported value: \\"Everything\\": supported values: '
            f'\\"None\\", \\"Metadata\\", \\"Request\\", \\"RequestResponse\\"{FROM}"'
        ),
    ),
    "no-rules": (f"{HEADER}rules: []\n", f'{LOADING}loaded illegal policy with 0 rules{FROM}"'),
    "empty-file": (
        "",
        f'{LOADING}unknown group version field audit.k8s.io/__internal, Kind=Policy in policy{FROM}"',
    ),
    "v1beta1": (
        POLICY.replace("/v1", "/v1beta1"),
        (
            f'{LOADING}failed decoding: no kind \\"Policy\\" is registered for version \\"audit.k8s.io/v1beta1\\" '
            f'in scheme \\"pkg/runtime/scheme.go:111\\"{FROM}"'
        ),
    ),
    "number-as-string": (
        f"{HEADER}rules:\n- level: Metadata\n  users: [1]\n",
        (
            f"{LOADING}failed decoding: json: cannot unmarshal number into Go struct field "
            f'PolicyRule.rules.users of type string{FROM}"'
        ),
    ),
}

BAD_MANIFESTS: dict[str, tuple[Callable[[str], str], str]] = {
    "unknown-flag": (
        lambda text: with_audit(text, audit_log_maxsizes="1"),
        "Error: unknown flag: --audit-log-maxsizes",
    ),
    "bad-value": (
        lambda text: with_audit(text, audit_log_maxage="thirty"),
        (
            'Error: invalid argument "thirty" for "--audit-log-maxage" flag: strconv.ParseInt: parsing "thirty": '
            "invalid syntax"
        ),
    ),
    "negative-size": (
        lambda text: with_audit(text, audit_log_maxsize="-1"),
        '"command failed" err="--audit-log-maxsize -1 can\'t be a negative number"',
    ),
    "policy-missing": (
        lambda text: with_audit(text, audit_policy_file="/etc/kubernetes/audit/absent.yaml"),
        (
            f'{LOADING}failed to read file path \\"/etc/kubernetes/audit/absent.yaml\\": '
            'open /etc/kubernetes/audit/absent.yaml: no such file or directory"'
        ),
    ),
    "policy-not-mounted": (
        lambda text: with_flags(text, {"audit-policy-file": POLICY_PATH, "audit-log-path": "-"}),
        f'{LOADING}failed to read file path \\"{POLICY_PATH}\\": open {POLICY_PATH}: no such file or directory"',
    ),
    "log-read-only": (
        lambda text: with_audit(text).replace(
            "      name: audit-log\n", "      name: audit-log\n      readOnly: true\n", 1
        ),
        f'"command failed" err="ensureLogFile: open {LOG_PATH}: read-only file system"',
    ),
    "log-is-a-directory": (
        lambda text: with_audit(text, audit_log_path="/var/log/kubernetes/audit"),
        '"command failed" err="ensureLogFile: open /var/log/kubernetes/audit: is a directory"',
    ),
}


@pytest.mark.parametrize("case", BAD_MANIFESTS)
def test_bad_manifest(make_node: MakeNode, case: str) -> None:
    edit, words = BAD_MANIFESTS[case]
    node = make_node(edit=edit)
    put_policy(node)
    node.start()
    ended = node.wait_event("process-exit")
    assert ended.exit_code == 1
    assert _without_klog_header(last_line(node, ended.uid, 0)) == words


@pytest.mark.parametrize("case", BAD_POLICIES)
def test_bad_policy(make_node: MakeNode, case: str) -> None:
    policy, words = BAD_POLICIES[case]
    node = make_node(edit=with_audit)
    put_policy(node, policy)
    node.start()
    ended = node.wait_event("process-exit")
    assert ended.exit_code == 1
    assert _without_klog_header(last_line(node, ended.uid, 0)) == words


def test_unknown_field_only_warns_and_starts(make_node: MakeNode) -> None:
    node = make_node(edit=with_audit)
    put_policy(node, POLICY + "  resourcez: []\nomitManagedField: true\n")
    node.start()
    node.wait_ready()
    logs = [path.read_text() for path in Path(node.root, "var/log/pods").glob("*/kube-apiserver/0.log")]
    assert (
        "Audit policy contains errors, falling back to lenient decoding: strict decoding error: "
        'unknown field "omitManagedField", unknown field "rules[0].resourcez"'
    ) in logs[0]


def test_crash_loop_backs_off_and_keeps_only_the_last_log(make_node: MakeNode) -> None:
    node = make_node(edit=lambda text: with_audit(text, audit_log_maxsizes="1"), speed=200.0)
    put_policy(node)
    node.start()
    while len(node.events("process-exit")) < 4:
        node.sleep(5)
    starts, ends = node.events("process-start"), node.events("process-exit")
    waits = [start.sim_s - end.sim_s for start, end in zip(starts[1:4], ends, strict=False)]
    assert waits[1] >= timing.BACKOFF_S
    assert waits[2] >= 2 * timing.BACKOFF_S
    assert {start.uid for start in starts} == {starts[0].uid}
    node.sleep(4)
    assert last_line(node, starts[0].uid, 0) == ""


def test_same_bad_content_written_again_inherits_the_backoff(make_node: MakeNode) -> None:
    node = make_node(edit=lambda text: with_audit(text, audit_log_maxsizes="1"), speed=100.0)
    node.start()
    bad = node.manifest.read_text()
    # Five crashes mean 80 s of back-off, longer than the other pod's stay.
    while len(node.events("process-exit")) < 5:
        node.sleep(5)
    first = node.events("process-start")[0].uid
    mark = len(node.events())
    node.manifest.write_text(bad.replace("--audit-log-maxsizes=1", "--audit-log-maxagess=1"))
    assert node.wait_event("process-exit", after=mark).uid != first
    mark = len(node.events())
    node.manifest.write_text(bad)
    # Of the events behind the mark only the last pod's may be this one's; the other's back-off may come first.
    node.wait_event("pod-starting", after=mark)
    node.sleep(5)
    assert first in {event.uid for event in since(node, mark, "back-off")}
    assert first not in {event.uid for event in since(node, mark, "process-start")}


@pytest.mark.parametrize("kind", ["File", "Directory"])
def test_missing_host_path_means_no_process_and_no_log_directory_until_it_appears(
    make_node: MakeNode, kind: str
) -> None:
    node = make_node(edit=lambda text: with_volume(text, "x", "/etc/kubernetes/audit/x", kind=kind))
    node.start()
    refused = node.wait_event("mount-failed")
    assert "hostPath type check failed: /etc/kubernetes/audit/x is not a" in refused.detail
    node.sleep(10)
    assert node.events("process-start") == []
    assert list(Path(node.root, "var/log/pods").iterdir()) == []
    path = Path(node.root, "etc/kubernetes/audit/x")
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "File":
        path.touch()
    else:
        path.mkdir()
    node.wait_ready()


def test_missing_image_leaves_an_empty_log_directory(make_node: MakeNode) -> None:
    node = make_node(missing_images=frozenset({"registry.k8s.io/kube-apiserver:v1.36.3"}))
    node.start()
    node.wait_event("image-missing")
    (directory,) = Path(node.root, "var/log/pods").glob("*/kube-apiserver")
    assert list(directory.iterdir()) == []
    assert since(node, 0, "process-start") == []


def test_log_path_outside_every_mount_is_lost_with_the_container(make_node: MakeNode) -> None:
    node = make_node(edit=lambda text: with_audit(text, audit_log_path="/var/log/elsewhere/audit.log"))
    put_policy(node)
    node.start()
    node.wait_ready()
    assert not Path(node.root, "var/log/elsewhere").exists()
    (layer,) = Path(node.root, "run/sim/containers").glob("*/layer/var/log/elsewhere/audit.log")
    assert layer.stat().st_size > 0


def _without_klog_header(line: str) -> str:
    return re.sub(r"^E\d{4} [\d:.]+ +1 run\.go:72\] ", "", line)
