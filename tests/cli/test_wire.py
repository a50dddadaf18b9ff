"""The reply is read to its end or not believed: slow, broken, silent and refusing daemons."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kauditd.cli.exits import Failure
from kauditd.cli.wire import ask
from tests.api.fake import as_user
from tests.cli.command import run

BODY = b'{"type":"sync","status":200,"version":"0.1.0","result":{"verdict":"protected"}}\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nKauditd-Exit: 0\r\n\r\n" % len(BODY)


@contextlib.contextmanager
def acting(path: Path, act: Callable[[socket.socket], None]) -> Iterator[None]:
    """A daemon that does ``act`` with each connection, and then hangs up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.settimeout(0.05)
        done = threading.Event()

        def serve() -> None:
            while not done.is_set():
                with contextlib.suppress(TimeoutError):
                    connection, _ = listening.accept()
                    with connection, contextlib.suppress(OSError):
                        connection.settimeout(5)
                        act(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def answering(*parts: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
    def act(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause_s)

    return act


def test_a_reply_in_many_pieces_is_one_reply(socket_path: Path) -> None:
    pieces = [bytes([byte]) for byte in HEAD + BODY]
    with acting(socket_path, answering(*pieces, pause_s=0.001)):
        reply = ask(str(socket_path), "/v1/status")

    assert (reply.status, reply.verdict, reply.body) == (200, 0, BODY)


def test_a_daemon_that_answers_before_it_listens_is_heard(socket_path: Path) -> None:
    """A refusal at accept: the daemon writes and closes its reading side before the question is there."""

    def refuse(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RD)
        connection.sendall(HEAD.replace(b"200 OK", b"403 No") + BODY)

    with acting(socket_path, refuse):
        assert ask(str(socket_path), "/v1/status").status == 403


BROKEN = {
    "nothing": b"",
    "half-a-head": HEAD[:20],
    "head-only": HEAD,
    "half-a-body": HEAD + BODY[:-1],
    "more-than-announced": HEAD + BODY + b"x",
    "no-length": b"HTTP/1.1 200 OK\r\n\r\n" + BODY,
    "odd-length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "no-status": b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "odd-status": b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n",
    "endless-head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"Content-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("raw", BROKEN.values(), ids=BROKEN)
def test_a_daemon_that_dies_midway_is_exit_3(socket_path: Path, raw: bytes) -> None:
    with acting(socket_path, answering(raw)), pytest.raises(Failure) as caught:
        ask(str(socket_path), "/v1/status")

    assert caught.value.code == 3
    assert "midway" in caught.value.message
    assert caught.value.hint


def test_the_command_says_so_too(tmp_path: Path, socket_path: Path) -> None:
    with acting(socket_path, answering(HEAD + BODY[:10])):
        outcome = run("status", "--root", str(tmp_path))

    assert (outcome.code, outcome.out) == (3, "")


def test_a_reset_in_the_middle_is_exit_3(socket_path: Path) -> None:
    def reset(connection: socket.socket) -> None:
        connection.sendall(HEAD)  # and the question stays unread, which makes close a reset

    with acting(socket_path, reset), pytest.raises(Failure) as caught:
        ask(str(socket_path), "/v1/status")

    assert caught.value.code == 3


@pytest.mark.parametrize("pieces", [[], [bytes([byte]) for byte in HEAD]], ids=["silent", "drip"])
def test_a_daemon_that_hangs_is_cut_at_the_deadline(socket_path: Path, pieces: list[bytes]) -> None:
    def hang(connection: socket.socket) -> None:
        connection.recv(65536)
        for piece in [*pieces, b""]:
            connection.sendall(piece)
            time.sleep(0.05)
        connection.recv(1)

    with acting(socket_path, hang):
        start_s = time.monotonic()
        with pytest.raises(Failure) as caught:
            ask(str(socket_path), "/v1/status", timeout_s=0.3)

    assert caught.value.code == 3
    assert time.monotonic() - start_s < 2


def test_a_full_backlog_is_waited_for_and_then_given_up(socket_path: Path) -> None:
    socket_path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as waiting:
        hung.bind(str(socket_path))
        hung.listen(0)
        waiting.connect(str(socket_path))
        with pytest.raises(Failure) as caught:
            ask(str(socket_path), "/v1/status", timeout_s=0.2)

    assert caught.value.code == 3


@pytest.mark.parametrize("place", ["missing", "stale", "file", "under-a-file"])
def test_a_place_where_nobody_listens_is_exit_3(tmp_path: Path, place: str) -> None:
    path = tmp_path / "s"
    match place:
        case "stale":
            with socket.socket(socket.AF_UNIX) as dead:
                dead.bind(str(path))
        case "file":
            path.write_text("")
        case "under-a-file":
            path.write_text("")
            path = path / "s"
        case _:
            pass
    with pytest.raises(Failure) as caught:
        ask(str(path), "/v1/status")

    assert caught.value.code == 3
    assert "systemctl status kauditd" in caught.value.hint


def test_a_socket_that_we_may_not_open_is_exit_4(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can take on other users' credentials")
    path = tmp_path / "s"

    def attempt() -> bytes:
        try:
            ask(str(path), "/v1/status")
        except Failure as failure:
            return f"{failure.code} {failure.hint}".encode()
        return b"connected"

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen()

        assert as_user(64_101, 64_101, [], attempt) == b"4 try with sudo"
