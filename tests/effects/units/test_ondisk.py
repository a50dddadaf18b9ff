"""A unit's files, found below a root where systemd would find them."""

import os
from pathlib import Path

import pytest

from kauditd.core.hostproc import UnitSource, edit, read
from kauditd.core.layout import Layout
from kauditd.core.model import Desired, Flag
from kauditd.effects.units import read_unit
from kauditd.errors import FileFault, ManifestRefused

UNIT = "kube-apiserver.service"
TEXT = "[Service]\nExecStart=/usr/bin/kube-apiserver $ARGS\n"
DESIRED = Desired(flags=(Flag(name="v", value="4"),), mounts=())


def put(root: Path, path: str, text: str = "") -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def look(root: Path, unit: str = UNIT, load_state: str = "") -> UnitSource:
    return read_unit(unit, layout=Layout(str(root)), load_state=load_state)


def drop_ins(source: UnitSource) -> list[str]:
    return [file.path for file in source.drop_ins]


def test_a_unit_of_the_administrator_goes_before_one_of_a_package(tmp_path: Path) -> None:
    put(tmp_path, f"/usr/lib/systemd/system/{UNIT}", "[Service]\nExecStart=/usr/bin/kube-apiserver\n")
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)
    source = look(tmp_path)

    assert source.load_state == "loaded"
    assert source.fragment is not None
    assert (source.fragment.path, source.fragment.content) == (f"/etc/systemd/system/{UNIT}", TEXT.encode())


def test_no_unit(tmp_path: Path) -> None:
    source = look(tmp_path)

    assert (source.load_state, source.fragment, source.drop_ins) == ("not-found", None, ())


@pytest.mark.parametrize("target", ["/dev/null", ""])
def test_a_masked_unit(tmp_path: Path, target: str) -> None:
    put(tmp_path, f"/usr/lib/systemd/system/{UNIT}", TEXT)
    file = put(tmp_path, f"/etc/systemd/system/{UNIT}")
    if target:
        file.unlink()
        file.symlink_to(target)

    assert look(tmp_path).load_state == "masked"


def test_what_the_manager_could_not_load(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)

    assert look(tmp_path, load_state="bad-setting").load_state == "bad-setting"
    assert look(tmp_path, load_state="not-found").load_state == "loaded"


def test_drop_ins_by_name_and_the_more_special_directory_wins(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)
    for path in (
        f"/usr/lib/systemd/system/{UNIT}.d/20-b.conf",
        f"/etc/systemd/system/{UNIT}.d/10-c.conf",
        f"/run/systemd/system/{UNIT}.d/10-c.conf",
        "/etc/systemd/system/kube-.service.d/10-c.conf",
        "/etc/systemd/system/kube-.service.d/30-a.conf",
        "/etc/systemd/system/service.d/05-all.conf",
        "/etc/systemd/system/service.d/20-b.conf",
        f"/etc/systemd/system/{UNIT}.d/.10-hidden.conf",
        f"/etc/systemd/system/{UNIT}.d/note.txt",
    ):
        put(tmp_path, path, "[Service]\n")

    assert drop_ins(look(tmp_path)) == [
        "/etc/systemd/system/service.d/05-all.conf",
        f"/etc/systemd/system/{UNIT}.d/10-c.conf",
        f"/usr/lib/systemd/system/{UNIT}.d/20-b.conf",
        "/etc/systemd/system/kube-.service.d/30-a.conf",
    ]


def test_a_drop_in_linked_to_nowhere_masks_the_one_below(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)
    put(tmp_path, f"/usr/lib/systemd/system/{UNIT}.d/10-a.conf", "[Service]\n")
    mask = tmp_path / f"etc/systemd/system/{UNIT}.d/10-a.conf"
    mask.parent.mkdir()
    mask.symlink_to("/dev/null")

    assert drop_ins(look(tmp_path)) == []


def test_an_alias_has_the_drop_ins_of_both_names(tmp_path: Path) -> None:
    put(tmp_path, "/usr/lib/systemd/system/k8s-api.service", TEXT)
    put(tmp_path, "/etc/systemd/system/k8s-api.service.d/10-a.conf", "[Service]\n")
    put(tmp_path, f"/etc/systemd/system/{UNIT}.d/20-b.conf", "[Service]\n")
    (tmp_path / f"etc/systemd/system/{UNIT}").symlink_to("/usr/lib/systemd/system/k8s-api.service")
    source = look(tmp_path)

    assert source.fragment is not None
    assert source.fragment.path == "/usr/lib/systemd/system/k8s-api.service"
    assert [path.rpartition("/")[2] for path in drop_ins(source)] == ["10-a.conf", "20-b.conf"]


def test_an_instance_comes_from_its_template(tmp_path: Path) -> None:
    put(
        tmp_path, "/etc/systemd/system/kube-apiserver@.service", "[Service]\nExecStart=/usr/bin/kube-apiserver --v=%i\n"
    )
    put(tmp_path, "/etc/systemd/system/kube-apiserver@.service.d/10-a.conf", "[Service]\n")
    source = look(tmp_path, "kube-apiserver@3.service")

    assert drop_ins(source) == ["/etc/systemd/system/kube-apiserver@.service.d/10-a.conf"]
    assert read(source).flag("v") == "3"


def test_environment_files_and_patterns(tmp_path: Path) -> None:
    put(
        tmp_path,
        f"/etc/systemd/system/{UNIT}",
        f"{TEXT}EnvironmentFile=-/etc/none\nEnvironmentFile=/etc/args/*.env\nEnvironmentFile=-relative\n",
    )
    put(tmp_path, "/etc/args/b.env", "ARGS=--v=2\n")
    put(tmp_path, "/etc/args/a.env", "ARGS=--v=1\n")
    put(tmp_path, "/etc/args/.c.env", "ARGS=--v=3\n")
    source = look(tmp_path)

    assert [(file.path, file.content is None) for file in source.environment_files] == [
        ("/etc/none", True),
        ("/etc/args/a.env", False),
        ("/etc/args/b.env", False),
    ]
    assert read(source).flag("v") == "2"


def test_a_unit_that_cannot_be_understood_is_read_all_the_same(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", "[Service\n")
    source = look(tmp_path)

    with pytest.raises(ManifestRefused):
        edit(source, DESIRED)


def test_a_pipe_in_place_of_a_file_does_not_hang(tmp_path: Path) -> None:
    directory = tmp_path / "etc/systemd/system"
    directory.mkdir(parents=True)
    os.mkfifo(directory / UNIT)

    assert look(tmp_path).load_state == "not-found"


def test_a_directory_in_place_of_a_drop_in_is_none(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)
    (tmp_path / f"etc/systemd/system/{UNIT}.d/10-a.conf").mkdir(parents=True)

    assert drop_ins(look(tmp_path)) == []


def test_a_file_without_end_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", "#" * ((1 << 20) + 1))

    with pytest.raises(FileFault) as fault:
        look(tmp_path)
    assert fault.value.errno_name == "EFBIG"


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    directory = tmp_path / "etc/systemd/system"
    directory.mkdir(parents=True)
    (directory / UNIT).symlink_to(UNIT)

    with pytest.raises(FileFault) as fault:
        look(tmp_path)
    assert fault.value.errno_name == "ELOOP"


def test_a_directory_that_cannot_be_listed_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, f"/etc/systemd/system/{UNIT}", TEXT)
    (tmp_path / f"etc/systemd/system/{UNIT}.d").symlink_to(f"{UNIT}.d")

    with pytest.raises(FileFault) as fault:
        look(tmp_path)
    assert fault.value.path == f"/etc/systemd/system/{UNIT}.d"
