"""Real file systems that refuse: full, read-only, immutable, bind-mounted. In a mount namespace of their own."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.errors import FileFault
from tests.effects.faults import scene


@pytest.fixture
def mounts() -> None:
    """Skip where this user may not mount."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None:
        pytest.skip("mounting needs root, unshare and mount")
    probe = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"no mount namespace here: {probe.stderr.strip()}")


PROGRAM = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
from kauditd import errors
from kauditd.effects import files

path, size = sys.argv[2], int(sys.argv[3])
found = files.read_manifest(path)
told = {"message": "", "errno": "", "hint": "", "renamed": False}
request = files.Replacement(path=path, content=b"n" * size, expected_digest=found.digest, expected_id=found.id)
try:
    files.replace(request)
except errors.FileFault as fault:
    renamed = getattr(fault, "renamed", False)
    told = {"message": fault.message, "errno": fault.errno_name, "hint": fault.hint, "renamed": renamed}
told["names"] = " ".join(os.listdir(os.path.dirname(path)))
told["digest"] = files.read_manifest(path).digest
print(json.dumps(told))
"""


def in_namespace(root: Path, *, prepare: str, content: str, after: str = "true") -> dict[str, str]:
    """Mount by the shell commands ``prepare``, replace the manifest, and tell what came of it and what is left."""
    tree = str(Path(__file__).parents[3])
    path = f"{root}/manifests/kube-apiserver.yaml"
    script = f'{prepare}; exec {sys.executable} -I -S -c "$0" "$@"'
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-ec", script, PROGRAM, tree, path, str(len(content))],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        timeout=30,
    )
    if ran.returncode == 77:
        pytest.skip(f"this file system cannot be mounted here: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert isinstance(told, dict)
    return told


def old_manifest(directory: str) -> str:
    return f"printf old > {directory}/kube-apiserver.yaml"


def test_full_disk_keeps_the_old_manifest(tmp_path: Path, mounts: None) -> None:
    (tmp_path / "manifests").mkdir()
    told = in_namespace(
        tmp_path,
        prepare="mount -t tmpfs -o size=64k none manifests; " + old_manifest("manifests"),
        content="n" * 300_000,
    )
    assert told["errno"] == "ENOSPC"
    assert "df" in told["hint"]
    assert told["names"] == "kube-apiserver.yaml"
    assert told["digest"] == digest_of(b"old")


def test_no_inode_left_keeps_the_old_manifest(tmp_path: Path, mounts: None) -> None:
    (tmp_path / "manifests").mkdir()
    told = in_namespace(
        tmp_path,
        prepare="mount -t tmpfs -o nr_inodes=2 none manifests; " + old_manifest("manifests"),
        content="new",
    )
    assert (told["errno"], told["names"], told["digest"]) == ("ENOSPC", "kube-apiserver.yaml", digest_of(b"old"))


def test_read_only_remount_is_explained(tmp_path: Path, mounts: None) -> None:
    (tmp_path / "manifests").mkdir()
    told = in_namespace(
        tmp_path,
        prepare=f"mount -t tmpfs none manifests; {old_manifest('manifests')}; mount -o remount,ro manifests",
        content="new",
    )
    assert (told["errno"], told["digest"]) == ("EROFS", digest_of(b"old"))
    assert "restart kauditd" in told["hint"]


def test_bind_mounted_manifest_is_explained(tmp_path: Path, mounts: None) -> None:
    (tmp_path / "manifests").mkdir()
    (tmp_path / "elsewhere").write_text("old")
    told = in_namespace(
        tmp_path,
        prepare="touch manifests/kube-apiserver.yaml; mount --bind elsewhere manifests/kube-apiserver.yaml",
        content="new",
    )
    assert (told["errno"], told["names"], told["digest"]) == ("EBUSY", "kube-apiserver.yaml", digest_of(b"old"))
    assert "mount its directory" in told["hint"]


def test_manifests_directory_that_is_a_mount_of_its_own(tmp_path: Path, mounts: None) -> None:
    (tmp_path / "manifests").mkdir()
    told = in_namespace(tmp_path, prepare="mount -t tmpfs none manifests; " + old_manifest("manifests"), content="new")
    assert (told["errno"], told["digest"]) == ("", digest_of(b"nnn"))


def test_manifest_in_the_lower_layer_of_an_overlay(tmp_path: Path, mounts: None) -> None:
    """Where /etc is an overlay (image-based systems), the file replaced is one of the image, which stays."""
    for name in ("lower", "upper", "work", "manifests"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower" / "kube-apiserver.yaml").write_text("old")
    told = in_namespace(
        tmp_path,
        prepare="mount -t tmpfs none work; mkdir work/u work/w; "
        "mount -t overlay -o lowerdir=lower,upperdir=work/u,workdir=work/w none manifests || exit 77",
        content="new",
    )
    assert (told["message"], told["renamed"], told["digest"]) == ("", False, digest_of(b"nnn"))
    assert told["names"] == "kube-apiserver.yaml"
    assert (tmp_path / "lower" / "kube-apiserver.yaml").read_text() == "old"


@pytest.fixture
def immutable(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A scene whose file or directory is made immutable."""
    path = scene.build(tmp_path)
    target = path if request.param == "file" else path.parent
    if shutil.which("chattr") is None:
        pytest.skip("chattr is not installed")
    made = subprocess.run(["chattr", "+i", str(target)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"nothing can be made immutable here: {made.stderr.strip()}")
    yield path
    subprocess.run(["chattr", "-i", str(target)], check=True)


@pytest.mark.parametrize("immutable", ["file", "directory"], indirect=True)
def test_immutable_manifest_is_explained(immutable: Path, tmp_path: Path) -> None:
    found = files.read_manifest(str(immutable))
    assert found.id is not None
    assert found.digest is not None
    request = files.Replacement(path=found.path, content=b"new", expected_digest=found.digest, expected_id=found.id)
    with pytest.raises(FileFault) as raised:
        files.replace(request)
    assert raised.value.errno_name == "EPERM"
    assert "chattr -i" in raised.value.hint
    labelled = scene.label_of(immutable) is not None
    assert scene.check(tmp_path, labelled=labelled, temps_allowed=False) == "old"
