"""The socket as a file: the right owner and mode at every moment, never stolen, removed only if it is ours."""

import os
import socket
import stat
from pathlib import Path

import pytest

from kauditd.api import listener as module
from kauditd.api.listener import adopt, open_listener
from kauditd.errors import FileFault, KauditError
from tests.api.fake import FakeBackend, request, serving

GROUP = 64_242


def test_mode_and_group_are_right_under_any_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        opened = open_listener(str(path), group_id=os.getegid())
    finally:
        os.umask(before)
    entry = path.lstat()
    opened.close()

    assert stat.S_IMODE(entry.st_mode) == 0o660
    assert entry.st_gid == os.getegid()


def test_without_a_group_the_owner_alone_may_connect(path: Path) -> None:
    opened = open_listener(str(path), group_id=None)
    mode = stat.S_IMODE(path.lstat().st_mode)
    opened.close()

    assert mode == 0o600


def test_nobody_can_connect_before_the_mode_is_set(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between bind and chmod the socket does not listen, so whatever its mode is then, connect fails."""
    outcomes: list[int] = []
    give = module._give

    def probe(place: Path, *, group_id: int | None) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            outcomes.append(client.connect_ex(str(place)))
        assert not path.exists(), "the final name appears last"
        give(place, group_id=group_id)

    monkeypatch.setattr(module, "_give", probe)
    open_listener(str(path), group_id=os.getegid()).close()

    assert outcomes
    assert 0 not in outcomes


def test_the_group_is_set_where_we_are_root(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to a group that it is not in")
    opened = open_listener(str(path.parent / "run" / "kauditd.sock"), group_id=GROUP)
    socket_entry, directory = (path.parent / "run" / "kauditd.sock").lstat(), (path.parent / "run").stat()
    opened.close()

    assert (socket_entry.st_uid, socket_entry.st_gid) == (0, GROUP)
    assert (directory.st_gid, stat.S_IMODE(directory.st_mode)) == (GROUP, 0o750)


def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with serving(path, FakeBackend()):
        assert request(path, "GET", "/v1/version").status == 200

    assert not path.exists()


def test_left_overs_of_a_killed_start_are_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path.with_name(".kauditd.sock.new")))
    open_listener(str(path), group_id=None).close()

    assert not list(path.parent.iterdir())


def test_a_living_daemon_keeps_its_socket(path: Path) -> None:
    with serving(path, FakeBackend()):
        with pytest.raises(KauditError) as caught:
            open_listener(str(path), group_id=None)
        assert request(path, "GET", "/v1/version").status == 200

    assert caught.value.kind == "conflict"
    assert caught.value.hint


def test_a_hung_daemon_with_a_full_backlog_counts_as_living(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as hung, socket.socket(socket.AF_UNIX) as waiting:
        hung.bind(str(path))
        hung.listen(0)
        waiting.connect(str(path))
        with pytest.raises(KauditError) as caught:
            open_listener(str(path), group_id=None)

    assert caught.value.kind == "conflict"


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_a_file_that_is_no_socket_is_left_alone(path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("mine")
        case "directory":
            path.mkdir()
        case _:
            path.symlink_to("/etc/hostname")
    with pytest.raises(KauditError) as caught:
        open_listener(str(path), group_id=None)

    assert caught.value.kind == "conflict"
    assert path.is_symlink() or path.exists()


def test_an_impossible_place_is_a_file_fault_with_its_name(path: Path) -> None:
    path.write_text("a file where a directory should be")
    with pytest.raises(FileFault) as caught:
        open_listener(str(path / "kauditd.sock"), group_id=None)

    assert caught.value.errno_name in {"ENOTDIR", "EEXIST"}
    assert caught.value.path == str(path / "kauditd.sock")


def test_a_path_longer_than_a_socket_address_works(path: Path) -> None:
    deep = path.parent.joinpath(*["directory-with-a-long-name"] * 6) / "kauditd.sock"
    assert len(str(deep)) > 107
    with serving(deep, FakeBackend()):
        assert request(deep, "GET", "/v1/version").status == 200

    assert not deep.exists()


def test_a_socket_that_took_our_place_is_not_removed(path: Path) -> None:
    opened = open_listener(str(path), group_id=None)
    path.unlink()
    path.write_text("somebody else's")
    opened.close()

    assert path.read_text() == "somebody else's"


def test_a_socket_from_systemd_is_used_and_its_file_stays(path: Path) -> None:
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(path))
    opened = adopt(given)
    opened.close()

    assert path.exists()
    assert given.fileno() == -1
