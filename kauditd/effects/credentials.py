"""Finding what may read ``/metrics``: what the settings name, else what a control-plane node has anyway.

Nothing is asked of the API server here. ``admin.conf`` comes before the kubelet's file: on a cluster made by kubeadm
a kubelet (group system:nodes) may not read ``/metrics``, and is answered 403.
"""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace

from kauditd.core.credentials import Credentials, Material
from kauditd.core.faults import explain
from kauditd.core.kubeconfig import LIMIT_BYTES, parse_kubeconfig
from kauditd.core.layout import Layout
from kauditd.errors import FileFault, KauditError, quote

KUBECONFIGS = ("/etc/kubernetes/admin.conf", "/etc/kubernetes/super-admin.conf", "/etc/kubernetes/kubelet.conf")
"""Looked at in this order where the settings name nothing."""

AUTHORITY = "/etc/kubernetes/pki/ca.crt"
"""The cluster's certificate authority on a node made by kubeadm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What the settings name, as logical paths: a certificate and its key (one file may hold both), or a token file."""

    certificate: str = ""
    key: str = ""
    token: str = ""
    authority: str = AUTHORITY


def find_credentials(layout: Layout, named: Named | None = None) -> Credentials | None:
    """Credentials whose files can be read now, or None where there are none; ``source`` says where from.

    Raises ``errors.KauditError`` where ``named`` files cannot be used: then nothing else is tried in their stead.
    What is wrong with a file of the cluster's own only means that the next one is tried.
    """
    if named is not None:
        return _from_settings(layout, named)
    for path in KUBECONFIGS:
        with suppress(KauditError):
            credentials = parse_kubeconfig(_read(layout.host(path)), file=path)
            return _usable(layout, credentials)
    return None


def _from_settings(layout: Layout, named: Named) -> Credentials:
    if not named.token and not named.certificate:
        raise KauditError(
            "cannot use the credentials of the settings: they name neither a certificate nor a token",
            kind="bad-settings",
            hint="name a certificate with its key, or a token file",
        )
    authority = Material(path=named.authority) if named.authority else None
    if authority is not None and named.authority == AUTHORITY and not named.token:
        # The default is a guess about the cluster; only a token makes it a condition.
        authority = authority if _is_readable(layout.host(AUTHORITY)) else None
    credentials = Credentials(
        source=f"the settings, {quote(named.token or named.certificate)}",
        certificate=Material(path=named.certificate) if named.certificate else None,
        key=Material(path=named.key or named.certificate) if named.certificate else None,
        token=Material(path=named.token) if named.token else None,
        authority=authority,
    )
    return _usable(layout, credentials)


def _usable(layout: Layout, credentials: Credentials) -> Credentials:
    """``credentials`` with host paths, each file read once. Raises ``errors.FileFault``."""

    def located(material: Material | None) -> Material | None:
        if material is None or not material.path:
            return material
        path = layout.host(material.path)
        _read(path)
        return replace(material, path=path)

    return replace(
        credentials,
        certificate=located(credentials.certificate),
        key=located(credentials.key),
        token=located(credentials.token),
        authority=located(credentials.authority),
    )


def _is_readable(path: str) -> bool:
    try:
        _read(path)
    except FileFault:
        return False
    return True


def _read(path: str) -> bytes:
    """The content of a regular file of at most a megabyte, reached through links or not. Raises FileFault."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
            content = os.read(descriptor, LIMIT_BYTES + 1) if regular else b""
        finally:
            os.close(descriptor)
    except OSError as error:
        cause, hint = explain(error)
        raise FileFault(f"cannot read {quote(path)}: {cause}", path=path, hint=hint) from error
    if not regular or not content or len(content) > LIMIT_BYTES:
        cause = "it is not a regular file" if not regular else "it is empty or too large"
        raise FileFault(f"cannot read {quote(path)}: {cause}", path=path)
    return content
