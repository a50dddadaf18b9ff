"""A kubeconfig file -> the credentials of its current context (k8s.io/client-go tools/clientcmd/api/v1).

Only what stands in files is read: client certificate, token, certificate authority. A plug-in command (``exec``), a
password or an auth provider is not followed, for running foreign programs is nobody's expectation of a reader.
"""

import base64
import binascii

from kauditd.core.credentials import SERVER_NAME, Credentials, Material
from kauditd.core.layout import parent
from kauditd.core.marked import Mapping, Node, Scalar, Sequence, is_null
from kauditd.core.yamltext import read_yaml
from kauditd.errors import KauditError, quote

LIMIT_BYTES = 1 << 20


def parse_kubeconfig(text: bytes, *, file: str) -> Credentials:
    """The credentials that ``file`` (a logical path) holds; relative paths in it start at its directory.

    Raises ``errors.KauditError``, without a word of the content, where it holds none that can be used.
    """
    root = _read(text, file)
    context = _named(root, "contexts", "context", _text(root, "current-context"), file)
    user = _named(root, "users", "user", _text(context, "user"), file)
    cluster = _named(root, "clusters", "cluster", _text(context, "cluster"), file)
    credentials = Credentials(
        source=f"{file}, user {quote(_text(context, 'user'), limit=60)}",
        certificate=_material(user, "client-certificate", file),
        key=_material(user, "client-key", file),
        token=_token(user, file),
        authority=_material(cluster, "certificate-authority", file),
        server_name=_text(cluster, "tls-server-name") or SERVER_NAME,
    )
    if credentials.token is None and (credentials.certificate is None or credentials.key is None):
        hint = "name a file with a client certificate and key, or a token"
        raise KauditError(f"cannot use {quote(file)}: it holds neither a client certificate nor a token", hint=hint)
    return credentials


def _read(text: bytes, file: str) -> Mapping:
    try:
        node = read_yaml(text, file=file, limit_bytes=LIMIT_BYTES)
    except KauditError:
        # The reader quotes what it stumbled over, and here that may be a key; so it is not passed on, nor chained.
        node = None
    if not isinstance(node, Mapping):
        raise KauditError(f"cannot use {quote(file)}: it is not a kubeconfig file")
    return node


def _get(mapping: Mapping, key: str) -> Node | None:
    return next((value for name, value in reversed(mapping.entries) if name.text == key), None)


def _text(mapping: Mapping, key: str) -> str:
    value = _get(mapping, key)
    return value.text if isinstance(value, Scalar) and not is_null(value) else ""


def _named(root: Mapping, kind: str, inner: str, name: str, file: str) -> Mapping:
    """The entry called ``name`` of one of the three lists."""
    entries = _get(root, kind)
    for entry in entries.items if isinstance(entries, Sequence) else ():
        if isinstance(entry, Mapping) and _text(entry, "name") == name:
            found = _get(entry, inner)
            if isinstance(found, Mapping):
                return found
    raise KauditError(f"cannot use {quote(file)}: {kind} has no entry {quote(name, limit=60)!r}")


def _material(mapping: Mapping, key: str, file: str) -> Material | None:
    """``<key>-data`` in base64, which wins as in client-go, or the file that ``<key>`` names."""
    data = _text(mapping, f"{key}-data")
    if data:
        try:
            return Material(text=base64.b64decode(data, validate=True).decode("ascii"))
        except (binascii.Error, ValueError):
            pass
        raise KauditError(f"cannot use {quote(file)}: {key}-data is not base64 of PEM text")
    path = _text(mapping, key)
    return Material(path=_absolute(path, file)) if path else None


def _token(user: Mapping, file: str) -> Material | None:
    """``tokenFile`` wins over ``token``, as in client-go."""
    path = _text(user, "tokenFile")
    if path:
        return Material(path=_absolute(path, file))
    token = _text(user, "token")
    return Material(text=token) if token else None


def _absolute(path: str, file: str) -> str:
    return path if path.startswith("/") else f"{parent(file)}/{path}"
