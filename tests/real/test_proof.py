"""The proof on the real API server: the canary in its file, its counters against its lines, faults told apart."""

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kauditd.core.canary import RANDOM_BYTES, Route, compose
from kauditd.core.counters import Agreed, Counters, CountFacts, CountResult, Mismatch, compare, settle_s
from kauditd.core.desired import desired_state
from kauditd.core.generations import retention_of
from kauditd.core.layout import POLICY_DIR, Layout
from kauditd.core.manifest import edit
from kauditd.core.model import ApiServerProcess
from kauditd.core.policy import parse_policy, publish
from kauditd.core.proof import CanaryFacts, ProofFacts, ProofResult, Proven, Unproven, judge
from kauditd.core.question import Answers, Question
from kauditd.core.settings import default_settings
from kauditd.effects.credentials import find_credentials
from kauditd.effects.logfile import count_lines, find_event, inspect_log, mark
from kauditd.effects.probing import ask_in_child
from kauditd.effects.processes import find_api_servers
from kauditd.effects.profiles import read_profile
from tests.real.cluster import HOST, ApiServer

pytestmark = [pytest.mark.real, pytest.mark.timeout(120, func_only=True)]

SEARCH_S = 2.5


class Prover:
    """A running API server that audits, and the round that a daemon makes."""

    def __init__(self, server: ApiServer, node_root: Path) -> None:
        self.server = server
        self.layout = Layout(str(node_root))
        self.path = default_settings().log.path
        self.log = Path(self.layout.host(self.path))

    @property
    def process(self) -> ApiServerProcess:
        (process,) = find_api_servers(self.layout)
        return process

    def ask(self, **wanted: object) -> Answers:
        made = {"address": HOST, "port": self.server.port, "timeout_s": 5.0, "health": False}
        return asyncio.run(ask_in_child(Question(**{**made, **wanted})))

    def prove(self, *routes: Route, counters: Counters | None = None) -> ProofResult:
        """Ask for each route in turn, look for its event, judge all of it."""
        canaries = []
        for route in routes or (Route.OWN,):
            canary = compose(secrets.token_bytes(RANDOM_BYTES), route=route)
            since = mark(str(self.log))
            answer = self.ask(canary=canary).canary
            assert answer is not None
            deadline_s = time.monotonic() + SEARCH_S
            while True:
                found = find_event(str(self.log), canary, answer, since=since)
                if found is not None or time.monotonic() > deadline_s:
                    break
                time.sleep(0.05)
            canaries.append(CanaryFacts(canary=canary, answer=answer, found=found, searched_s=SEARCH_S))
        process = self.process
        return judge(
            ProofFacts(
                at_unix_s=time.time(),
                process=process,
                desired=desired_state(default_settings(), policy_path=process.flag("audit-policy-file") or ""),
                log=inspect_log(process.pid, self.path, self.layout),
                canaries=tuple(canaries),
                after=counters,
            )
        )

    def compare(self) -> CountResult:
        """Counters, a pause, lines, counters."""
        credentials, process = find_credentials(self.layout), self.process
        assert credentials is not None
        first = self.ask(counters=True, credentials=credentials).counters
        time.sleep(settle_s(process))
        tally = count_lines(
            str(self.log),
            started_unix_s=process.started_unix_s,
            now_unix_s=time.time(),
            retention=retention_of(process),
        )
        second = self.ask(counters=True, credentials=credentials).counters
        assert first is not None
        assert second is not None
        assert first.counters is not None, first.detail
        assert second.counters is not None, second.detail
        life = (process.pid, process.started_unix_s)
        return compare(
            CountFacts(
                before=first.counters,
                tally=tally,
                after=second.counters,
                lifetimes=(life, life),
                settled_s=settle_s(process),
            )
        )


@pytest.fixture
def start(apiserver: ApiServer, node_root: Path, fresh_manifest: bytes) -> Callable[[bytes], Prover]:
    """Publish a policy on the node, turn audit on and start the API server."""

    def started(policy: bytes) -> Prover:
        published = publish(parse_policy(policy, file="policy.yaml"), source="policy.yaml")
        directory = node_root / POLICY_DIR.lstrip("/")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / published.file_name).write_bytes(published.text)
        desired = desired_state(default_settings(), policy_path=f"{POLICY_DIR}/{published.file_name}")
        apiserver.start_and_wait(edit(fresh_manifest, desired).text)
        return Prover(apiserver, node_root)

    return started


def code(result: ProofResult) -> str:
    return result.code if isinstance(result, Unproven) else type(result).__name__


def test_proof_counters_and_faults_of_the_log(start: Callable[[bytes], Prover]) -> None:
    """One API server through its days: well, counted, a foreign line, renamed, put back, deleted."""
    prover = start(read_profile("default"))
    result = prover.prove()

    assert isinstance(result, Proven), result
    evidence = result.evidence
    assert evidence.as_desired
    assert (evidence.stage, evidence.level, evidence.status) == ("ResponseComplete", "Metadata", 403)
    assert evidence.pid == prover.server.pid
    assert evidence.policy_digest
    assert evidence.latency_ms < 5000
    line = prover.log.read_bytes()[evidence.offset_bytes :][: evidence.length_bytes]
    assert evidence.audit_id.encode() in line

    assert isinstance(agreed := prover.compare(), Agreed), agreed
    with prover.log.open("ab") as file:
        file.write(line * 200)
    foreign = prover.compare()
    assert isinstance(foreign, Mismatch), foreign
    assert foreign.code == "lines-foreign"
    assert 100 <= foreign.count <= 200

    aside = prover.log.with_name("audit.log.1")
    prover.log.rename(aside)
    assert code(prover.prove()) == "log-renamed"
    aside.rename(prover.log)
    assert code(prover.prove()) == "Proven"
    prover.log.unlink()
    assert code(prover.prove()) == "log-deleted"
    lost = prover.compare()
    assert isinstance(lost, Mismatch), lost
    assert lost.code == "lines-lost"


def test_a_policy_that_hides_our_path(start: Callable[[bytes], Prover]) -> None:
    prover = start(
        b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n"
        b"- level: None\n  nonResourceURLs: ['/kauditd-canary*']\n- level: Metadata\n"
    )
    hidden = prover.prove()

    assert isinstance(hidden, Unproven)
    assert (hidden.code, hidden.fallback) == ("canary-hidden", Route.VERSION)
    for routes in ((Route.OWN, Route.VERSION), (Route.RESOURCE,)):
        found = prover.prove(*routes)
        assert isinstance(found, Proven), found
        assert found.evidence.status == (200 if routes[-1] is Route.VERSION else 403)


def test_a_policy_that_records_nothing(start: Callable[[bytes], Prover]) -> None:
    """Nothing is ever written, so the log is not even open; only the counters say why."""
    prover = start(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n")
    without = prover.prove(*Route)
    answer = prover.ask(counters=True, credentials=find_credentials(prover.layout)).counters

    assert code(without) == "log-not-open"
    assert answer is not None
    assert answer.counters is not None, answer.detail
    assert answer.counters.events == 0
    assert os.stat(prover.log).st_size == 0
    assert code(prover.prove(*Route, counters=answer.counters)) == "policy-none"
