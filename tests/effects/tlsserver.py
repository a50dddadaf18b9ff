"""A TLS server of our making, with a certificate authority of its own, that answers as a test tells it to."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Reply = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pki:
    """Files below one directory: the authority, a server certificate for "kubernetes", a client's. Each with its key
    in one file, and the client's apart as well."""

    authority: Path
    server: Path
    client: Path
    client_key: Path


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


def make_pki(directory: Path) -> Pki:
    """Fresh keys, good for an hour."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server", "client")}
    subjects = {"authority": "test authority", "server": "kube-apiserver", "client": "test client"}
    now = dt.datetime.now(dt.UTC)
    for name, key in keys.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(_name(subjects[name]))
            .issuer_name(_name(subjects["authority"]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
        )
        if name == "server":
            names = x509.SubjectAlternativeName([x509.DNSName("kubernetes")])
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(keys["authority"], hashes.SHA256())
        certificate = signed.public_bytes(serialization.Encoding.PEM)
        (directory / f"{name}.crt").write_bytes(certificate)
        (directory / f"{name}.key").write_bytes(_pem(key))
        (directory / f"{name}.pem").write_bytes(certificate + _pem(key))
    return Pki(
        authority=directory / "authority.crt",
        server=directory / "server.pem",
        client=directory / "client.crt",
        client_key=directory / "client.key",
    )


@asynccontextmanager
async def serving(pki: Pki, reply: Reply, *, wants_client: bool = False) -> AsyncIterator[int]:
    """A server on a free port of 127.0.0.1; ``reply(head, writer)`` answers one request per connection."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reply((await reader.readuntil(b"\r\n\r\n")).decode(), writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server)
    if wants_client:
        context.load_verify_locations(pki.authority)
        context.verify_mode = ssl.CERT_REQUIRED
    running = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield running.sockets[0].getsockname()[1]
    finally:
        running.close()
