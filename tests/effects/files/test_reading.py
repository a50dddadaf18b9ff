"""Reading what others write: one consistent picture, or a sentence that says why there is none."""

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest

from kauditd.effects import files
from kauditd.errors import FileFault


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "manifests" / "kube-apiserver.yaml"
    path.parent.mkdir()
    path.write_bytes(b"kind: Pod\n")
    return path


def test_a_manifest_is_read_with_identity_and_digest(manifest: Path) -> None:
    found = files.read_manifest(str(manifest))
    assert found.content == b"kind: Pod\n"
    assert found.digest == hashlib.sha256(b"kind: Pod\n").hexdigest()
    assert found.id == files.identify(str(manifest))
    assert (found.path, found.missing, found.fault) == (str(manifest), False, "")


def test_an_empty_manifest_is_a_manifest(manifest: Path) -> None:
    manifest.write_bytes(b"")
    assert files.read_manifest(str(manifest)).content == b""


def test_a_manifest_of_exactly_the_limit_is_read_and_one_byte_more_is_not(manifest: Path) -> None:
    assert files.read_manifest(str(manifest), limit_bytes=10).content == b"kind: Pod\n"
    found = files.read_manifest(str(manifest), limit_bytes=9)
    assert (found.content, found.missing) == (None, False)
    assert "larger than 9 bytes" in found.fault
    assert found.id == files.identify(str(manifest))


def test_a_missing_manifest_is_missing_and_no_fault(manifest: Path) -> None:
    manifest.unlink()
    found = files.read_manifest(str(manifest))
    assert (found.missing, found.fault, found.content, found.id) == (True, "", None, None)


def test_a_missing_directory_makes_the_manifest_missing(tmp_path: Path) -> None:
    assert files.read_manifest(f"{tmp_path}/nowhere/kube-apiserver.yaml").missing


def test_the_directory_may_be_a_link(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(manifest.parent)
    assert files.read_manifest(f"{tmp_path}/link/kube-apiserver.yaml").content == b"kind: Pod\n"


def test_the_manifest_itself_may_not_be_a_link(manifest: Path) -> None:
    link = manifest.with_name("link.yaml")
    link.symlink_to(manifest)
    found = files.read_manifest(str(link))
    assert "symbolic link" in found.fault
    assert found.id == files.identify(str(link))
    assert not found.missing


def test_a_dangling_link_is_a_fault_and_not_a_missing_file(manifest: Path) -> None:
    manifest.unlink()
    manifest.symlink_to("nowhere")
    found = files.read_manifest(str(manifest))
    assert (found.missing, "symbolic link" in found.fault) == (False, True)


@pytest.mark.timeout(5)
def test_a_fifo_does_not_make_us_wait(manifest: Path) -> None:
    manifest.unlink()
    os.mkfifo(manifest)
    assert "not a regular file" in files.read_manifest(str(manifest)).fault
    with pytest.raises(FileFault, match="not a regular file"):
        files.read_small(str(manifest), 100)


def test_a_socket_is_no_manifest(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.unlink()
    monkeypatch.chdir(manifest.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(manifest.name)
        assert "not a regular file" in files.read_manifest(str(manifest)).fault


def test_a_directory_is_no_manifest(manifest: Path) -> None:
    assert "is a directory" in files.read_manifest(str(manifest.parent)).fault


def test_a_file_in_place_of_the_directory_is_a_fault(manifest: Path) -> None:
    found = files.read_manifest(f"{manifest}/kube-apiserver.yaml")
    assert not found.missing
    assert "not a directory" in found.fault


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_refused_read_is_a_sentence(manifest: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refuse(*_arguments: object, **_options: object) -> bytes:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pread", refuse)
    found = files.read_manifest(str(manifest))
    assert found.fault.startswith(f"cannot read {manifest}: ")
    assert errno.errorcode[number] in found.fault


def change_while_reading(monkeypatch: pytest.MonkeyPatch, path: Path, *, times: int) -> None:
    """Let somebody append to ``path`` right after each of the first ``times`` looks at it."""
    real = os.pread
    looks = 0

    def read(descriptor: int, size: int, offset: int) -> bytes:
        nonlocal looks
        data = real(descriptor, size, offset)
        if offset == 0:
            looks += 1
            if looks <= times:
                with path.open("ab") as file:
                    file.write(b"more\n")
        return data

    monkeypatch.setattr(os, "pread", read)


def test_a_manifest_that_changes_while_it_is_read_is_read_again(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_while_reading(monkeypatch, manifest, times=2)
    found = files.read_manifest(str(manifest))
    assert found.content == b"kind: Pod\nmore\nmore\n"
    assert found.digest == hashlib.sha256(found.content).hexdigest()
    assert found.id == files.identify(str(manifest))


def test_a_manifest_that_never_rests_is_a_fault(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change_while_reading(monkeypatch, manifest, times=1000)
    found = files.read_manifest(str(manifest))
    assert (found.content, found.missing) == (None, False)
    assert "keeps changing" in found.fault


def test_a_manifest_replaced_while_it_is_read_is_read_whole(manifest: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread

    def read(descriptor: int, size: int, offset: int) -> bytes:
        monkeypatch.setattr(os, "pread", real)
        manifest.with_name(".new").write_bytes(b"kind: New\n")
        manifest.with_name(".new").replace(manifest)
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", read)
    found = files.read_manifest(str(manifest))
    assert found.content in {b"kind: Pod\n", b"kind: New\n"}
    assert found.content is not None
    assert found.digest == hashlib.sha256(found.content).hexdigest()


def test_identity_tells_equal_bytes_apart(manifest: Path) -> None:
    before = files.identify(str(manifest))
    manifest.with_name(".new").write_bytes(manifest.read_bytes())
    manifest.with_name(".new").replace(manifest)
    assert files.identify(str(manifest)) != before
    assert files.identify(f"{manifest}.nowhere") is None


def test_the_visible_names_are_those_that_the_kubelet_reads(manifest: Path) -> None:
    directory = manifest.parent
    for name in ("kube-apiserver.yaml.bak", "Ä.yaml", "etcd", ".hidden.yaml", ".kauditd.00000000.1"):
        (directory / name).write_text("x")
    (directory / "nested").mkdir()
    (directory / "link").symlink_to(manifest)
    (directory / "dangling").symlink_to("nowhere")
    (directory / "loop").symlink_to("loop")
    os.mkfifo(directory / "fifo")
    expected = ("etcd", "kube-apiserver.yaml", "kube-apiserver.yaml.bak", "link", "Ä.yaml")
    assert files.list_visible(str(directory)) == expected


def test_a_directory_that_is_not_there_shows_no_names(tmp_path: Path) -> None:
    assert files.list_visible(f"{tmp_path}/nowhere") == ()


def test_a_directory_that_cannot_be_listed_is_a_fault(manifest: Path) -> None:
    with pytest.raises(FileFault, match="cannot list"):
        files.list_visible(str(manifest))


def test_a_small_file_is_read_through_links(manifest: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(manifest)
    assert files.read_small(f"{tmp_path}/link", 100) == b"kind: Pod\n"


@pytest.mark.parametrize(
    ("path", "limit_bytes", "name"),
    [("kube-apiserver.yaml", 9, "EFBIG"), ("nowhere", 9, "ENOENT"), (".", 9, "")],
)
def test_a_small_file_that_cannot_be_used_is_a_fault(manifest: Path, path: str, limit_bytes: int, name: str) -> None:
    with pytest.raises(FileFault, match=r"^cannot read ") as raised:
        files.read_small(f"{manifest.parent}/{path}", limit_bytes)
    assert raised.value.errno_name == name
