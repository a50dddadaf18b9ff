"""Every fault on a simulated node at high speed: the readers find the words before the kubelet deletes them, and the
gate says why nothing comes up."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace as altered
from pathlib import Path

import pytest

from kauditd.core.gate import Deadlines, Failed, GateResult, Passed, Waiting, begin, judge
from kauditd.core.layout import Layout
from kauditd.core.model import ApiServerProcess, ManifestView
from kauditd.core.observed import ContainerEnd, Observed
from kauditd.effects.podlogs import read_ends, running_pods
from kauditd.effects.probe import probe
from kauditd.effects.processes import ProcessReader
from kauditd.sim.node import Node
from tests.core.builders import NOTHING, NOW, manifest, view
from tests.sim.conftest import MakeNode
from tests.sim.scenario import put_policy, replace, with_annotation, with_audit, with_flags, with_grace, with_volume
from tests.sim.test_last_words import BAD_MANIFESTS, BAD_POLICIES

pytestmark = pytest.mark.serial

DEADLINES = Deadlines(gate_s=120.0, overlap_s=300.0)

MANIFEST_CODES = {
    "unknown-flag": "unknown-flag",
    "bad-value": "bad-flag-value",
    "negative-size": "negative-value",
    "policy-missing": "policy-missing",
    "policy-not-mounted": "policy-missing",
    "log-read-only": "log-read-only",
    "log-is-a-directory": "log-is-directory",
}
POLICY_CODES = {
    "broken-yaml": "policy-broken-yaml",
    "bad-level": "policy-bad-level",
    "no-rules": "policy-no-rules",
    "empty-file": "policy-empty",
    "v1beta1": "policy-old-version",
    "number-as-string": "policy-broken-yaml",
}


class Watch:
    """The gate of one edit, in simulated seconds since the write."""

    def __init__(self, node: Node, edit: Callable[[str], str]) -> None:
        self.node = node
        self._table = ProcessReader(Layout(node.root))
        self._written_unix_s = time.time()
        self._view: ManifestView = view()
        self.ends: list[ContainerEnd] = []
        self.seconds = 0.0
        self._state = begin(NOW, self._processes())
        replace(node.manifest, edit(node.manifest.read_text()))

    def follow(self, deadlines: Deadlines = DEADLINES, *, until_s: float = 600.0) -> GateResult:
        """Look until the gate has decided, or for ``until_s``."""
        result: GateResult = Waiting(state=self._state, text="")
        while isinstance(result, Waiting) and self.seconds < until_s:
            result = judge(self._state, NOTHING, self._look(), deadlines)
            self._state = result.state
            time.sleep(0.004)
        return result

    def _processes(self) -> tuple[ApiServerProcess, ...]:
        found = self._table.snapshot().api_servers
        return tuple(altered(p, started_unix_s=NOW + self._since_write_s(p.started_unix_s)) for p in found)

    def _since_write_s(self, at_unix_s: float) -> float:
        return (at_unix_s - self._written_unix_s) * self.node.config.speed

    def _look(self) -> Observed:
        processes = self._processes()
        evidence = read_ends(
            Layout(self.node.root),
            namespace="kube-system",
            pod_name_prefix="kube-apiserver",
            running=running_pods(processes),
        )
        if evidence.ended is not None and evidence.ended not in self.ends:
            self.ends.append(evidence.ended)
        if evidence.made_unix_s is not None:
            evidence = altered(evidence, made_unix_s=NOW + self._since_write_s(evidence.made_unix_s))
        health = asyncio.run(probe(self.node.config.address, self.node.port, timeout_s=2.0)) if processes else None
        self.seconds = self._since_write_s(time.time())
        return Observed(
            at_unix_s=NOW + self.seconds,
            manifest=manifest(),
            view=self._view,
            processes=processes,
            kubelet_started_unix_s=NOW - 86400,
            health=health,
            ended=evidence.ended,
            pod_logs=evidence,
        )


def blamed(watch: Watch, code: str) -> None:
    """The gate failed early over its last words, and they mean ``code``."""
    result = watch.follow()
    assert isinstance(result, Failed)
    assert result.code == "audit-blamed"
    last = watch.ends[-1]
    assert last.words.code == code
    assert last.words.sentence in result.text
    assert result.remedy == last.words.remedy
    assert result.blames_target


@pytest.mark.parametrize("fault", MANIFEST_CODES)
def test_bad_manifest(node: Node, fault: str) -> None:
    put_policy(node)
    blamed(Watch(node, BAD_MANIFESTS[fault][0]), MANIFEST_CODES[fault])


@pytest.mark.parametrize("fault", POLICY_CODES)
def test_bad_policy(node: Node, fault: str) -> None:
    put_policy(node, BAD_POLICIES[fault][0])
    blamed(Watch(node, with_audit), POLICY_CODES[fault])


def test_good_edit_passes_and_the_old_server_is_no_crash(node: Node) -> None:
    put_policy(node)
    watch = Watch(node, with_audit)
    result = watch.follow()
    assert isinstance(result, Passed)
    assert result.proven
    assert not [end for end in watch.ends if end.blames_audit or end.blames_etcd]


def test_foreign_flag_is_a_crash_loop_with_its_words(node: Node) -> None:
    result = Watch(node, lambda text: with_flags(text, {"colour": "red"})).follow()
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert "--colour" in result.text


def test_port_in_use(node: Node) -> None:
    with closing(socket.socket()) as other:
        other.bind((node.config.address, 0))
        other.listen()
        port = str(other.getsockname()[1])
        result = Watch(node, lambda text: text.replace(f"secure-port={node.port}", f"secure-port={port}")).follow()
    assert isinstance(result, Failed)
    assert result.code == "crash-loop"
    assert f"another process already listens on {node.config.address}:{port}" in result.text


def test_hostpath_of_another_type(node: Node) -> None:
    watch = Watch(node, lambda text: with_volume(text, "x", "/etc/kubernetes/audit/x", kind="File"))
    result = watch.follow()
    assert isinstance(result, Failed)
    assert result.code == "hostpath-mismatch"
    assert watch.seconds < DEADLINES.gate_s


def test_image_missing(make_node: MakeNode) -> None:
    node = make_node(missing_images=frozenset({"registry.k8s.io/kube-apiserver:v9.9.9"}))
    node.start()
    node.wait_ready()
    watch = Watch(node, lambda text: text.replace("kube-apiserver:v1.36.3", "kube-apiserver:v9.9.9"))
    result = watch.follow()
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("image-missing", False)
    assert watch.seconds < DEADLINES.gate_s


def test_etcd_is_down_and_comes_back(node: Node) -> None:
    fault = Path(node.root, "run/sim/faults/etcd-down")
    fault.touch()
    watch = Watch(node, lambda text: with_annotation(text, "etcd"))
    waiting = watch.follow(Deadlines(gate_s=40.0, overlap_s=300.0), until_s=100.0)
    assert isinstance(waiting, Waiting)
    assert "etcd" in waiting.text
    fault.unlink()
    assert isinstance(watch.follow(Deadlines(gate_s=40.0, overlap_s=300.0)), Passed)


def test_etcd_stays_down(node: Node) -> None:
    Path(node.root, "run/sim/faults/etcd-down").touch()
    watch = Watch(node, lambda text: with_annotation(text, "etcd"))
    result = watch.follow(Deadlines(gate_s=40.0, overlap_s=60.0))
    assert isinstance(result, Failed)
    assert (result.code, result.blames_target) == ("etcd-down", False)


def test_every_end_of_a_crash_loop_has_its_words(make_node: MakeNode) -> None:
    """The kubelet deletes the log of attempt N-1 0.8 s (here: 10 ms) after attempt N ended."""
    node = make_node(edit=lambda text: with_audit(with_grace(text), audit_log_maxsizes="1"))
    node.start()
    words: dict[int, set[str]] = {}
    deadline = time.monotonic() + 20.0
    while len(words) < 4 and time.monotonic() < deadline:
        ended = read_ends(
            Layout(node.root), namespace="kube-system", pod_name_prefix="kube-apiserver", running=frozenset()
        ).ended
        if ended is not None:
            words.setdefault(ended.attempt, set()).add(ended.words.code)
    assert sorted(words) == [0, 1, 2, 3]
    assert all("unknown-flag" in codes for codes in words.values())
    assert set().union(*words.values()) <= {"unknown-flag", "silent"}
