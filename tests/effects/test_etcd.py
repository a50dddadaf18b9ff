"""Endpoints of etcd that are there, that refuse, and that stay silent."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kauditd.core.etcd import Endpoint
from kauditd.core.layout import Layout
from kauditd.core.observed import EtcdFacts
from kauditd.effects.etcd import reach_etcd


def reach(*endpoints: Endpoint, root: str = "", timeout_s: float = 1.0) -> EtcdFacts:
    return asyncio.run(reach_etcd(Layout(root), endpoints, timeout_s=timeout_s))


@pytest.fixture(name="listening", params=["127.0.0.1", "::1"])
def _listening(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with closing(socket.socket(family)) as server:
        try:
            server.bind((request.param, 0))
        except OSError:
            pytest.skip(f"this machine has no {request.param}")
        server.listen()
        yield Endpoint(host=request.param, port=server.getsockname()[1])


@pytest.fixture(name="refusing")
def _refusing() -> Iterator[Endpoint]:
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))  # bound and not listening: the kernel refuses, and nobody else gets the port
        yield Endpoint(host="127.0.0.1", port=bound.getsockname()[1])


def test_etcd_that_listens(listening: Endpoint) -> None:
    assert reach(listening) == EtcdFacts(reachable=1, total=1)


def test_etcd_that_is_gone(refusing: Endpoint) -> None:
    facts = reach(refusing)
    assert (facts.reachable, facts.total, facts.down) == (0, 1, True)
    assert facts.detail == f"127.0.0.1:{refusing.port}: connection refused"


def test_one_of_two_is_gone(listening: Endpoint, refusing: Endpoint) -> None:
    facts = reach(refusing, listening)
    assert (facts.reachable, facts.total, facts.down) == (1, 2, False)
    assert str(refusing) in facts.detail


def test_host_that_stays_silent_is_bounded() -> None:
    """A full accept queue: the kernel answers no more handshakes."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        endpoint = Endpoint(host="127.0.0.1", port=server.getsockname()[1])
        with closing(socket.create_connection(server.getsockname())):
            start = time.monotonic()
            facts = reach(*[endpoint] * 5, timeout_s=0.2)
            assert time.monotonic() - start < 2.0
    assert facts.reachable < facts.total
    assert "no connection within 0.2 s" in facts.detail


def test_name_that_does_not_resolve() -> None:
    facts = reach(Endpoint(host="etcd.invalid"), Endpoint(host="x" * 70), Endpoint(host="a..b"), timeout_s=5.0)
    assert (facts.reachable, facts.total) == (0, 3)
    assert "etcd.invalid:2379: " in facts.detail


def test_socket_below_the_root(short_tmp: Path) -> None:
    with closing(socket.socket(socket.AF_UNIX)) as server:
        server.bind(str(short_tmp / "e.sock"))
        server.listen()
        facts = reach(Endpoint(path="/e.sock"), Endpoint(path="/gone.sock"), root=str(short_tmp))
    assert (facts.reachable, facts.total) == (1, 2)
    assert facts.detail == "/gone.sock: no such file or directory"


def test_no_endpoint_is_known() -> None:
    assert reach() == EtcdFacts(reachable=0, total=0)


def test_endless_list_is_cut(refusing: Endpoint) -> None:
    assert reach(*[refusing] * 200).total == 16
