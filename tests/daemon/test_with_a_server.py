"""One cycle on a node with a kubelet and an API server (simulated), and the looks at it afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from kauditd.daemon.assess import main
from kauditd.sim.kubelet import NodeConfig
from kauditd.sim.node import Node
from tests.daemon.process import has_flags, journal, run
from tests.sim.scenario import with_grace

pytestmark = pytest.mark.serial


@pytest.fixture
def node(short_tmp: Path) -> Iterator[Node]:
    made = Node(NodeConfig(root=str(short_tmp), speed=80.0))
    made.prepare()
    made.manifest.write_text(with_grace(made.manifest.read_text()))
    Path(made.root, "etc/kauditd/kauditd.yaml").write_text("target:\n  kubelet_stable_s: 0\n")
    with made:
        made.wait_ready()
        yield made


def _log(node: Node) -> str:
    return Path(node.root, "var/log/kubernetes/audit/audit.log").read_text()


def test_once_turns_audit_on_proves_it_and_answers_yes(node: Node, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--root", node.root]) == 1
    assert main(["diff", "--root", node.root]) == 1

    done = run("kauditd", "--once", "--root", node.root)
    assert done.returncode == 0, done.stderr
    assert has_flags(node.manifest.read_bytes())
    outcomes = [r["outcome"] for r in journal(Path(node.root)) if r["type"] == "outcome"]
    assert outcomes == ["proven"]

    capsys.readouterr()
    assert main(["check", "--root", node.root, "--format", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["verdict"] == "protected"
    assert "audit-proven" in {r["code"] for r in shown["reasons"]}
    canaries = [line for line in _log(node).splitlines() if '"requestURI":"/kauditd-canary' in line]
    known = len(canaries)
    assert known >= 2, "one of the gate, one of the look"
    log_text = _log(node)
    assert main(["check", "--root", node.root]) == 0
    assert _log(node).startswith(log_text)
    assert len([line for line in _log(node).splitlines() if '"requestURI":"/kauditd-canary' in line]) > known
    assert main(["diff", "--root", node.root]) == 0
    again = run("kauditd", "--once", "--root", node.root)
    assert again.returncode == 0, again.stderr
    assert [r["outcome"] for r in journal(Path(node.root)) if r["type"] == "outcome"] == outcomes
