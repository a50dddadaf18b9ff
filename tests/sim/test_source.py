"""The file source without processes: which files count, and what each event does to the store."""

import shutil
from pathlib import Path

import pytest

from kauditd.sim.manifests import component_manifest
from kauditd.sim.source import MAX_FILE_BYTES, FileEvent, FileSource


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    return FileSource(directory=str(tmp_path), logical_directory="/etc/kubernetes/manifests", node_name="cp1")


def write(source: FileSource, name: str, component: str = "etcd", version: str = "v1") -> Path:
    path = Path(source.directory, name)
    path.write_bytes(component_manifest(component, version))
    return path


@pytest.mark.parametrize("name", ["etcd.yaml", "etcd.bak", "etcd", "etcd.yaml~", "sedAbCdEf", "4913"])
def test_any_visible_name_is_read(source: FileSource, name: str) -> None:
    write(source, name)
    source.relist()
    assert list(source.pods) == ["kube-system/etcd-cp1"]


def test_dotfiles_and_directories_are_not(source: FileSource) -> None:
    write(source, ".etcd.yaml")
    Path(source.directory, "old").mkdir()
    write(source, "old/etcd.yaml")
    source.relist()
    source.apply(".etcd.yaml", FileEvent.CHANGED)
    assert source.pods == {}


def test_symlinks_are_followed_and_huge_files_refused(
    source: FileSource, tmp_path_factory: pytest.TempPathFactory
) -> None:
    real = tmp_path_factory.mktemp("elsewhere") / "etcd.yaml"
    shutil.move(write(source, "etcd.yaml"), real)
    Path(source.directory, "link.yaml").symlink_to(real)
    huge = write(source, "huge.yaml", "kube-scheduler")
    with huge.open("ab") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    source.relist()
    assert list(source.pods) == ["kube-system/etcd-cp1"]
    assert "huge.yaml" in source.faults


def test_last_name_wins_a_listing_and_the_last_event_wins_in_between(source: FileSource) -> None:
    key = "kube-system/etcd-cp1"
    write(source, "a.yaml", version="v1")
    write(source, "b.yaml", version="v2")
    source.relist()
    assert source.pods[key].version == "v2"
    source.apply("a.yaml", FileEvent.CHANGED)
    assert source.pods[key].version == "v1"
    source.relist()
    assert source.pods[key].version == "v2"


def test_bad_file_keeps_its_pod_until_the_listing(source: FileSource) -> None:
    path = write(source, "etcd.yaml")
    source.relist()
    path.write_text("kind: [")
    source.apply("etcd.yaml", FileEvent.CHANGED)
    assert list(source.pods) == ["kube-system/etcd-cp1"]
    source.relist()
    assert source.pods == {}


def test_removed_copy_takes_the_shared_pod_away_until_the_listing(source: FileSource) -> None:
    write(source, "etcd.yaml")
    copy = write(source, "etcd.yaml.bak")
    source.relist()
    copy.unlink()
    source.apply("etcd.yaml.bak", FileEvent.GONE)
    assert source.pods == {}
    source.relist()
    assert source.pods["kube-system/etcd-cp1"].path == "/etc/kubernetes/manifests/etcd.yaml"


def test_unknown_name_going_away_changes_nothing(source: FileSource) -> None:
    write(source, "etcd.yaml")
    source.relist()
    source.apply("never-seen.yaml", FileEvent.GONE)
    assert list(source.pods) == ["kube-system/etcd-cp1"]


def test_missing_directory_is_an_empty_set(source: FileSource) -> None:
    write(source, "etcd.yaml")
    source.relist()
    shutil.rmtree(source.directory)
    source.relist()
    assert source.pods == {}
