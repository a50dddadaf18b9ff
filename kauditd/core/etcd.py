"""Which etcd an API server talks to, read from its flags.

Upstream: k8s.io/apiserver pkg/server/options/etcd.go (``--etcd-servers`` is a list, and repeating it adds to it) and
the endpoint forms of go.etcd.io/etcd/client/v3. Overrides for single resources do not count: the API serves without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from kauditd.core.model import Flag

DEFAULT_PORT = 2379


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One etcd: host (an IPv6 address without brackets) and TCP port, or ``path``, the socket of ``unix://``."""

    host: str = ""
    port: int = DEFAULT_PORT
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.path or f"{host}:{self.port}"


def etcd_endpoints(flags: Sequence[Flag]) -> tuple[Endpoint, ...]:
    """The endpoints of ``--etcd-servers``, in order and each once; what names no endpoint is left out."""
    words = [word for flag in flags if flag.name == "etcd-servers" for word in flag.value.split(",")]
    found = (parse_endpoint(word.strip()) for word in words)
    return tuple(dict.fromkeys(endpoint for endpoint in found if endpoint is not None))


def parse_endpoint(text: str) -> Endpoint | None:
    """``scheme://host:port``, the same without scheme or port, or ``unix:///path``; None for anything else."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in {"unix", "unixs"}:
        return Endpoint(path=rest) if rest.startswith("/") else None
    try:
        parts = urlsplit(text if separator else f"//{text}")
        port = parts.port
    except ValueError:
        return None
    return Endpoint(host=parts.hostname, port=port or DEFAULT_PORT) if parts.hostname else None
