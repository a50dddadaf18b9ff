"""Whole rounds on a simulated node: mark, ask, look, find, count, judge, with faults made in between."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kauditd.core.canary import RANDOM_BYTES, Canary, Found, Route, compose
from kauditd.core.counters import Agreed, CountFacts, CountResult, Mismatch, compare
from kauditd.core.generations import Retention
from kauditd.core.layout import Layout
from kauditd.core.model import Desired
from kauditd.core.proof import CanaryFacts, Held, ProofFacts, ProofResult, Proven, Unproven, judge
from kauditd.core.question import Answers, Question
from kauditd.effects.logfile import begin_count, count_lines, count_more, find_event, inspect_log, mark
from kauditd.effects.probing import ask_in_child
from kauditd.effects.processes import find_api_servers
from kauditd.sim.kubelet import NodeConfig
from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.node import Node, free_port
from tests.sim.scenario import LOG_PATH, POLICY, put_policy, with_audit, with_grace


def fresh(route: Route = Route.OWN) -> Canary:
    return compose(secrets.token_bytes(RANDOM_BYTES), route=route)


@pytest.fixture(name="make_node")
def _make_node(short_tmp: Path) -> Iterator[Callable[..., Node]]:
    made: list[Node] = []

    def make(edit: Callable[[str], str] = with_audit, policy: str = POLICY, *, until_ready: bool = True) -> Node:
        config = NodeConfig(root=str(short_tmp), speed=40.0)
        node = Node(config, port=free_port(config.address), own_process=False)
        node.manifest.parent.mkdir(parents=True, exist_ok=True)
        text = kubeadm_manifest(
            "v1.36.3", address=config.address, port=node.port, etcd_port=node.config.etcd_port
        ).decode()
        node.manifest.write_text(edit(with_grace(text)))
        put_policy(node, policy)
        made.append(node)
        node.start()
        if until_ready:
            node.wait_ready()
        return node

    yield make
    for node in made:
        node.stop()


class Prover:
    """The round that a daemon makes, with the parts under test."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.layout = Layout(node.root)
        self.host = f"{node.root}{LOG_PATH}"

    def prove(self, route: Route = Route.OWN, *, spoil: Callable[[], object] = lambda: None) -> ProofResult:
        """Mark, ask, let ``spoil`` happen, look, judge."""
        (process,) = find_api_servers(self.layout)
        canary = fresh(route)
        since = mark(self.host)
        question = Question(address=self.node.config.address, port=self.node.port, timeout_s=5, canary=canary)
        answer = asyncio.run(ask_in_child(question)).canary
        assert answer is not None
        spoil()
        facts = inspect_log(process.pid, LOG_PATH, self.layout)
        found: Found | None = find_event(facts.seen_path, canary, answer, since=since)
        asked_facts = CanaryFacts(canary=canary, answer=answer, found=found, searched_s=2.0)
        return judge(
            ProofFacts(
                at_unix_s=time.time(),
                process=process,
                desired=Desired(flags=(), mounts=()),
                log=facts,
                canaries=(asked_facts,),
            )
        )


def code(result: ProofResult) -> str:
    return result.code if isinstance(result, Unproven) else type(result).__name__


@pytest.mark.serial
def test_a_node_that_audits_is_proven(make_node: Callable[..., Node]) -> None:
    node = make_node()
    prover = Prover(node)
    result = prover.prove()

    assert isinstance(result, Proven)
    evidence = result.evidence
    assert evidence.pid == node.pid
    assert (evidence.stage, evidence.status) == ("ResponseComplete", 403)
    line = Path(prover.host).read_bytes()[evidence.offset_bytes :][: evidence.length_bytes]
    assert evidence.audit_id.encode() in line
    assert line.endswith(b"\n")
    assert (evidence.device, evidence.inode) == (Path(prover.host).stat().st_dev, Path(prover.host).stat().st_ino)


@pytest.mark.serial
def test_faults_of_the_log_while_the_node_runs(make_node: Callable[..., Node]) -> None:
    node = make_node()
    prover = Prover(node)
    log = Path(prover.host)
    assert code(prover.prove()) == "Proven"

    aside = log.with_name("audit.log.1")
    log.rename(aside)
    assert code(prover.prove()) == "log-renamed"
    aside.rename(log)
    assert code(prover.prove()) == "Proven"
    log.unlink()
    assert code(prover.prove()) == "log-deleted"
    log.touch()
    assert code(prover.prove()) == "log-deleted"


@pytest.mark.serial
def test_a_log_that_no_mount_covers_is_in_the_container(make_node: Callable[..., Node]) -> None:
    def without_mount(text: str) -> str:
        whole = with_audit(text)
        mount = f"    - mountPath: {os.path.dirname(LOG_PATH)}\n      name: audit-log\n"
        assert mount in whole
        return whole.replace(mount, "")

    prover = Prover(make_node(without_mount))

    assert code(prover.prove()) == "log-in-container"


@pytest.mark.serial
def test_a_policy_that_hides_our_path_is_proven_by_another_request(make_node: Callable[..., Node]) -> None:
    hidden = "- level: None\n  nonResourceURLs: ['*']\n"
    hiding = POLICY.replace("- level", f"{hidden}- level")
    prover = Prover(make_node(policy=hiding))
    first = prover.prove()

    assert isinstance(first, Unproven)
    assert (first.code, first.fallback) == ("canary-hidden", Route.VERSION)
    assert code(prover.prove(Route.VERSION)) == "canary-hidden"
    result = prover.prove(Route.RESOURCE)
    assert isinstance(result, Proven)
    assert result.evidence.uri.startswith("/api/v1/namespaces/default/secrets/kauditd-canary?n=")


@pytest.mark.serial
@pytest.mark.parametrize(
    ("flags", "expected"), [({"audit_log_path": "-"}, "log-stdout"), ({"audit_policy_file": ""}, "policy-missing-flag")]
)
def test_flags_that_rule_a_proof_out(make_node: Callable[..., Node], flags: dict[str, str], expected: str) -> None:
    prover = Prover(make_node(lambda text: with_audit(text, **flags)))

    assert code(prover.prove()) == expected


@pytest.mark.serial
def test_anonymous_requests_switched_off_still_leave_an_event(make_node: Callable[..., Node]) -> None:
    def closed(text: str) -> str:
        return with_audit(text, anonymous_auth="false")

    node = make_node(closed, until_ready=False)  # to a client without credentials it never is
    node.wait_event("mirror-pod")
    result = Prover(node).prove()

    assert isinstance(result, Proven)
    assert (result.evidence.stage, result.evidence.status) == ("ResponseStarted", 401)


def read_counters(node: Node) -> Answers:
    return asyncio.run(
        ask_in_child(Question(address=node.config.address, port=node.port, timeout_s=5, health=False, counters=True))
    )


@pytest.mark.serial
def test_lines_and_counters_of_a_node(make_node: Callable[..., Node]) -> None:
    """Nothing lost; then a line of somebody else; then the log emptied."""
    node = make_node()
    host = f"{node.root}{LOG_PATH}"
    (process,) = find_api_servers(Layout(node.root))
    life = (process.pid, process.started_unix_s)

    def compared(*, spoil: Callable[[], object] = lambda: None) -> CountResult:
        spoil()
        before = read_counters(node).counters
        tally = count_lines(
            host, started_unix_s=process.started_unix_s, now_unix_s=time.time(), retention=Retention(max_backups=10)
        )
        after = read_counters(node).counters
        assert before is not None
        assert after is not None
        assert before.counters is not None
        assert after.counters is not None
        return compare(
            CountFacts(before=before.counters, tally=tally, after=after.counters, lifetimes=(life, life), settled_s=2.0)
        )

    for index in range(5):
        node.get(f"/nowhere/{index}")
    assert isinstance(compared(), Agreed)

    def inject() -> None:
        with open(host, "ab") as file:
            file.write(Path(host).read_bytes().splitlines(keepends=True)[-1] * 10)

    foreign = compared(spoil=inject)
    assert isinstance(foreign, Mismatch)
    assert foreign.code == "lines-foreign"
    assert 5 <= foreign.count <= 10

    lost = compared(spoil=lambda: os.truncate(host, 0))
    assert isinstance(lost, Mismatch)
    assert lost.code == "lines-lost"


@pytest.mark.serial
def test_a_count_begun_at_a_known_place_goes_on(make_node: Callable[..., Node]) -> None:
    node = make_node()
    host = f"{node.root}{LOG_PATH}"
    tally = begin_count(host)
    for index in range(3):
        node.get(f"/nowhere/{index}")
    more = count_more(host, tally)

    assert more.complete
    assert more.low == more.high
    assert more.low >= 6, "two stages of each of three requests"
    assert inspect_log(node.pid, LOG_PATH, Layout(node.root)).held is Held.OPEN
