"""Replacing a foreign file: what is kept, what is refused, what is noticed at the last moment."""

import os
import statistics
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kauditd.core.faults import RenamedFault
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.errors import FileFault, LostUpdate

OLD, NEW = b"old: manifest\n", b"new: manifest, with our lines\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifests" / "kube-apiserver.yaml"
    path.parent.mkdir()
    path.write_bytes(OLD)
    path.chmod(0o600)
    return path


def request_for(path: Path, content: bytes = NEW) -> files.Replacement:
    found = files.read_manifest(str(path))
    assert found.id is not None
    assert found.digest is not None
    return files.Replacement(path=str(path), content=content, expected_digest=found.digest, expected_id=found.id)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path.parent))


def put(path: Path, content: bytes) -> None:
    """What kubeadm does: another file gets the name."""
    path.with_name(".theirs").write_bytes(content)
    path.with_name(".theirs").replace(path)


def test_the_new_file_stands_with_the_identity_that_is_returned(manifest: Path) -> None:
    identity = files.replace(request_for(manifest))
    assert manifest.read_bytes() == NEW
    assert files.identify(str(manifest)) == identity
    assert files.read_manifest(str(manifest)).id == identity
    assert names(manifest) == [manifest.name]


def test_every_crash_point_is_passed_in_order(manifest: Path) -> None:
    passed: list[str] = []
    files.replace(request_for(manifest), at=passed.append)
    assert tuple(passed) == files.CRASH_POINTS


def test_only_one_visible_name_exists_at_every_point_and_it_is_whole(manifest: Path) -> None:
    def look(point: str) -> None:
        assert files.list_visible(str(manifest.parent)) == (manifest.name,)
        assert manifest.read_bytes() == (NEW if point in files.CRASH_POINTS[-2:] else OLD), point

    files.replace(request_for(manifest), at=look)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o444])
def test_mode_and_owner_are_kept_and_set_before_there_is_data(manifest: Path, mode: int) -> None:
    if os.geteuid() == 0:
        os.chown(manifest, 0, 3)
    manifest.chmod(mode)
    group = manifest.stat().st_gid

    def look(point: str) -> None:
        if point == "replace.temp-dressed":
            (temp,) = (path for path in manifest.parent.iterdir() if path.name.startswith("."))
            status = temp.stat()
            assert (status.st_mode & 0o7777, status.st_gid, status.st_size) == (mode, group, 0)

    files.replace(request_for(manifest), at=look)
    assert (manifest.stat().st_mode & 0o7777, manifest.stat().st_gid) == (mode, group)


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """A POSIX ACL as the kernel stores it: (tag, permissions, id) behind version 2."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
SHARED = access_list((1, 6, NOBODY), (2, 4, 1), (4, 4, NOBODY), (16, 4, NOBODY), (32, 0, NOBODY))


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"{name} cannot be set here: {error}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user.note", b"kept by the operator"),
        ("system.posix_acl_access", SHARED),
        ("security.selinux", b"system_u:object_r:kubernetes_file_t:s0\0"),
    ],
)
def test_labels_and_access_lists_are_kept(manifest: Path, name: str, value: bytes) -> None:
    set_attribute(manifest, name, value)
    mode = manifest.stat().st_mode
    files.replace(request_for(manifest))
    assert os.getxattr(manifest, name) == value
    assert manifest.stat().st_mode == mode


def test_an_access_list_that_the_directory_would_add_is_not_added(manifest: Path) -> None:
    set_attribute(manifest.parent, "system.posix_acl_default", SHARED)
    assert "system.posix_acl_access" not in os.listxattr(manifest)
    files.replace(request_for(manifest))
    assert "system.posix_acl_access" not in os.listxattr(manifest)
    assert manifest.stat().st_mode & 0o7777 == 0o600


def test_the_directory_may_be_reached_through_a_link(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(manifest.parent)
    files.replace(request_for(tmp_path / "link" / manifest.name))
    assert manifest.read_bytes() == NEW


def swap_equal(path: Path) -> None:
    put(path, OLD)


def swap_other(path: Path) -> None:
    put(path, b"theirs\n")


def rewrite_in_place(path: Path) -> None:
    path.write_bytes(b"OLD: manifest\n")


def take_away(path: Path) -> None:
    path.rename(path.parent.parent / "backup.yaml")


@pytest.mark.parametrize("meddle", [swap_equal, swap_other, rewrite_in_place, take_away])
@pytest.mark.parametrize("point", ["", *files.CRASH_POINTS[:6]])
def test_an_update_in_between_is_never_lost(manifest: Path, meddle: Callable[[Path], None], point: str) -> None:
    request = request_for(manifest)
    if not point:
        meddle(manifest)
    before: list[object] = []

    def look(passed: str) -> None:
        if passed == point:
            meddle(manifest)
            before.append(files.identify(str(manifest)))

    with pytest.raises(LostUpdate) as raised:
        files.replace(request, at=look)
    assert raised.value.kind == "conflict"
    assert not manifest.exists() or manifest.read_bytes() != NEW
    assert not before or files.identify(str(manifest)) == before[0]
    assert [name for name in names(manifest) if name.startswith(".")] == []


def test_a_missing_file_is_never_created(manifest: Path) -> None:
    request = request_for(manifest)
    manifest.unlink()
    with pytest.raises(LostUpdate, match="it is gone"):
        files.replace(request)
    assert names(manifest) == []


def act_as_kubeadm(path: Path) -> None:
    """The old manifest goes to the backup directory, the staged one takes its place."""
    take_away(path)
    put(path, b"kubeadm's\n")


@pytest.mark.parametrize("meddle", [act_as_kubeadm, take_away, rewrite_in_place])
def test_an_update_in_the_very_last_instant_is_reported(manifest: Path, meddle: Callable[[Path], None]) -> None:
    """No system call renames only where a certain file stands; what cannot be prevented is at least told."""

    def look(point: str) -> None:
        if point == "replace.before-rename":
            meddle(manifest)

    with pytest.raises(RenamedFault, match="cannot tell what") as raised:
        files.replace(request_for(manifest), at=look)
    assert raised.value.renamed
    assert manifest.read_bytes() == NEW


def test_a_link_in_place_of_the_file_is_refused(manifest: Path) -> None:
    request = request_for(manifest)
    manifest.rename(manifest.parent.parent / "real.yaml")
    manifest.symlink_to("../real.yaml")
    with pytest.raises(FileFault) as raised:
        files.replace(request)
    assert raised.value.errno_name == "ELOOP"
    assert manifest.is_symlink()


def make_hard_link(path: Path) -> None:
    os.link(path, path.parent.parent / "other-name")


def let_all_write(path: Path) -> None:
    path.chmod(0o606)


def give_away(path: Path) -> None:
    as_root()
    os.chown(path, 12345, 0)


def let_all_write_to_directory(path: Path) -> None:
    path.parent.chmod(0o777)


def give_directory_away(path: Path) -> None:
    as_root()
    os.chown(path.parent, 12345, 0)


def as_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")


@pytest.mark.parametrize(
    ("spoil", "cause"),
    [
        (make_hard_link, "hard link"),
        (let_all_write, "everybody may write to it"),
        (give_away, "it belongs to another user"),
        (let_all_write_to_directory, "everybody may write to its directory"),
        (give_directory_away, "its directory belongs to another user"),
    ],
)
def test_a_file_that_is_not_fit_is_refused(manifest: Path, spoil: Callable[[Path], None], cause: str) -> None:
    spoil(manifest)
    with pytest.raises(FileFault, match=cause) as raised:
        files.replace(request_for(manifest))
    assert raised.value.hint
    assert manifest.read_bytes() == OLD
    assert names(manifest) == [manifest.name]


def test_a_sticky_directory_that_all_may_write_to_is_fit(manifest: Path) -> None:
    manifest.parent.chmod(0o1777)
    files.replace(request_for(manifest))
    assert manifest.read_bytes() == NEW


def test_a_directory_in_place_of_the_file_is_refused(manifest: Path) -> None:
    request = request_for(manifest)
    manifest.unlink()
    manifest.mkdir()
    with pytest.raises(FileFault, match="not a regular file"):
        files.replace(request)


def test_nothing_is_never_written(manifest: Path) -> None:
    with pytest.raises(FileFault, match="empty"):
        files.replace(request_for(manifest, b""))
    assert manifest.read_bytes() == OLD


def test_bytes_of_another_file_are_not_accepted_as_expected(manifest: Path) -> None:
    right = request_for(manifest)
    wrong = files.Replacement(
        path=right.path, content=NEW, expected_digest=digest_of(b"other"), expected_id=right.expected_id
    )
    with pytest.raises(LostUpdate, match="its content is not what was read"):
        files.replace(wrong)


def test_stale_temporary_files_of_ours_are_swept_and_nobody_elses(manifest: Path) -> None:
    strangers = (".kauditd.zzzzzzzz.1", ".kauditd.00000000.1.yaml", ".swp", "etcd.yaml")
    for name in (*strangers, ".kauditd.01234567.1", ".kauditd.89abcdef.4194304"):
        (manifest.parent / name).write_text("x")
    (manifest.parent / ".kauditd.00000000.2").mkdir()
    files.replace(request_for(manifest))
    assert set(names(manifest)) == {*strangers, ".kauditd.00000000.2", manifest.name}


def test_the_start_sweeps_by_itself(manifest: Path, tmp_path: Path) -> None:
    (manifest.parent / ".kauditd.01234567.1").write_text("x")
    assert files.sweep(str(manifest.parent)) == (".kauditd.01234567.1",)
    assert files.sweep(str(manifest.parent)) == ()
    assert files.sweep(f"{tmp_path}/nowhere") == ()


def test_no_descriptor_is_left_open(manifest: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    files.replace(request_for(manifest))
    with pytest.raises(FileFault):
        files.replace(request_for(manifest, b""))
    request = request_for(manifest)
    manifest.unlink()
    with pytest.raises(LostUpdate):
        files.replace(request)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.serial
def test_a_replacement_costs_little_beside_the_disks_own_time(manifest: Path) -> None:
    """Most of the 20 ms between kubeadm's rename and the restored manifest must be left to others."""
    costs_ms, disk_ms = [], []
    for number in range(60):
        content = b"manifest %d\n" % number * 300
        request = request_for(manifest, content)
        begun = time.perf_counter()
        files.replace(request)
        costs_ms.append((time.perf_counter() - begun) * 1e3)
        begun = time.perf_counter()
        with (manifest.parent.parent / "plain").open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        disk_ms.append((time.perf_counter() - begun) * 1e3)
    assert statistics.median(costs_ms) < 3 + 3 * statistics.median(disk_ms)
