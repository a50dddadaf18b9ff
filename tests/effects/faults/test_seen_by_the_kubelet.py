"""What a reader of the manifests directory sees while manifests are replaced: names by inotify, bytes by reading."""

import ctypes
import os
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kauditd.effects import files
from kauditd.errors import FileFault
from tests.effects.faults import scene

MODIFY, ATTRIB, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200


def replace_with(path: Path, text: str) -> None:
    found = files.read_manifest(str(path))
    assert found.id is not None
    assert found.digest is not None
    request = files.Replacement(
        path=str(path), content=text.encode(), expected_digest=found.digest, expected_id=found.id
    )
    files.replace(request)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A scene and an inotify descriptor that watches its manifests directory as the kubelet's fsnotify does."""
    path = scene.build(tmp_path)
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if descriptor < 0:
        pytest.skip("no inotify instance is left")
    mask = MODIFY | ATTRIB | MOVED_FROM | MOVED_TO | CREATE | DELETE
    assert libc.inotify_add_watch(descriptor, os.fsencode(path.parent), mask) >= 0
    yield path, descriptor
    os.close(descriptor)


def events(descriptor: int) -> list[tuple[int, str]]:
    """What happened since the last call: mask and name."""
    try:
        data = os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return []
    found = []
    while data:
        _, mask, _, length = struct.unpack_from("iIII", data)
        found.append((mask, os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))))
        data = data[16 + length :]
    return found


def test_the_visible_name_has_one_event_and_it_is_an_arrival(watched: tuple[Path, int]) -> None:
    """A departure of the name would stop the API server, a write into the file would let half of it be read."""
    path, descriptor = watched
    replace_with(path, scene.NEW)
    seen = events(descriptor)
    assert [event for event in seen if not event[1].startswith(".")] == [(MOVED_TO, path.name)]
    assert {name for _, name in seen if name.startswith(".")} != set(), "the watch sees nothing at all"


def test_a_refused_replacement_has_no_event_under_a_visible_name(watched: tuple[Path, int]) -> None:
    path, descriptor = watched

    def meddle(point: str) -> None:
        if point == "replace.temp-synced":
            raise OSError(5, "Input/output error")

    found = files.read_manifest(str(path))
    assert found.id is not None
    assert found.digest is not None
    request = files.Replacement(path=str(path), content=b"new", expected_digest=found.digest, expected_id=found.id)
    with pytest.raises(FileFault):
        files.replace(request, at=meddle)
    assert [event for event in events(descriptor) if not event[1].startswith(".")] == []


def test_probing_the_directory_wakes_nobody(watched: tuple[Path, int]) -> None:
    path, descriptor = watched
    files.probe_writable(str(path.parent))
    assert events(descriptor) == []


def test_a_busy_reader_never_sees_part_of_a_manifest_or_none(tmp_path: Path) -> None:
    path = scene.build(tmp_path)
    texts = {scene.OLD, *(f"# manifest {n}\n" + f"line {n}\n" * 2000 for n in range(100))}
    done = threading.Event()
    wrong: list[str] = []
    looks = 0

    def read() -> None:
        nonlocal looks
        while not done.is_set() and not wrong:
            looks += 1
            try:
                names, text = files.list_visible(str(path.parent)), path.read_text()
            except OSError as error:
                wrong.append(str(error))
                return
            if names != (path.name,) or text not in texts:
                wrong.append(f"{names}: {text[:80]!r}")

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for text in sorted(texts):
            replace_with(path, text)
    finally:
        done.set()
        reader.join(timeout=10)
    assert wrong == []
    assert looks > 20
