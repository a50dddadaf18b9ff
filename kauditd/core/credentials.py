"""What a request shows of who it is. Paths may be printed, contents never are: they stand in no repr and no error."""

from collections.abc import Mapping
from dataclasses import dataclass, field

SERVER_NAME = "kubernetes"
"""The name that the certificate of an API server carries on every cluster made by kubeadm, and in its self-made one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """PEM text or a token: in the file at ``path``, which is read anew for each use, or as ``text``."""

    path: str = ""
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A client certificate with its key, or a bearer token, or both; ``source`` is a sentence on where from.

    ``authority`` is the certificate authority that the server is checked against. A token is never sent to a server
    that was not checked: the port of an API server that is down is anybody's.
    """

    source: str
    certificate: Material | None = None
    key: Material | None = None
    token: Material | None = None
    authority: Material | None = None
    server_name: str = SERVER_NAME


_MATERIALS = ("certificate", "key", "token", "authority")


def dump_credentials(credentials: Credentials) -> dict[str, object]:
    """Plain values for the pipe to a child process, secrets included."""
    values: dict[str, object] = {"source": credentials.source, "server_name": credentials.server_name}
    for name in _MATERIALS:
        material: Material | None = getattr(credentials, name)
        if material is not None:
            values[name] = {"path": material.path, "text": material.text}
    return values


def load_credentials(values: Mapping[str, object]) -> Credentials:
    """The inverse of ``dump_credentials``."""
    return Credentials(
        source=str(values["source"]),
        server_name=str(values["server_name"]),
        certificate=_material(values.get("certificate")),
        key=_material(values.get("key")),
        token=_material(values.get("token")),
        authority=_material(values.get("authority")),
    )


def _material(value: object) -> Material | None:
    match value:
        case {"path": str(path), "text": str(text)}:
            return Material(path=path, text=text)
        case _:
            return None
