"""Roles come from integers that the kernel vouches for; each rule here is somebody else's security hole."""

import os
import socket
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.api.access import Peer, Role, forbidden_header, read_peer, role_of

GROUP = 4242
IDS = st.integers(min_value=0, max_value=2**32 - 2)


class StubbedSocket:
    """Answers getsockopt from a table; an OSError in it is raised."""

    def __init__(self, answers: dict[int, bytes | OSError]) -> None:
        self.answers = answers

    def getsockopt(self, level: int, option: int, size_bytes: int) -> bytes:
        assert level == socket.SOL_SOCKET
        answer = self.answers[option]
        if isinstance(answer, OSError):
            raise answer
        return answer[:size_bytes]

    def getpeername(self) -> str:
        raise AssertionError("the client chooses its own address: it must not be read (CVE-2019-7304)")


def stub(uid: int, gid: int, groups: bytes | OSError = b"") -> StubbedSocket:
    return StubbedSocket({socket.SO_PEERCRED: struct.pack("=iII", 1, uid, gid), 59: groups})


def test_root_and_the_daemons_own_user_may_do_everything() -> None:
    assert role_of(Peer(uid=0, gid=0), group_id=None, daemon_uid=1000) is Role.ADMIN
    assert role_of(Peer(uid=1000, gid=1000), group_id=None, daemon_uid=1000) is Role.ADMIN


def test_the_group_reads_as_primary_or_as_supplementary_group() -> None:
    assert role_of(Peer(uid=5, gid=GROUP), group_id=GROUP, daemon_uid=0) is Role.READER
    assert role_of(Peer(uid=5, gid=5, groups=frozenset({7, GROUP})), group_id=GROUP, daemon_uid=0) is Role.READER


@given(uid=IDS, gid=IDS, groups=st.frozensets(IDS, max_size=4), group_id=st.none() | IDS, daemon_uid=IDS)
def test_anybody_else_is_nobody(
    uid: int, gid: int, groups: frozenset[int], group_id: int | None, daemon_uid: int
) -> None:
    """Deny by default: a role is given for exactly the three stated reasons."""
    role = role_of(Peer(uid=uid, gid=gid, groups=groups), group_id=group_id, daemon_uid=daemon_uid)

    if uid in {0, daemon_uid}:
        assert role is Role.ADMIN
    elif group_id is not None and group_id in {gid, *groups}:
        assert role is Role.READER
    else:
        assert role is Role.NOBODY


def test_a_peer_without_credentials_is_nobody() -> None:
    assert role_of(None, group_id=GROUP, daemon_uid=0) is Role.NOBODY


@pytest.mark.parametrize("ids", [(2**32 - 1, 0), (0, 2**32 - 1)])
def test_an_unmapped_identity_is_no_identity(ids: tuple[int, int]) -> None:
    """(uid_t)-1 is what the kernel gives where there is no credential; it must not become a user."""
    assert read_peer(stub(*ids)) is None


def test_a_uid_above_two_to_the_31_stays_itself() -> None:
    assert read_peer(stub(2**31 + 5, 6)) == Peer(uid=2**31 + 5, gid=6)


def test_a_kernel_without_peer_groups_leaves_the_primary_group() -> None:
    peer = read_peer(stub(5, GROUP, OSError(92, "Protocol not available")))

    assert peer == Peer(uid=5, gid=GROUP)
    assert role_of(peer, group_id=GROUP, daemon_uid=0) is Role.READER


def test_more_groups_than_the_buffer_holds_means_fewer_rights_never_more() -> None:
    peer = read_peer(stub(5, 5, OSError(34, "Numerical result out of range")))

    assert role_of(peer, group_id=GROUP, daemon_uid=0) is Role.NOBODY


def test_supplementary_groups_are_read() -> None:
    assert read_peer(stub(5, 6, struct.pack("=3I", 1, 2, GROUP))) == Peer(uid=5, gid=6, groups=frozenset({1, 2, GROUP}))


def test_a_socket_that_has_no_credentials_gives_none() -> None:
    assert read_peer(StubbedSocket({socket.SO_PEERCRED: OSError(92, "no")})) is None
    assert read_peer(StubbedSocket({socket.SO_PEERCRED: b""})) is None


def test_the_kernel_agrees_about_ourselves_whatever_the_client_calls_its_socket(tmp_path: Path) -> None:
    """dirty_sock bound the client's end to a path that contained ';uid=0;' (CVE-2019-7304)."""
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind(str(tmp_path / "s"))
        server.listen()
        client.bind(str(tmp_path / ";uid=0;"))
        client.connect(str(tmp_path / "s"))
        accepted, _address = server.accept()
        with accepted:
            peer = read_peer(accepted)

    assert peer is not None
    assert (peer.uid, peer.gid) == (os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())


@pytest.mark.parametrize("name", ["Origin", "Referer"])
def test_a_browser_is_refused(name: str) -> None:
    assert forbidden_header({name: "http://localhost"}, ["kauditd"]) == f"{name} header"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:80", "kauditd.", "KAUDITD", "10.0.0.1"])
def test_a_foreign_host_is_refused(host: str) -> None:
    """DNS rebinding: the name that a browser believes to talk to is never one of ours."""
    assert forbidden_header({}, [host]) == "Host header"


def test_two_hosts_are_refused_even_if_both_are_ours() -> None:
    assert forbidden_header({}, ["kauditd", "kauditd"]) == "Host header"


@pytest.mark.parametrize("hosts", [[], [""], ["kauditd"], ["localhost"]])
def test_our_own_names_pass(hosts: list[str]) -> None:
    assert forbidden_header({"Accept": "*/*"}, hosts) is None
