"""Asks the API server on this node how it is: ``/livez`` and ``/readyz`` over TLS.

Plain asyncio streams and forty lines of HTTP/1.1: the answer is a status number, and a client library would cost
the daemon more memory than it is worth. The server's certificate is not verified. The peer is an address of this
very node, nothing secret is sent, no credentials are shown, and the answer alone proves nothing: whoever could
answer in the API server's place on its own port is root already. Evidence that the trail works comes from the
process table and the log file.
"""

import asyncio
import errno
import json
import os
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from kauditd.core.observed import HealthFacts
from kauditd.errors import quote

_BODY_LIMIT_BYTES = 4096
_HEAD_LIMIT_BYTES = 16384
_DETAIL_LIMIT = 160


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


class _NotHttp(Exception):
    """The peer closed early, or what it sent is no HTTP answer."""


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


async def _ask(host: str, port: int, path: str, *, timeout_s: float) -> tuple[int | None, str]:
    """Status and detail of one GET; the status is None where no HTTP answer came."""
    where = quote(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", limit=_DETAIL_LIMIT)
    status: int | None = None
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=_context(), limit=_HEAD_LIMIT_BYTES)
            try:
                status = await _get(reader, writer, path, where)
                if status >= 500:
                    await _collect(reader, body)
            finally:
                # Nothing more is expected of the peer, so it is not waited for: a hanging one must not hold us.
                writer.transport.abort()
    except TimeoutError:
        # A status that came in time stands, even where the text behind it did not.
        if status is None:
            return None, f"no answer from {where} within {timeout_s:g} s"
    except (_NotHttp, OSError, ValueError) as error:
        if status is None:
            return None, f"cannot ask {where}: {quote(_cause(error), limit=_DETAIL_LIMIT)}"
    return status, _explain(path, status, bytes(body))


def _cause(error: Exception) -> str:
    """The error in few words; asyncio and OpenSSL both put more into theirs than helps."""
    match error:
        case ssl.SSLError():
            return f"TLS: {error.reason or error}"
        case OSError(errno=int(code)) if code in errno.errorcode:
            return os.strerror(code)
        case OSError(strerror=str(text)):
            return text
        case _:
            return str(error) or type(error).__name__


async def _get(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, where: str) -> int:
    """Send one request and read the head of its answer. Raises _NotHttp."""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {where}\r\nUser-Agent: kauditd\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError as error:
        raise _NotHttp("what answers does not speak HTTP") from error
    except asyncio.IncompleteReadError as error:
        if error.partial:
            _status(error.partial)
        raise _NotHttp("it closed the connection before its answer was complete") from error
    return _status(head)


async def _collect(reader: asyncio.StreamReader, body: bytearray) -> None:
    """The start of the body, at most 4 KiB; what came before a failure stays in ``body``."""
    while len(body) < _BODY_LIMIT_BYTES and (chunk := await reader.read(_BODY_LIMIT_BYTES - len(body))):
        body += chunk


def _status(head: bytes) -> int:
    """The number of the status line (RFC 9112 section 4). Raises _NotHttp."""
    version, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    code = rest[:3]
    if not version.startswith(b"HTTP/1.") or not (len(code) == 3 and code.isdigit()):
        raise _NotHttp("what answers does not speak HTTP")
    return int(code)


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
    """``ADDRESS PORT TIMEOUT_S``: print the answer as one line of JSON. How ``effects.probing`` runs it."""
    address, port, timeout_s = arguments
    health = asyncio.run(probe(address, int(port), timeout_s=float(timeout_s)))
    sys.stdout.write(json.dumps({"livez": health.livez, "readyz": health.readyz, "detail": health.detail}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
