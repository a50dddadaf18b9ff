"""The health probe against real TLS servers that behave, misbehave and stay silent."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kauditd.effects.probe import Health, probe

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]

READYZ_500 = (
    "[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\n[+]informer-sync ok\n"
    "[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\nreadyz check failed\n"
)


@pytest.fixture(name="certificate", scope="module")
def _certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A throw-away key with a certificate that nobody has a reason to trust: wrong name, and expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now - dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("203.0.113.9"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return path


@asynccontextmanager
async def server(certificate: Path, reply: Reply, *, host: str = "127.0.0.1") -> AsyncIterator[int]:
    """A server on a free port; ``reply(request, writer)`` answers. Yields the port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            await reply(head.decode(), writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running = await asyncio.start_server(handle, host, 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()


def asked(certificate: Path, reply: Reply, *, timeout_s: float = 3.0, host: str = "127.0.0.1") -> Health:
    """What the probe makes of a server that replies so."""

    async def run() -> Health:
        async with server(certificate, reply, host=host) as port:
            return await probe(host, port, timeout_s=timeout_s)

    return asyncio.run(run())


def answering(livez: int, readyz: int, body: str = "ok") -> Reply:
    async def reply(request: str, writer: asyncio.StreamWriter) -> None:
        status = livez if request.startswith("GET /livez ") else readyz
        writer.write(f"HTTP/1.1 {status} Text\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    return reply


def sending(content: bytes) -> Reply:
    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return reply


async def staying_silent(_request: str, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    ("livez", "readyz", "ready", "words"),
    [
        (200, 200, True, ""),
        (403, 403, False, "403"),
        (200, 403, False, "/readyz answered 403"),
        (401, 401, True, "anonymous requests are switched off"),
        (200, 500, False, "/readyz answered 500"),
        (429, 429, False, "429"),
    ],
)
def test_what_a_status_means(certificate: Path, livez: int, readyz: int, ready: bool, words: str) -> None:
    health = asked(certificate, answering(livez, readyz))

    assert (health.livez, health.readyz) == (livez, readyz)
    assert health.up
    assert health.ready is ready
    assert health.starting is not ready
    assert words in health.detail
    assert bool(health.detail) is bool(words)
    assert "\n" not in health.detail


def test_failed_checks_are_named(certificate: Path) -> None:
    health = asked(certificate, answering(200, 500, READYZ_500))

    assert health.detail == "/readyz answered 500: etcd, poststarthook/rbac/bootstrap-roles failed"


def test_the_request_is_one_get_that_asks_to_close(certificate: Path) -> None:
    requests: list[str] = []

    async def reply(request: str, writer: asyncio.StreamWriter) -> None:
        requests.append(request)
        await answering(200, 200)(request, writer)

    asked(certificate, reply)

    assert sorted(r.splitlines()[0] for r in requests) == ["GET /livez HTTP/1.1", "GET /readyz HTTP/1.1"]
    for request in requests:
        headers = dict(line.split(": ", 1) for line in request.split("\r\n")[1:-2])
        assert headers["Connection"] == "close"
        assert headers["Host"].startswith("127.0.0.1:")
        assert "Authorization" not in headers


@pytest.mark.parametrize("address", ["::1", "[::1]"])
def test_ipv6_address(certificate: Path, address: str) -> None:
    hosts: list[str] = []

    async def reply(request: str, writer: asyncio.StreamWriter) -> None:
        hosts.extend(line for line in request.split("\r\n") if line.startswith("Host:"))
        await answering(200, 200)(request, writer)

    async def run() -> Health:
        async with server(certificate, reply, host="::1") as port:
            return await probe(address, port, timeout_s=3)

    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")

    assert asyncio.run(run()).ready
    assert all(host.startswith("Host: [::1]:") for host in hosts)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    health = asyncio.run(probe("127.0.0.1", port, timeout_s=3))

    assert (health.livez, health.readyz, health.up, health.ready) == (None, None, False, False)
    assert health.detail == f"cannot ask 127.0.0.1:{port}: Connection refused"


@pytest.mark.serial
def test_hangs_after_accept() -> None:
    """The kernel accepts for a process that never does: so it is in the first second of an API server."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        start_s = time.monotonic()
        health = asyncio.run(probe("127.0.0.1", port, timeout_s=0.3))

    assert time.monotonic() - start_s < 2
    assert not health.up
    assert health.detail == f"no answer from 127.0.0.1:{port} within 0.3 s"


@pytest.mark.serial
def test_hangs_after_the_request(certificate: Path) -> None:
    start_s = time.monotonic()
    health = asked(certificate, staying_silent, timeout_s=0.3)

    assert time.monotonic() - start_s < 2
    assert not health.up


def test_hangs_on_one_of_the_two(certificate: Path) -> None:
    """/readyz waits for etcd while /livez answers: each counts for itself."""

    async def reply(request: str, writer: asyncio.StreamWriter) -> None:
        await (answering(200, 200) if request.startswith("GET /livez") else staying_silent)(request, writer)

    health = asked(certificate, reply, timeout_s=0.5)

    assert (health.livez, health.readyz, health.up, health.ready) == (200, None, True, False)
    assert health.starting


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\xff" * 50 + b"\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 \r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"y" * 200_000,
    ],
)
def test_closes_early_or_does_not_speak_http(certificate: Path, content: bytes) -> None:
    health = asked(certificate, sending(content))

    assert (health.livez, health.readyz) == (None, None)
    assert health.detail.startswith("cannot ask 127.0.0.1:")
    assert health.detail.isprintable()
    assert len(health.detail) < 300


def test_does_not_speak_tls() -> None:
    """What a Go server says to a client that comes with the wrong protocol, here to one that comes with TLS."""

    async def run() -> Health:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(handle, "127.0.0.1", 0) as running:
            return await probe("127.0.0.1", running.sockets[0].getsockname()[1], timeout_s=3)

    health = asyncio.run(run())

    assert not health.up
    assert "TLS: " in health.detail


@pytest.mark.parametrize("status", [200, 500])
def test_endless_body(certificate: Path, status: int) -> None:
    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Text\r\n\r\n".encode())
        while True:
            writer.write(b"[-]etcd failed: reason withheld\n" * 1000)
            await writer.drain()

    start_s = time.monotonic()
    health = asked(certificate, reply)

    assert time.monotonic() - start_s < 2.5, "it is not read to its end"
    assert health.readyz == status
    assert len(health.detail) < 600


@pytest.mark.serial
def test_status_that_drips(certificate: Path) -> None:
    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n\r\n":
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.1)

    start_s = time.monotonic()
    health = asked(certificate, reply, timeout_s=0.5)

    assert time.monotonic() - start_s < 1.5, "the whole question has one deadline, not each read"
    assert not health.up


def test_body_that_never_comes_leaves_the_status_standing(certificate: Path) -> None:
    async def reply(_request: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 99\r\n\r\n[-]etcd failed: x\n")
        await writer.drain()
        await asyncio.sleep(30)

    health = asked(certificate, reply, timeout_s=0.5)

    assert (health.livez, health.readyz) == (500, 500)
    assert "etcd" in health.detail


@pytest.mark.parametrize("address", ["", "no such host", "host\r\nX-Evil: 1", "256.1.1.1", "x" * 300, "ü.example"])
def test_an_address_that_is_none(address: str) -> None:
    health = asyncio.run(probe(address, 1, timeout_s=3))

    assert not health.up
    assert health.detail.isprintable()


def test_cancelled_while_it_waits(certificate: Path) -> None:
    async def run() -> None:
        async with server(certificate, staying_silent) as port:
            task = asyncio.create_task(probe("127.0.0.1", port, timeout_s=30))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_hundred_probes_leave_no_descriptor_open(certificate: Path) -> None:
    async def run() -> tuple[int, int]:
        async with server(certificate, answering(200, 200)) as port:
            await probe("127.0.0.1", port, timeout_s=3)
            await asyncio.sleep(0.05)
            before = open_descriptors()
            for _ in range(100):
                assert (await probe("127.0.0.1", port, timeout_s=3)).ready
            await asyncio.sleep(0.05)
            return before, open_descriptors()

    before, after = asyncio.run(run())

    assert after <= before
