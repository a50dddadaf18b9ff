"""Who is calling: integers that the kernel vouches for, turned into a role, and the headers nobody may send.

The rules come from other daemons' mistakes. Credentials are integers from ``getsockopt`` and are never made into
text and parsed back; the peer's address, which the client chooses, is never read (CVE-2019-7304 in snapd); the pid
is not used at all, since it may name another process by the time it is looked up (CVE-2013-4288 in polkit); the
decision looks at peer and route, never at a body (CVE-2024-41110 in Docker).
"""

import enum
import socket
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

SO_PEERGROUPS = 59
"""Linux 4.13, ``include/uapi/asm-generic/socket.h``; Python's socket module does not name it."""

_NO_ID = 0xFFFF_FFFF
_UCRED = struct.Struct("=iII")
_GROUPS_BYTES = 1024  # the most that Python's getsockopt returns: 256 groups
_HOSTS = frozenset({"", "kauditd", "localhost"})


class Role(enum.Enum):
    """What a caller may do: everything, read, or nothing at all."""

    ADMIN = "admin"
    READER = "reader"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The credentials of the process that connected, as of its ``connect``. ``groups`` are the supplementary ones."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


PeerReader = Callable[[socket.socket], Peer | None]
"""Reads the credentials of a connected socket; None where the kernel gives none."""


def read_peer(connection: socket.socket) -> Peer | None:
    """The peer of a connected Unix socket, or None where the kernel does not know it.

    Supplementary groups come from SO_PEERGROUPS. A kernel without it (before 4.13), or a peer with more than 256
    groups, leaves only the primary group: fewer rights, never more.
    """
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        _pid, uid, gid = _UCRED.unpack(raw)
    except (OSError, struct.error):
        return None
    if _NO_ID in {uid, gid}:
        return None
    return Peer(uid=uid, gid=gid, groups=_read_groups(connection))


def _read_groups(connection: socket.socket) -> frozenset[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:
        return frozenset()
    return frozenset(struct.unpack(f"={len(raw) // 4}I", raw[: len(raw) // 4 * 4]))


def role_of(peer: Peer | None, *, group_id: int | None, daemon_uid: int) -> Role:
    """The role of a peer. ``group_id`` is the group that may read (None: no group may).

    The daemon's own user counts as root, since a daemon under ``--root`` runs without privileges and its user
    could change those files anyway.
    """
    if peer is None:
        return Role.NOBODY
    if peer.uid in (0, daemon_uid):
        return Role.ADMIN
    if group_id is not None and (peer.gid == group_id or group_id in peer.groups):
        return Role.READER
    return Role.NOBODY


def forbidden_header(headers: Mapping[str, str], hosts: Sequence[str]) -> str | None:
    """Why these headers betray a browser or a proxy, or None where they do not.

    A web page may be made to talk to a local socket through a careless forwarder; a browser always sends Origin or
    Referer with a write and the name that it believes to talk to as Host (DNS rebinding). ``hosts`` are all the
    values of the Host header.
    """
    for name in ("Origin", "Referer"):
        if name in headers:
            return f"{name} header"
    if len(hosts) > 1 or any(host not in _HOSTS for host in hosts):
        return "Host header"
    return None
