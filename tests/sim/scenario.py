"""Edits of a manifest and questions about a node's record, shared by the scenario tests."""

import os
from pathlib import Path

from kauditd.sim.journal import NodeEvent
from kauditd.sim.node import Node

POLICY = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
LOG_PATH = "/var/log/kubernetes/audit/audit.log"
POLICY_PATH = "/etc/kubernetes/audit/policy.yaml"
AUDIT_FLAGS = {
    "audit-log-maxage": "30",
    "audit-log-maxbackup": "10",
    "audit-log-maxsize": "100",
    "audit-log-path": LOG_PATH,
    "audit-policy-file": POLICY_PATH,
}


def with_grace(text: str) -> str:
    """terminationGracePeriodSeconds 3, as in the recordings."""
    return text.replace("spec:\n", "spec:\n  terminationGracePeriodSeconds: 3\n", 1)


def with_annotation(text: str, value: str) -> str:
    """Another Pod in one annotation."""
    return text.replace("  annotations:\n", f"  annotations:\n    example.com/edit: '{value}'\n", 1)


def with_flags(text: str, flags: dict[str, str]) -> str:
    """Flags appended to the command."""
    lines = "".join(f"    - --{name}={value}\n" for name, value in flags.items())
    return text.replace("    image: ", f"{lines}    image: ", 1)


def with_volume(text: str, name: str, path: str, *, kind: str = "DirectoryOrCreate", read_only: bool = False) -> str:
    """A hostPath volume mounted at its own path."""
    mount = f"    - mountPath: {path}\n      name: {name}\n" + ("      readOnly: true\n" if read_only else "")
    volume = f"  - hostPath:\n      path: {path}\n      type: {kind}\n    name: {name}\n"
    text = text.replace("    volumeMounts:\n", f"    volumeMounts:\n{mount}", 1)
    return text.replace("  volumes:\n", f"  volumes:\n{volume}", 1)


def with_audit(text: str, **flags: str) -> str:
    """Audit on: flags (underscores for dashes override the usual ones), log directory and policy directory."""
    wanted = AUDIT_FLAGS | {name.replace("_", "-"): value for name, value in flags.items()}
    text = with_volume(with_flags(text, wanted), "audit-log", os.path.dirname(LOG_PATH))
    return with_volume(text, "audit-policy", os.path.dirname(POLICY_PATH), read_only=True)


def put_policy(node: Node, text: str = POLICY) -> None:
    """The policy file on the node."""
    path = Path(node.root + POLICY_PATH)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def replace(path: Path, text: str) -> None:
    """A dot-named temporary file, renamed over the target."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text)
    temporary.rename(path)


def since(node: Node, mark: int, name: str) -> list[NodeEvent]:
    """Events of one kind behind the first ``mark`` lines of the record."""
    return [event for event in node.events()[mark:] if event.event == name]


def wait_restart(node: Node, mark: int) -> NodeEvent:
    """Until the process that was started behind ``mark`` is ready; its start."""
    started = node.wait_event("process-start", after=mark)
    node.wait_ready()
    return started


def last_line(node: Node, uid: str, attempt: int) -> str:
    """The last line of one container's log, without the CRI prefix; "" where the kubelet has deleted the log."""
    name = f"kube-system_kube-apiserver-{node.config.node_name}_{uid}"
    path = Path(node.root, "var/log/pods", name, "kube-apiserver", f"{attempt}.log")
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return ""
    return lines[-1].split(" ", 3)[3] if lines else ""
