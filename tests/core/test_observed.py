"""One look at the node: who serves, and is there anything to break."""

import pytest

from kauditd.core.observed import ContainerEnd, HealthFacts
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
        ("Error: unknown flag: --colour", False),
        ("I1123 audit.go:1] audit backend started", False),
        ("", False),
    ],
)
def test_last_line_of_an_api_server_that_gave_up(line: str, *, blames: bool) -> None:
    """Lines as kube-apiserver v1.37.2 wrote them; a dead etcd is not blamed on the change."""
    assert ContainerEnd(pod_uid="u", attempt=0, last_line=line).blames_audit is blames
