"""Our own files: whole, durable, with the mode that was asked for."""

import os
from pathlib import Path

import pytest

from kauditd.effects import files
from kauditd.effects.files import Published
from kauditd.errors import FileFault

NAME = "policy-0123456789ab.yaml"


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_a_written_file_has_content_and_mode_and_no_companion(tmp_path: Path) -> None:
    files.write_durably(f"{tmp_path}/a", b"one", mode=0o600)
    files.write_durably(f"{tmp_path}/a", b"two", mode=0o640)
    assert (tmp_path / "a").read_bytes() == b"two"
    assert mode_of(tmp_path / "a") == 0o640
    assert os.listdir(tmp_path) == ["a"]


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write_durably(f"{tmp_path}/a", b"", mode=0o664)
        files.ensure_directory(f"{tmp_path}/d", 0o755)
    finally:
        os.umask(before)
    assert (mode_of(tmp_path / "a"), mode_of(tmp_path / "d")) == (0o664, 0o755)


def test_owner_is_set_where_asked(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    files.write_durably(f"{tmp_path}/a", b"", mode=0o600, owner=(0, 7))
    files.ensure_directory(f"{tmp_path}/d", 0o750, owner=(0, 7))
    assert ((tmp_path / "a").stat().st_gid, (tmp_path / "d").stat().st_gid) == (7, 7)


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"theirs")
    (tmp_path / "a").symlink_to("elsewhere")
    files.write_durably(f"{tmp_path}/a", b"ours", mode=0o600)
    assert (tmp_path / "elsewhere").read_bytes() == b"theirs"
    assert not (tmp_path / "a").is_symlink()


def test_a_dead_writers_temporary_file_is_no_obstacle(tmp_path: Path) -> None:
    seen = []
    files.write_durably(f"{tmp_path}/a", b"x", mode=0o600, at=lambda _point: seen.extend(os.listdir(tmp_path)))
    (temp,) = {name for name in seen if name != "a"}
    (tmp_path / temp).write_bytes(b"left by a process that had this number before")
    files.write_durably(f"{tmp_path}/a", b"x", mode=0o600)
    assert os.listdir(tmp_path) == ["a"]


def test_every_named_point_is_passed_in_order(tmp_path: Path) -> None:
    passed: list[str] = []
    files.write_durably(f"{tmp_path}/a", b"x", mode=0o600, at=passed.append)
    assert tuple(passed) == files.DURABLE_POINTS


def test_writing_into_a_missing_directory_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FileFault, match="cannot write") as raised:
        files.write_durably(f"{tmp_path}/nowhere/a", b"", mode=0o600)
    assert raised.value.errno_name == "ENOENT"


def test_an_immutable_file_is_written_once(tmp_path: Path) -> None:
    assert files.publish_immutable(str(tmp_path), NAME, b"policy") is Published.WRITTEN
    identity = files.identify(f"{tmp_path}/{NAME}")
    assert files.publish_immutable(str(tmp_path), NAME, b"policy") is Published.PRESENT
    assert files.identify(f"{tmp_path}/{NAME}") == identity
    assert mode_of(tmp_path / NAME) == 0o644


@pytest.mark.timeout(5)
@pytest.mark.parametrize("tampering", ["bytes", "longer", "shorter", "mode", "owner", "link", "fifo"])
def test_a_tampered_immutable_file_is_repaired_and_reported(tmp_path: Path, tampering: str) -> None:
    path = tmp_path / NAME
    path.write_bytes({"bytes": b"POLICY", "longer": b"policy!", "shorter": b"polic"}.get(tampering, b"policy"))
    path.chmod(0o666 if tampering == "mode" else 0o644)
    if tampering == "owner":
        if os.geteuid() != 0:
            pytest.skip("only root may give files away")
        os.chown(path, 12345, 0)
    if tampering == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to("elsewhere")
    if tampering == "fifo":
        path.unlink()
        os.mkfifo(path)
    assert files.publish_immutable(str(tmp_path), NAME, b"policy") is Published.REPAIRED
    assert (path.read_bytes(), mode_of(path), path.is_symlink()) == (b"policy", 0o644, False)
    assert path.stat().st_uid == os.geteuid()


def test_a_directory_in_the_place_of_an_immutable_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(FileFault) as raised:
        files.publish_immutable(str(tmp_path), NAME, b"policy")
    assert raised.value.errno_name == "EISDIR"


def test_directories_are_made_with_their_parents(tmp_path: Path) -> None:
    assert files.ensure_directory(f"{tmp_path}/a/b/c", 0o700)
    assert mode_of(tmp_path / "a" / "b" / "c") == 0o700
    assert mode_of(tmp_path / "a") == 0o755


def test_a_directory_that_somebody_else_makes_meanwhile_is_as_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.mkdir

    def mkdir(name: str, mode: int, *, dir_fd: int) -> None:
        real(name, 0o711, dir_fd=dir_fd)
        real(name, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", mkdir)
    assert not files.ensure_directory(f"{tmp_path}/a/b", 0o700)
    assert mode_of(tmp_path / "a" / "b") == 0o711


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir(mode=0o711)
    assert not files.ensure_directory(f"{tmp_path}/a/", 0o700)
    assert mode_of(tmp_path / "a") == 0o711


def test_a_link_is_no_directory_of_ours_but_may_lead_to_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(FileFault, match="symbolic link"):
        files.ensure_directory(f"{tmp_path}/link", 0o700)
    assert files.ensure_directory(f"{tmp_path}/link/inner", 0o700)
    assert (tmp_path / "real" / "inner").is_dir()


def test_a_file_in_the_place_of_a_directory_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(FileFault, match="something else has that name"):
        files.ensure_directory(f"{tmp_path}/a", 0o700)
    with pytest.raises(FileFault) as raised:
        files.ensure_directory(f"{tmp_path}/a/b", 0o700)
    assert raised.value.errno_name == "ENOTDIR"


def test_pruning_removes_unnamed_policies_and_nothing_else(tmp_path: Path) -> None:
    strangers = ("policy.yaml", "policy-0123.yaml", "policy-0123456789ab.yaml.bak", "policy-0123456789AB.yaml", "x")
    for name in (*strangers, NAME, "policy-ffffffffffff.yaml", "policy-000000000000.yaml"):
        (tmp_path / name).write_text("")
    removed = files.prune(str(tmp_path), {NAME})
    assert removed == ("policy-000000000000.yaml", "policy-ffffffffffff.yaml")
    assert set(os.listdir(tmp_path)) == {*strangers, NAME}
    assert files.prune(f"{tmp_path}/nowhere", set()) == ()


def test_removing_what_is_gone_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    files.remove_files(str(tmp_path), ("a", "b"))
    assert os.listdir(tmp_path) == []


def test_files_set_aside_never_replace_one_another(tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / "a").write_text(content)
        files.set_aside(f"{tmp_path}/a")
    assert (tmp_path / "a.corrupt-1").read_text() == "one"
    assert (tmp_path / "a.corrupt-2").read_text() == "two"
    assert not (tmp_path / "a").exists()


def test_free_space_is_told_for_a_place_that_does_not_exist_yet(tmp_path: Path) -> None:
    status = os.statvfs(tmp_path)
    total_bytes = status.f_blocks * status.f_frsize
    assert 0 < files.free_bytes(f"{tmp_path}/not/yet/there") <= total_bytes


def test_probing_leaves_no_trace(tmp_path: Path) -> None:
    before = tmp_path.stat().st_mtime_ns
    files.probe_writable(str(tmp_path))
    assert os.listdir(tmp_path) == []
    assert tmp_path.stat().st_mtime_ns == before


def test_a_place_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, name in (("nowhere", "ENOENT"), ("file", "ENOTDIR")):
        with pytest.raises(FileFault, match="cannot write to") as raised:
            files.probe_writable(f"{tmp_path}/{place}")
        assert raised.value.errno_name == name


@pytest.mark.parametrize("allowed", [True, False])
def test_where_no_nameless_file_can_be_made_the_system_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, allowed: bool
) -> None:
    def refuse(*_arguments: object, **_options: object) -> int:
        raise IsADirectoryError(21, "Is a directory")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "access", lambda *_arguments: allowed)
    if allowed:
        files.probe_writable(str(tmp_path))
    else:
        with pytest.raises(FileFault) as raised:
            files.probe_writable(str(tmp_path))
        assert raised.value.errno_name == "EACCES"
