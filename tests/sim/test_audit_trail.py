"""The stand-in's audit trail: which lines stand in the file, in which form, and which counters go with them."""

import json
import re
from pathlib import Path

import pytest

from kauditd.sim.node import Node
from tests.daemon.process import wait_until
from tests.sim.conftest import MakeNode
from tests.sim.scenario import LOG_PATH, POLICY, put_policy, replace, wait_restart, with_annotation, with_audit

pytestmark = pytest.mark.serial

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
# As recorded from kube-apiserver v1.37.2 but for address, user agent and times.
CANARY_LINES = (
    (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"canary-0001",'
        '"stage":"RequestReceived","requestURI":"/kauditd-canary","verb":"get","user":{"username":"system:anonymous",'
        '"groups":["system:unauthenticated"]},"sourceIPs":["127.0.0.1"],"requestReceivedTimestamp":"TIME",'
        '"stageTimestamp":"TIME"}'
    ),
    (
        '{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"canary-0001",'
        '"stage":"ResponseComplete","requestURI":"/kauditd-canary","verb":"get","user":{"username":"system:anonymous",'
        '"groups":["system:unauthenticated"]},"sourceIPs":["127.0.0.1"],"responseStatus":{"metadata":{},'
        '"status":"Failure","message":"forbidden: User \\"system:anonymous\\" cannot get path \\"/kauditd-canary\\"",'
        '"reason":"Forbidden","details":{},"code":403},"requestReceivedTimestamp":"TIME","stageTimestamp":"TIME",'
        '"annotations":{"authorization.k8s.io/decision":"forbid","authorization.k8s.io/reason":""}}'
    ),
)


@pytest.fixture
def audited(make_node: MakeNode) -> Node:
    node = make_node(edit=with_audit)
    put_policy(node)
    node.start()
    node.wait_ready()
    return node


def lines_of(node: Node) -> list[str]:
    return Path(node.root + LOG_PATH).read_text().splitlines()


def test_canary_is_in_the_file_when_its_answer_was_read(audited: Node) -> None:
    status, body = audited.get("/kauditd-canary", headers={"Audit-ID": "canary-0001"})
    found = [re.sub(TIME, "TIME", line) for line in lines_of(audited) if "canary-0001" in line]
    assert status == 403
    assert json.loads(body)["reason"] == "Forbidden"
    assert tuple(found) == CANARY_LINES


def test_counters_add_up_to_the_lines(audited: Node) -> None:
    for index in range(5):
        audited.get(f"/nowhere/{index}")
    text = audited.get("/metrics")[1]
    found = re.search(r"^apiserver_audit_event_total (\d+)$", text, re.MULTILINE)
    assert found is not None
    # The answer shows the counter before its own ResponseComplete.
    assert int(found.group(1)) == len(lines_of(audited)) - 1
    assert "apiserver_audit_error_total" not in text


def test_log_file_is_private_and_held_open(audited: Node) -> None:
    path = Path(audited.root + LOG_PATH)
    held = {entry.resolve() for entry in Path(f"/proc/{audited.pid}/fd").iterdir()}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.resolve() in held


def test_process_looks_like_an_api_server_of_this_root(audited: Node) -> None:
    argv = Path(f"/proc/{audited.pid}/cmdline").read_bytes().split(b"\0")[:-1]
    assert argv[0] == b"kube-apiserver"
    assert argv[1] == f"{audited.root}/run/sim/kube-apiserver.py".encode()
    assert f"--audit-log-path={LOG_PATH}".encode() in argv
    assert Path(f"/proc/{audited.pid}/comm").read_text() == "kube-apiserver\n"


def test_without_a_policy_the_file_is_made_and_stays_empty(make_node: MakeNode) -> None:
    node = make_node(
        edit=lambda text: with_audit(text).replace(
            "    - --audit-policy-file=" + "/etc/kubernetes/audit/policy.yaml\n", ""
        )
    )
    node.start()
    node.wait_ready()
    node.get("/nowhere")
    assert Path(node.root + LOG_PATH).stat().st_size == 0
    assert "apiserver_audit_event_total 0" in node.get("/metrics")[1]


def test_policy_is_read_once_at_start(audited: Node) -> None:
    put_policy(audited, POLICY.replace("Metadata", "None"))
    audited.get("/kauditd-canary", headers={"Audit-ID": "after-the-edit"})
    assert any("after-the-edit" in line for line in lines_of(audited))


def test_watch_killed_at_a_restart_has_no_final_event(audited: Node) -> None:
    mark = len(audited.events())
    while not any('"stage":"ResponseStarted"' in line for line in lines_of(audited)):
        audited.sleep(0.5)
    replace(audited.manifest, with_annotation(audited.manifest.read_text(), "1"))
    audited.wait_event("process-exit", after=mark)
    stages = [json.loads(line)["stage"] for line in lines_of(audited) if '"verb":"watch"' in line]
    assert stages == ["RequestReceived", "ResponseStarted"]


def test_failed_authentication_has_a_response_started_only(audited: Node) -> None:
    status, _ = audited.get("/api/v1/pods", headers={"Audit-ID": "wrong-token", "Authorization": "Bearer nobody"})
    events = [json.loads(line) for line in lines_of(audited) if "wrong-token" in line]
    assert status == 401
    assert [(event["stage"], event["user"]) for event in events] == [("ResponseStarted", {})]


def test_request_level_keeps_the_body_of_a_write_and_not_in_request_received(make_node: MakeNode) -> None:
    node = make_node(edit=with_audit)
    put_policy(node, POLICY.replace("Metadata", "Request"))
    node.start()
    node.wait_ready()
    body = b'{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a<b>&c"}}'
    headers = {"Authorization": "Bearer simulated-admin", "Audit-ID": "write"}
    assert node.get("/api/v1/namespaces/default/configmaps", headers=headers, method="POST", body=body)[0] == 201
    received, complete = [line for line in lines_of(node) if '"auditID":"write"' in line]
    assert "requestObject" not in received
    assert '"name":"a\\u003cb\\u003e\\u0026c"' in complete
    assert '"objectRef":{"resource":"configmaps","namespace":"default","apiVersion":"v1"}' in complete
    assert "responseObject" not in complete


def test_event_longer_than_a_whole_file_is_lost_counted_and_printed(make_node: MakeNode) -> None:
    node = make_node(edit=lambda text: with_audit(text, audit_log_maxsize="1"))
    put_policy(node, POLICY.replace("Metadata", "Request"))
    node.start()
    node.wait_ready()
    body = json.dumps({"kind": "ConfigMap", "data": {"x": "y" * 1_200_000}}).encode()
    headers = {"Authorization": "Bearer simulated-admin", "Audit-ID": "too-large"}
    assert node.get("/api/v1/namespaces/default/configmaps", headers=headers, method="POST", body=body)[0] == 201
    stages = [json.loads(line)["stage"] for line in lines_of(node) if "too-large" in line]
    assert stages == ["RequestReceived"]
    assert 'apiserver_audit_error_total{plugin="log"} 1' in node.get("/metrics")[1]
    (log,) = Path(node.root, "var/log/pods").glob("*/kube-apiserver/0.log")
    # The container's output reaches the pod's log beside the answer, not before it.
    wait_until(lambda: 'AUDIT: id="too-large"' in log.read_text(), what="the event printed to the container's output")
    assert "Error in audit plugin 'log' affecting 1 audit events" in log.read_text()
    assert 'AUDIT: id="too-large" stage="ResponseComplete"' in log.read_text()


def test_etcd_fault_shows_in_readyz_and_ends_with_it(audited: Node) -> None:
    fault = Path(audited.root, "run/sim/faults/etcd-down")
    fault.touch()
    status, body = audited.get("/readyz")
    assert status == 500
    assert "[-]etcd failed: reason withheld" in body
    fault.unlink()
    assert audited.get("/readyz")[0] == 200


def test_starting_server_answers_403_then_500_then_200(make_node: MakeNode) -> None:
    node = make_node(edit=str, speed=4.0)
    node.start()
    seen: list[int] = []
    while 200 not in seen:
        status = node.get("/readyz")[0]
        if status and status not in seen:
            seen.append(status)
    assert seen == [403, 500, 200]


def test_restart_appends_to_the_same_file(audited: Node) -> None:
    audited.get("/nowhere", headers={"Audit-ID": "before-the-restart"})
    inode, mark = Path(audited.root + LOG_PATH).stat().st_ino, len(audited.events())
    replace(audited.manifest, with_annotation(audited.manifest.read_text(), "1"))
    wait_restart(audited, mark)
    assert Path(audited.root + LOG_PATH).stat().st_ino == inode
    assert any("before-the-restart" in line for line in lines_of(audited))
