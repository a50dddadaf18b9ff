"""The kubelet's side of the API: is the port open, and watches that stay open for as long as the server lets them."""

import asyncio
import ssl
from contextlib import suppress

USER_AGENT = "kubelet/v1.37.2 (linux/amd64) kubernetes/$Format"


def unverified_tls() -> ssl.SSLContext:
    """TLS to the stand-in on loopback; its certificate is public and for tests, so there is nothing to verify."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def wait_for_port(host: str, port: int, *, every_s: float) -> None:
    """Until something accepts connections there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(every_s)
        else:
            writer.transport.abort()
            return


async def hold_watch(host: str, port: int, *, token: str, node_name: str) -> None:
    """One watch on the node's pods, re-opened when refused, ended by the server or by cancellation."""
    target = f"/api/v1/pods?allowWatchBookmarks=true&fieldSelector=spec.nodeName%3D{node_name}&watch=true"
    request = (
        f"GET {target} HTTP/1.1\r\nHost: {host}:{port}\r\nUser-Agent: {USER_AGENT}\r\n"
        f"Authorization: Bearer {token}\r\nAccept: application/json\r\n\r\n"
    )
    tls = unverified_tls()
    while True:
        with suppress(OSError, EOFError):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            try:
                writer.write(request.encode())
                await writer.drain()
                if b" 200 " in await reader.readline():
                    await reader.read()
                    return
            finally:
                # Not close(): a TLS goodbye would wait for a server that may be frozen or gone.
                writer.transport.abort()
        await asyncio.sleep(0.01)
