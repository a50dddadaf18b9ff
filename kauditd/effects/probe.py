"""Asks the API server on this node how it is (``/livez`` and ``/readyz``), sends it a canary, reads its counters.

Plain asyncio streams and few lines of HTTP/1.1: the answers are status numbers and a handful of lines, and a client
library would cost more than it is worth. For health and canary the server's certificate is not verified. The peer is
an address of this very node, nothing secret is sent, no credentials are shown, and the answer alone proves nothing:
evidence that the trail works comes from the process table and the log file. Only ``/metrics`` may need credentials;
they are shown to a server that was verified, where there is an authority to verify it by, and a token to no other.
"""

import asyncio
import errno
import json
import os
import ssl
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kauditd.core.canary import Canary, CanaryAnswer
from kauditd.core.counters import FAMILY, CountersAnswer, parse_counters
from kauditd.core.credentials import Credentials, Material
from kauditd.core.httphead import Head, NotHttp, chunk_size, parse_head
from kauditd.core.observed import HealthFacts
from kauditd.core.question import Answers, Question, dump_answers, load_question
from kauditd.errors import quote

_BODY_LIMIT_BYTES = 4096
_HEAD_LIMIT_BYTES = 16384
_METRICS_LIMIT_BYTES = 64 << 20
_SECRET_LIMIT_BYTES = 1 << 16
_DETAIL_LIMIT = 160
_NOT_STORED = b"failed to store audit event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Health(HealthFacts):
    """What ``/livez`` and ``/readyz`` answered; ``detail`` is one line on what is not well, else empty.

    On its way up a kube-apiserver of kubeadm's answers nothing, then 403 (it serves, but the RBAC cache does not
    yet let anonymous requests through), then 500 (post-start hooks run), then 200. With ``--anonymous-auth=false``
    it answers 401 for ever: TLS and the handler chain run, more is not to be learnt without credentials.
    """

    @property
    def up(self) -> bool:
        """Something that speaks HTTP over TLS answered, whatever it said: the process serves."""
        return self.livez is not None or self.readyz is not None

    @property
    def starting(self) -> bool:
        """It serves and is not ready yet."""
        return self.up and not self.ready


async def probe(address: str, port: int, *, timeout_s: float) -> Health:
    """Ask ``/livez`` and ``/readyz`` at the same time, each on a connection of its own; done within ``timeout_s``.

    ``address`` is an IPv4 or IPv6 literal (brackets allowed) or a host name. Never raises but when cancelled.
    """
    host = address.strip("[]")
    answers = await asyncio.gather(*(_ask(host, port, path, timeout_s=timeout_s) for path in ("/livez", "/readyz")))
    (livez, livez_detail), (readyz, readyz_detail) = answers
    details = dict.fromkeys(d for d in (livez_detail, readyz_detail) if d)
    return Health(livez=livez, readyz=readyz, detail="; ".join(details))


@cache
def _context() -> ssl.SSLContext:
    """TLS that believes every certificate (see above). Made on first use: loading OpenSSL's tables takes a while."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def ask(question: Question) -> Answers:
    """Everything that ``question`` wants, at the same time and each on a connection of its own. Never raises but when
    cancelled; done within the question's timeout."""
    host, port, timeout_s = question.address.strip("[]"), question.port, question.timeout_s
    async with asyncio.TaskGroup() as group:
        health = group.create_task(probe(host, port, timeout_s=timeout_s)) if question.health else None
        canary = (
            None
            if question.canary is None
            else group.create_task(_send_canary(host, port, question.canary, timeout_s=timeout_s))
        )
        counters = group.create_task(_read_counters(question)) if question.counters else None
    return Answers(
        health=None if health is None else health.result(),
        canary=None if canary is None else canary.result(),
        counters=None if counters is None else counters.result(),
    )


async def _ask(host: str, port: int, path: str, *, timeout_s: float) -> tuple[int | None, str]:
    """Status and detail of one GET; the status is None where no HTTP answer came."""
    head, body, fault = await _fetch(host, port, path, timeout_s=timeout_s)
    return (None, fault) if head is None else (head.status, _explain(path, head.status, body))


async def _send_canary(host: str, port: int, canary: Canary, *, timeout_s: float) -> CanaryAnswer:
    asked_unix_s, start_s = time.time(), time.monotonic()
    header = f"Audit-ID: {canary.audit_id}\r\n"
    head, body, fault = await _fetch(host, port, canary.uri, timeout_s=timeout_s, header=header)
    return CanaryAnswer(
        status=None if head is None else head.status,
        echoed_id="" if head is None else quote(head.headers.get("audit-id", ""), limit=_DETAIL_LIMIT),
        asked_unix_s=asked_unix_s,
        answered_unix_s=time.time(),
        duration_ms=(time.monotonic() - start_s) * 1000,
        refused=head is not None and head.status == 500 and _NOT_STORED in body,
        detail=fault,
    )


async def _fetch(
    host: str, port: int, path: str, *, timeout_s: float, header: str = ""
) -> tuple[Head | None, bytes, str]:
    """Head and, from a status of 500 on, the start of the body of one GET; or None and why there is none."""
    where = _where(host, port)
    head: Head | None = None
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s), _connected(host, port, _context()) as (reader, writer):
            head = await _get(reader, writer, path, where, header=header)
            if head.status >= 500:
                await _collect(reader, body)
    except TimeoutError:
        # A status that came in time stands, even where the text behind it did not.
        return head, bytes(body), f"no answer from {where} within {timeout_s:g} s" if head is None else ""
    except (NotHttp, OSError, ValueError) as error:
        fault = f"cannot ask {where}: {quote(_cause(error), limit=_DETAIL_LIMIT)}"
        return head, bytes(body), fault if head is None else ""
    return head, bytes(body), ""


def _where(host: str, port: int) -> str:
    return quote(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", limit=_DETAIL_LIMIT)


@asynccontextmanager
async def _connected(
    host: str, port: int, context: ssl.SSLContext, server_name: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(
        host, port, ssl=context, server_hostname=server_name, limit=_HEAD_LIMIT_BYTES
    )
    try:
        yield reader, writer
    finally:
        # Nothing more is expected of the peer, so it is not waited for: a hanging one must not hold us.
        writer.transport.abort()


async def _read_counters(question: Question) -> CountersAnswer:
    """``/metrics``, of which only the audit counters are kept. Incomplete answers give no counters at all."""
    where, asked_unix_s = _where(question.address.strip("[]"), question.port), time.time()
    head: Head | None = None
    counters, detail = None, ""
    try:
        async with asyncio.timeout(question.timeout_s):
            context, server_name, header = _identity(question.credentials)
            async with _connected(question.address.strip("[]"), question.port, context, server_name) as streams:
                head = await _get(*streams, "/metrics", where, header=header)
                if head.status == 200:
                    counters = parse_counters(await _audit_lines(streams[0], head))
                    detail = "" if counters is not None else "/metrics shows no audit counters"
                else:
                    detail = f"/metrics answered {head.status}"
    except TimeoutError:
        detail = f"no whole answer from {where} within {question.timeout_s:g} s"
    except (NotHttp, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        detail = f"cannot ask {where}: {quote(_cause(error), limit=_DETAIL_LIMIT)}"
    return CountersAnswer(
        status=None if head is None else head.status,
        counters=counters,
        asked_unix_s=asked_unix_s,
        answered_unix_s=time.time(),
        detail=detail,
    )


def _identity(credentials: Credentials | None) -> tuple[ssl.SSLContext, str | None, str]:
    """TLS context, server name and request header that show ``credentials``. Raises OSError or ValueError, without a
    word of their content."""
    if credentials is None:
        return _context(), None, ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if credentials.authority is not None:
        context.load_verify_locations(cadata=_text_of(credentials.authority))
    elif credentials.token is not None:
        raise ValueError("a token is not sent without a certificate authority to check the server by")
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credentials.certificate is not None and credentials.key is not None:
        _load_chain(context, credentials.certificate, credentials.key)
    token = "" if credentials.token is None else _text_of(credentials.token).strip()
    if token and not (token.isascii() and token.isprintable()):
        raise ValueError("the token is not made of printable characters")
    return context, credentials.server_name, f"Authorization: Bearer {token}\r\n" if token else ""


def _load_chain(context: ssl.SSLContext, certificate: Material, key: Material) -> None:
    """OpenSSL reads files only, so text goes through one that lies in memory and that no other process finds."""
    with os.fdopen(os.memfd_create("credentials", os.MFD_CLOEXEC), "wb") as file:
        file.write(f"{_text_of(certificate)}\n{_text_of(key)}\n".encode("ascii"))
        file.flush()
        # Without a password given, OpenSSL would ask the terminal for one.
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}", password="")


def _text_of(material: Material) -> str:
    if not material.path:
        return material.text
    try:
        with Path(material.path).open("rb") as file:
            return file.read(_SECRET_LIMIT_BYTES).decode("ascii")
    except OSError as error:
        cause = os.strerror(error.errno or 0)
    except UnicodeDecodeError:
        cause = "it is not ASCII text"
    raise ValueError(f"cannot read {quote(material.path)}: {cause}")


async def _audit_lines(reader: asyncio.StreamReader, head: Head) -> list[str]:
    """The lines of a whole body that begin with the audit counters' family. Raises NotHttp for one cut short."""
    lines: list[str] = []
    pending, size, prefix = b"", 0, FAMILY.encode("ascii")
    async for block in _body(reader, head):
        size += len(block)
        if size > _METRICS_LIMIT_BYTES:
            raise NotHttp(f"/metrics is longer than {_METRICS_LIMIT_BYTES} bytes")
        *whole, pending = (pending + block).split(b"\n")
        lines += [line.decode("utf-8", "replace") for line in whole if line.startswith(prefix)]
    return lines


async def _body(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body block by block. Raises NotHttp or IncompleteReadError where it does not come whole."""
    if head.chunked:
        while size := chunk_size(await reader.readuntil(b"\r\n")):
            async for block in _exactly(reader, size):
                yield block
            await reader.readexactly(2)
        return
    if head.length is None:
        raise NotHttp("the answer does not tell its length")
    async for block in _exactly(reader, head.length):
        yield block


async def _exactly(reader: asyncio.StreamReader, length: int) -> AsyncIterator[bytes]:
    """``length`` bytes, block by block. Raises NotHttp where they do not come."""
    while length:
        block = await reader.read(min(length, 1 << 16))
        if not block:
            raise NotHttp("it closed the connection before its answer was complete")
        length -= len(block)
        yield block


def _cause(error: Exception) -> str:
    """The error in few words; asyncio and OpenSSL both put more into theirs than helps."""
    match error:
        case asyncio.IncompleteReadError():
            return "it closed the connection before its answer was complete"
        case asyncio.LimitOverrunError():
            return "a line of its answer does not end"
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case OSError(errno=int(code)) if code in errno.errorcode:
            return os.strerror(code)
        case OSError(strerror=str(text)):
            return text
        case _:
            return str(error) or type(error).__name__


async def _get(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, where: str, *, header: str = ""
) -> Head:
    """Send one request and read the head of its answer. Raises NotHttp."""
    request = f"GET {path} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: kauditd\r\n{header}Connection: close\r\n\r\n"
    writer.write(request.encode())
    await writer.drain()
    try:
        return parse_head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.LimitOverrunError as error:
        raise NotHttp("what answers does not speak HTTP") from error
    except asyncio.IncompleteReadError as error:
        if error.partial:
            parse_head(error.partial)
        raise NotHttp("it closed the connection before its answer was complete") from error


async def _collect(reader: asyncio.StreamReader, body: bytearray) -> None:
    """The start of the body, at most 4 KiB; what came before a failure stays in ``body``."""
    while len(body) < _BODY_LIMIT_BYTES and (chunk := await reader.read(_BODY_LIMIT_BYTES - len(body))):
        body += chunk


def _explain(path: str, status: int, body: bytes) -> str:
    """What a status means here, with the failed checks where the API server lists them; empty for 200."""
    match status:
        case 200:
            return ""
        case 401:
            return f"{path} answered 401: anonymous requests are switched off"
        case 403:
            return f"{path} answered 403: anonymous requests are not let through (yet)"
        case _:
            # k8s.io/apiserver pkg/server/healthz lists every check, "[-]name failed: reason withheld" where bad.
            lines = body.decode("utf-8", "replace").splitlines()
            failed = ", ".join(line[3:].partition(" ")[0] for line in lines if line.startswith("[-]"))
            return f"{path} answered {status}" + (f": {quote(failed, limit=_DETAIL_LIMIT)} failed" if failed else "")


def main(arguments: Sequence[str]) -> int:
    """``ADDRESS PORT TIMEOUT_S``: print health as one line of JSON. Without arguments: answer the question that
    standard input holds. How ``effects.probing`` runs it."""
    if not arguments:
        sys.stdout.write(dump_answers(asyncio.run(ask(load_question(sys.stdin.buffer.read())))))
        return 0
    address, port, timeout_s = arguments
    health = asyncio.run(probe(address, int(port), timeout_s=float(timeout_s)))
    sys.stdout.write(json.dumps({"livez": health.livez, "readyz": health.readyz, "detail": health.detail}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
