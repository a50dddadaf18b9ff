"""Bounds on time and number: clients that drip, flood, wait for ever, go away, or do not read."""

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kauditd.api.access import Peer, Role
from kauditd.api.limits import Limits
from kauditd.api.slots import Slots
from kauditd.core.model import Outcome, Verdict
from tests.api.fake import FakeBackend, dial, fork, make_change, make_snapshot, parse, read_all, request, serving

SHORT = Limits(request_s=0.4)
ADMIN = Peer(uid=0, gid=0)
READER = Peer(uid=9, gid=7)
HEAD = b"GET /v1/status HTTP/1.1\r\nHost: kauditd\r\n\r\n"


def test_the_bounds_are_those_that_users_were_told() -> None:
    limits = Limits()

    assert (limits.body_bytes, limits.request_s, limits.connections, limits.wait_s) == (16_384, 5.0, 32, 600)
    assert 0 < limits.admin_connections < limits.connections
    assert limits.waits < limits.connections - limits.admin_connections, "waits alone cannot fill the house"


class Turnstile:
    """Says that everybody is ``peer``, which a test changes between two requests."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def __call__(self, connection: socket.socket) -> Peer:
        return self.peer


def seconds_until_cut(connection: socket.socket, drip: bytes) -> float:
    """Sends one byte at a time until the other side ends the connection."""
    start_s = time.monotonic()
    connection.settimeout(0.05)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for byte in drip:
            connection.sendall(bytes([byte]))
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    break
    return time.monotonic() - start_s


@pytest.mark.parametrize(
    "drip",
    [
        pytest.param(b"GET /v1/status HTTP/1.1\r\nX: " + b"a" * 500, id="header-drip"),
        pytest.param(b"\r\n" * 250, id="blank-line-drip"),
    ],
)
def test_a_client_that_drips_its_header_is_cut(path: Path, drip: bytes) -> None:
    with serving(path, FakeBackend(), limits=SHORT), dial(path) as connection:
        took_s = seconds_until_cut(connection, drip)

    assert 0.3 <= took_s <= 2


def test_a_client_that_drips_its_body_is_cut(path: Path) -> None:
    with serving(path, backend := FakeBackend(), limits=SHORT), dial(path) as connection:
        connection.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: kauditd\r\nContent-Length: 500\r\n\r\n")
        took_s = seconds_until_cut(connection, b" " * 500)

    assert took_s <= 2
    assert not backend.calls


def test_a_client_that_says_nothing_is_cut(path: Path) -> None:
    with serving(path, FakeBackend(), limits=SHORT), dial(path) as connection:
        start_s = time.monotonic()
        assert read_all(connection) == b""

    assert 0.3 <= time.monotonic() - start_s <= 2


def test_a_client_that_does_not_read_is_cut(path: Path) -> None:
    """The reply is larger than any socket buffer, so the server has to wait for a reader that never comes."""
    snapshot = make_snapshot()
    backend = FakeBackend(current=snapshot)
    backend.publish(counters={f"counter_{number}_total": number for number in range(60_000)})
    with serving(path, backend, limits=SHORT), dial(path) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        connection.sendall(HEAD)
        time.sleep(1.2)
        received = read_all(connection)

    assert len(received) < 1_000_000


def test_an_idle_connection_is_not_kept_after_the_answer(path: Path) -> None:
    with serving(path, FakeBackend()), dial(path, timeout_s=2) as connection:
        connection.sendall(b"GET /v1/status HTTP/1.1\r\nHost: kauditd\r\nConnection: keep-alive\r\n\r\n")
        answer = parse(read_all(connection))

    assert answer.status == 200


def test_a_client_that_closes_its_own_side_still_gets_its_answer(path: Path) -> None:
    """What socat does, and ``nc -N``."""
    with serving(path, FakeBackend()), dial(path) as connection:
        connection.sendall(HEAD)
        connection.shutdown(socket.SHUT_WR)
        answer = parse(read_all(connection))

    assert answer.status == 200


def test_a_client_that_closes_its_own_side_before_it_asks_frees_its_place(path: Path) -> None:
    with serving(path, FakeBackend(), limits=Limits(request_s=20)), dial(path, timeout_s=2) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert read_all(connection) == b""


@contextlib.contextmanager
def idle(path: Path, count: int) -> Iterator[list[socket.socket]]:
    """Connections that say nothing."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(dial(path)) for _ in range(count)]


def settle(path: Path, wanted: int) -> None:
    """Waits until ``path`` answers with ``wanted``."""
    for _attempt in range(100):
        if request(path, "GET", "/v1/version").status == wanted:
            return
        time.sleep(0.02)
    pytest.fail(f"no answer {wanted}")


def test_the_thirty_third_connection_is_refused_at_once(path: Path) -> None:
    with serving(path, FakeBackend(), reader=lambda _socket: ADMIN):
        with idle(path, 32):
            start_s = time.monotonic()
            answer = request(path, "GET", "/v1/version")
            took_s = time.monotonic() - start_s
        settle(path, 200)

    assert answer.status == 503
    assert answer.result()["kind"] == "unavailable"
    assert took_s < 1


def test_members_of_the_group_cannot_lock_root_out(path: Path) -> None:
    turnstile = Turnstile(READER)
    with serving(path, FakeBackend(), group_id=7, reader=turnstile), idle(path, 40):
        assert request(path, "GET", "/v1/version").status == 503
        turnstile.peer = ADMIN
        assert request(path, "GET", "/v1/version").status == 200
        assert request(path, "POST", "/v1/apply").status == 200


def test_slots_keep_some_for_root_and_never_go_below_zero() -> None:
    slots = Slots(total=3, reserved=1)

    assert [slots.take(Role.READER) for _ in range(3)] == [True, True, False]
    assert not slots.take(Role.NOBODY)
    assert [slots.take(Role.ADMIN) for _ in range(2)] == [True, False]
    slots.give_back(Role.READER)
    assert slots.take(Role.ADMIN)
    assert not slots.take(Role.READER)


def test_a_long_poll_outlives_the_request_deadline(path: Path) -> None:
    backend = FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))
    with serving(path, backend, limits=SHORT):
        timer = threading.Timer(1.0, lambda: backend.publish(verdict=Verdict.PROTECTED))
        timer.start()
        answer = request(path, "GET", "/v1/wait?timeout_s=5")
        timer.join()

    assert answer.status == 200
    assert answer.result()["reached"] is True
    assert answer.headers["kauditd-exit"] == "0"


def test_a_long_poll_ends_at_its_own_timeout(path: Path) -> None:
    with serving(path, FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))):
        start_s = time.monotonic()
        answer = request(path, "GET", "/v1/wait?timeout_s=1")

    assert answer.result()["reached"] is False
    assert answer.headers["kauditd-exit"] == "1"
    assert 0.9 <= time.monotonic() - start_s <= 3


def test_waits_are_capped_and_a_client_that_leaves_frees_its_place(path: Path) -> None:
    limits = Limits(waits=4, admin_waits=2)
    turnstile = Turnstile(READER)
    backend = FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))
    wait = b"GET /v1/wait?timeout_s=60 HTTP/1.1\r\nHost: kauditd\r\n\r\n"
    with serving(path, backend, group_id=7, limits=limits, reader=turnstile):
        with idle(path, 2) as waiting:
            for connection in waiting:
                connection.sendall(wait)
            time.sleep(0.2)
            refused = request(path, "GET", "/v1/wait?timeout_s=0")
            turnstile.peer = ADMIN
            assert request(path, "GET", "/v1/wait?timeout_s=0").status == 200
        turnstile.peer = READER
        time.sleep(0.2)
        assert request(path, "GET", "/v1/wait?timeout_s=0").status == 200

    assert refused.status == 503


def test_stopping_ends_long_polls_at_once(path: Path) -> None:
    backend = FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))
    with contextlib.ExitStack() as stack:
        with serving(path, backend):
            connection = stack.enter_context(dial(path))
            connection.sendall(b"GET /v1/wait?timeout_s=60 HTTP/1.1\r\nHost: kauditd\r\n\r\n")
            time.sleep(0.2)
            start_s = time.monotonic()
        assert time.monotonic() - start_s < 1
        assert read_all(connection) == b""

    assert not path.exists()


def test_a_client_that_goes_away_does_not_stop_a_write_half_way(path: Path) -> None:
    backend = FakeBackend(act_delay_s=0.4)
    with serving(path, backend):
        with dial(path) as connection:
            connection.sendall(b"POST /v1/apply HTTP/1.1\r\nHost: kauditd\r\n\r\n")
            time.sleep(0.15)
        time.sleep(0.6)

    assert (len(backend.calls), backend.ended) == (1, 1)


def test_a_write_that_takes_longer_than_a_request_goes_on(path: Path) -> None:
    backend = FakeBackend(act_delay_s=1.0)
    with serving(path, backend, limits=SHORT):
        answer = request(path, "POST", "/v1/apply")
        time.sleep(0.9)

    assert answer.status == 503
    assert "history" in str(answer.result()["hint"])
    assert backend.ended == 1


def test_a_slow_write_answers_with_the_change_that_it_has_opened(path: Path) -> None:
    backend = FakeBackend(act_delay_s=1.0, current=make_snapshot(changes=(make_change(4),)))
    with serving(path, backend, limits=SHORT):
        opened = (make_change(5, outcome=Outcome.OPEN), make_change(4))
        timer = threading.Timer(0.1, lambda: backend.publish(changes=opened))
        timer.start()
        answer = request(path, "POST", "/v1/apply")
        timer.join()
        time.sleep(0.8)

    change = answer.result()["change"]
    assert isinstance(change, dict)
    assert (answer.status, change["id"], change["outcome"]) == (200, 5, "open")


def test_strangers_are_logged_once_each_and_leave_no_place_taken(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turnstile = Turnstile(Peer(uid=66, gid=67))
    with caplog.at_level(logging.INFO), serving(path, FakeBackend(), group_id=7, reader=turnstile):
        answers = [request(path, "GET", "/v1/status") for _ in range(50)]
        turnstile.peer = ADMIN
        assert request(path, "GET", "/v1/status").status == 200

    assert {answer.status for answer in answers} == {403}
    denials = [record.getMessage() for record in caplog.records]
    assert denials == ["event=denied uid=66 gid=67 reason=not-in-group"] * 50


@pytest.mark.serial
def test_a_thousand_connections_of_the_group_leave_status_fast_for_root(path: Path) -> None:
    """The flood comes from another process, as it would; root's status stays below 100 ms while it lasts."""
    if os.geteuid() != 0:
        pytest.skip("only root can take on other users' credentials")
    with serving(path, FakeBackend(), group_id=64_242):
        path.chmod(0o666)
        reader, writer = os.pipe()
        child = fork()
        if child == 0:
            _flood(path, writer)
        os.close(writer)
        try:
            assert os.read(reader, 1) == b"r"
            times_s = []
            for _ in range(20):
                start_s = time.monotonic()
                assert request(path, "GET", "/v1/status").status == 200
                times_s.append(time.monotonic() - start_s)
            assert os.read(reader, 1) == b"d", "the flood went on during the measurement"
        finally:
            os.close(reader)
            os.waitpid(child, 0)
        settle(path, 200)

    assert sorted(times_s)[len(times_s) // 2] < 0.1


def _flood(path: Path, writer: int) -> None:
    """Opens 1,000 connections as a member of the group, over and over for two seconds; ends the process."""
    try:
        os.setgroups([])
        os.setresgid(64_242, 64_242, 64_242)
        os.setresuid(64_102, 64_102, 64_102)
        end_s = time.monotonic() + 2
        held: list[socket.socket] = []
        told = False
        while time.monotonic() < end_s:
            with contextlib.suppress(OSError):
                held.append(dial(path, timeout_s=1))
            if len(held) >= 1000:
                if not told:
                    os.write(writer, b"r")
                    told = True
                held.pop(0).close()
        os.write(writer, b"d" if told else b"x")
    finally:
        os._exit(0)
