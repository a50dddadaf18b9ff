"""Bytes that nobody thought of: the server answers or hangs up, changes nothing, and goes on."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.api.access import Peer
from kauditd.api.limits import Limits
from tests.api.fake import FakeBackend, dial, make_change, make_snapshot, read_all, serving

HERE = Path(__file__).resolve()
PIECES = [
    b"GET ", b"POST ", b"/v1/status", b"/v1/apply", b"/v1/changes/1/wait?timeout_s=1", b" HTTP/1.1", b" HTTP/1.0",
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: kauditd", b"Content-Length: 2", b"Content-Length: 99999999999999",
    b"Transfer-Encoding: chunked", b"Connection: keep-alive", b"Upgrade: h2c", b"Expect: 100-continue", b"{}", b"0\r\n",
    b"5\r\nabcde\r\n", b"\0", b"\xff", b" ", b"\t", b":", b"Origin: x", b"Cookie: a=b; " * 50, b"%0d%0a",
]  # fmt: skip


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, FakeBackend]]:
    """One server for all examples; everybody is a member of the group, so no request may change a thing."""
    path = tmp_path_factory.mktemp("fuzz") / "s"
    backend = FakeBackend(current=make_snapshot(changes=(make_change(1),)))
    reader = Peer(uid=9, gid=7)
    with serving(path, backend, group_id=7, limits=Limits(request_s=2), reader=lambda _socket: reader):
        yield path, backend


def answer(path: Path, raw: bytes) -> bytes:
    with dial(path) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(raw)
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


@given(raw=st.lists(st.sampled_from(PIECES), max_size=12).map(b"".join) | st.binary(max_size=200))
def test_any_bytes_are_answered_or_dropped_and_change_nothing(fuzzed: tuple[Path, FakeBackend], raw: bytes) -> None:
    path, backend = fuzzed

    reply = answer(path, raw)

    assert reply == b"" or reply.startswith((b"HTTP/1.1 ", b"HTTP/1.0 "))
    assert b"Traceback" not in reply
    assert reply.count(b"HTTP/1.") <= 1, "one answer per connection"
    assert not backend.calls
    assert b" 200 " in answer(path, b"GET /v1/version HTTP/1.1\r\nHost: kauditd\r\n\r\n")[:20]


def test_the_parser_in_python_refuses_the_same_requests() -> None:
    """The package ships aiohttp without its compiled parser, and by themselves the two refuse different things."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE.with_name("test_requests.py"))]
    done = subprocess.run(
        command,
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-2000:]
