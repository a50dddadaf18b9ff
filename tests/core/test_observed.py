"""One look at the node: who serves, and is there anything to break."""

import pytest

from kauditd.core.observed import ContainerEnd, EtcdFacts, HealthFacts, PodEvidence
from tests.core.builders import NOW, audited, observed, process


def test_older_of_two_overlapping_servers_serves() -> None:
    old, new = process(900, NOW - 60), audited(7, NOW - 1)
    assert observed(processes=(new, old)).process is old
    assert observed(processes=()).process is None


@pytest.mark.parametrize(
    ("servers", "kubelet", "runs"), [(0, None, False), (1, None, True), (0, NOW - 5, True), (1, NOW - 5, True)]
)
def test_kubelet_or_server_is_something_to_break(servers: int, kubelet: float | None, *, runs: bool) -> None:
    look = observed(processes=(audited(),) * servers, kubelet_started_unix_s=kubelet)
    assert look.anything_runs is runs


@pytest.mark.parametrize(
    ("status", "ready"), [(200, True), (401, True), (403, False), (500, False), (503, False), (None, False)]
)
def test_ready_is_200_or_a_handler_that_refuses_strangers(status: int | None, *, ready: bool) -> None:
    """403 is said on the way up, before the RBAC cache is filled: a server that starts."""
    assert HealthFacts(livez=200, readyz=status).ready is ready


@pytest.mark.parametrize(
    ("line", "blames"),
    [
        ("Error: unknown flag: --audit-log-maxsizes", True),
        ('Error: invalid argument "thirty" for "--audit-log-maxage" flag: strconv.ParseInt: invalid syntax', True),
        ('E1123 run.go:72] "command failed" err="loading audit policy file: failed decoding: yaml: line 4"', True),
        ('E1123 run.go:72] "command failed" err="ensureLogFile: open /var/log/kubernetes/audit: is a directory"', True),
        ('E1123 run.go:72] "command failed" err="--audit-log-maxsize -1 can\'t be a negative number"', True),
        ('E1123 run.go:72] "command failed" err="context deadline exceeded"', False),
        ('E1123 run.go:72] "command failed" err="ensureLogFile: open /data/trail.json: permission denied"', True),
        ("Error: unknown flag: --colour", False),
        ("I1123 audit.go:1] audit backend started", False),
        ("", False),
    ],
)
def test_last_line_of_an_api_server_that_gave_up(line: str, *, blames: bool) -> None:
    """Lines as kube-apiserver v1.37.2 wrote them; a dead etcd is not blamed on the change."""
    assert ContainerEnd(pod_uid="u", attempt=0, last_line=line).blames_audit is blames


def test_last_line_about_etcd() -> None:
    line = 'E1123 18:24:16.8 1 run.go:72] "command failed" err="context deadline exceeded"'
    assert ContainerEnd(pod_uid="u", attempt=0, last_line=line).blames_etcd
    assert not ContainerEnd(pod_uid="u", attempt=0, last_line="Error: unknown flag: --audit-x").blames_etcd


@pytest.mark.parametrize(
    ("facts", "detail", "down"),
    [
        (None, "", False),
        (EtcdFacts(reachable=0, total=0), "", False),
        (EtcdFacts(reachable=0, total=3), "", True),
        (EtcdFacts(reachable=1, total=3), "", False),
        (EtcdFacts(reachable=1, total=1), "/readyz answered 500: etcd, etcd-readiness failed", True),
        (None, "/livez answered 500: etcd failed", True),
        (None, "/readyz answered 500: informer-sync failed", False),
        (None, "cannot ask etcd.example:6443: connection refused", False),
    ],
)
def test_etcd_that_does_not_serve(facts: EtcdFacts | None, detail: str, *, down: bool) -> None:
    health = HealthFacts(livez=200, readyz=500, detail=detail)
    assert observed(etcd=facts, health=health).etcd_down is down
    assert observed(etcd=EtcdFacts(reachable=0, total=1), health=None).etcd_down


def test_empty_log_directory() -> None:
    assert PodEvidence(pod_uid="u").empty
    assert not PodEvidence(pod_uid="u", attempt=0).empty
    assert not PodEvidence().empty
