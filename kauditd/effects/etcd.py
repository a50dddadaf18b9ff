"""Is etcd there at all? One connection per endpoint, closed at once.

No TLS and no question: an etcd that takes connections and does not answer shows in the API server's own words. Each
look leaves a line about a rejected connection in etcd's log, so it is for the gate, while no API server is ready.
"""

import asyncio
import errno
import os
from collections.abc import Sequence

from kauditd.core.etcd import Endpoint
from kauditd.core.layout import Layout
from kauditd.core.observed import EtcdFacts
from kauditd.errors import quote

_MOST_ENDPOINTS = 16


async def reach_etcd(layout: Layout, endpoints: Sequence[Endpoint], *, timeout_s: float = 1.0) -> EtcdFacts:
    """Try all ``endpoints`` (the first sixteen) at the same time; done within ``timeout_s``. Never raises.

    They are reached from the node's network, which is the API server's (``hostNetwork``). The socket of ``unix://``
    is looked for below the root.
    """
    asked = tuple(endpoints[:_MOST_ENDPOINTS])
    faults = await asyncio.gather(*(_reach(layout, endpoint, timeout_s=timeout_s) for endpoint in asked))
    detail = "; ".join(f"{endpoint}: {fault}" for endpoint, fault in zip(asked, faults, strict=True) if fault)
    return EtcdFacts(reachable=faults.count(""), total=len(asked), detail=quote(detail))


async def _reach(layout: Layout, endpoint: Endpoint, *, timeout_s: float) -> str:
    """Why the endpoint cannot be reached; empty where it can."""
    try:
        async with asyncio.timeout(timeout_s):
            if endpoint.path:
                _, writer = await asyncio.open_unix_connection(layout.host(endpoint.path))
            else:
                _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except TimeoutError:
        return f"no connection within {timeout_s:g} s"
    except (OSError, ValueError) as error:
        return _explain(error)
    # Nothing was said, so nothing is left to be sent.
    writer.transport.abort()
    return ""


def _explain(error: Exception) -> str:
    """The error in few words; asyncio puts the addresses that it tried into its own."""
    match error:
        case OSError(errno=int(code)) if code in errno.errorcode:
            return os.strerror(code).lower()
        case OSError(strerror=str(text)):
            return text.lower()
        case _:
            return str(error)
