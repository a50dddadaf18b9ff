"""The state directory: copies intact or absent, a state that is never silently forgotten, one holder of the lock."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kauditd.core.model import Digest, EditRecord, Splice
from kauditd.core.records import digest_of
from kauditd.effects import files
from kauditd.effects.store import STATE_LEVEL, Store, lock
from kauditd.errors import FileFault, Refused


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(f"{tmp_path}/state", files=files)
    made.prepare()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


def record(number: int = 0) -> EditRecord:
    splice = Splice(start=1, new=("    - --audit-log-path=/a\n",), old=(), role="flag", subject="audit-log-path")
    return EditRecord(before=digest_of(b"before"), after=digest_of(b"after %d" % number), splices=(splice,))


def test_the_directories_are_for_root_alone(store: Store, root: Path) -> None:
    store.prepare()
    assert {path.name: path.stat().st_mode & 0o7777 for path in [root, *root.iterdir()]} == {
        "state": 0o700,
        "manifests": 0o700,
        "records": 0o700,
    }


def test_what_a_killed_writer_left_is_swept(store: Store, root: Path) -> None:
    for directory in (root, root / "manifests", root / "records"):
        (directory / ".kauditd.01234567.1").write_text("half")
    store.prepare()
    assert [str(path) for path in root.rglob(".kauditd.*")] == []


def test_a_copy_comes_back_by_its_digest(store: Store, root: Path) -> None:
    digest = store.save_manifest(b"manifest")
    assert digest == digest_of(b"manifest")
    assert store.load_manifest(digest) == b"manifest"
    assert (root / "manifests" / f"{digest}.yaml").stat().st_mode & 0o7777 == 0o600
    assert store.load_manifest(digest_of(b"another")) is None


def test_an_intact_copy_is_not_written_again(store: Store, root: Path) -> None:
    path = root / "manifests" / f"{store.save_manifest(b'manifest')}.yaml"
    inode = path.stat().st_ino
    store.save_manifest(b"manifest")
    assert path.stat().st_ino == inode


def test_a_damaged_copy_is_no_copy_and_is_written_again(store: Store, root: Path) -> None:
    digest = store.save_manifest(b"manifest")
    (root / "manifests" / f"{digest}.yaml").write_bytes(b"MANIFEST")
    assert store.load_manifest(digest) is None
    store.save_manifest(b"manifest")
    assert store.load_manifest(digest) == b"manifest"


@pytest.mark.parametrize("digest", ["", "../../etc/shadow", "0" * 63 + "/"])
def test_nothing_but_a_digest_names_a_file(store: Store, digest: str) -> None:
    with pytest.raises(FileFault, match="not a digest"):
        store.load_manifest(Digest(digest))


def test_a_strip_record_comes_back_by_the_edited_texts_digest(store: Store, root: Path) -> None:
    store.save_record(record())
    inode = (root / "records" / f"{record().after}.json").stat().st_ino
    store.save_record(record())
    assert store.load_record(record().after) == record()
    assert (root / "records" / f"{record().after}.json").stat().st_ino == inode
    assert store.load_record(digest_of(b"unknown")) is None


@pytest.mark.parametrize("damage", [b"", b"{}", b"\0" * 300])
def test_a_damaged_strip_record_is_no_record(store: Store, root: Path, damage: bytes) -> None:
    store.save_record(record())
    (root / "records" / f"{record().after}.json").write_bytes(damage)
    assert store.load_record(record().after) is None


def test_a_strip_record_under_a_foreign_name_is_no_record(store: Store, root: Path) -> None:
    store.save_record(record(1))
    (root / "records" / f"{record(1).after}.json").rename(root / "records" / f"{record(2).after}.json")
    assert store.load_record(record(2).after) is None


def test_copies_that_are_named_or_among_the_last_20_used_are_retained(store: Store, root: Path) -> None:
    digests = [store.save_manifest(b"manifest %d" % number) for number in range(30)]
    for age, digest in enumerate(reversed(digests)):
        os.utime(root / "manifests" / f"{digest}.yaml", (10**9 - age, 10**9 - age))
    store.save_manifest(b"manifest 1")
    (root / "manifests" / "notes.txt").write_text("an operator's")
    removed = store.retain({digests[0]})
    left = {digest for digest in digests if store.load_manifest(digest) is not None}
    assert left == {digests[0], digests[1], *digests[11:]}
    assert set(removed) == {f"{root}/manifests/{digest}.yaml" for digest in digests[2:11]}
    assert (root / "manifests" / "notes.txt").exists()


def test_records_are_retained_like_copies(store: Store) -> None:
    for number in range(25):
        store.save_record(record(number))
    assert len(store.retain(set())) == 5


def test_the_first_start_finds_an_empty_state(store: Store) -> None:
    loaded = store.load_state()
    assert (dict(loaded.values), loaded.moved_aside, loaded.problem) == ({}, "", "")


def test_the_state_comes_back(store: Store, root: Path) -> None:
    store.save_state({"disabled": True, "bad": ["x"], "paused_until_unix_s": None})
    assert dict(store.load_state().values) == {"disabled": True, "bad": ["x"], "paused_until_unix_s": None}
    assert (root / "state.json").stat().st_mode & 0o7777 == 0o600


@pytest.mark.parametrize(
    "damage",
    [b"", b"{", b"[]", b"\0\0\0", b"\xff", b'{"values": {}}', b'{"level": 0, "values": {}}', b'{"level": true}',
     b'{"level": 1}', b'{"level": 1, "values": []}'],
)  # fmt: skip
def test_a_corrupt_state_is_moved_aside_and_reported(store: Store, root: Path, damage: bytes) -> None:
    (root / "state.json").write_bytes(damage)
    loaded = store.load_state()
    assert dict(loaded.values) == {}
    assert loaded.moved_aside == f"{root}/state.json.corrupt-1"
    assert loaded.problem.startswith(f"cannot use {root}/state.json: ")
    assert Path(loaded.moved_aside).read_bytes() == damage
    assert store.load_state().problem == ""


def test_a_state_of_a_newer_kauditd_is_refused_and_left_alone(store: Store, root: Path) -> None:
    text = json.dumps({"level": STATE_LEVEL + 1, "values": {}})
    (root / "state.json").write_text(text)
    with pytest.raises(Refused, match="newer") as raised:
        store.load_state()
    assert raised.value.hint
    assert (root / "state.json").read_text() == text


def test_a_state_that_cannot_be_read_is_a_fault_and_not_an_empty_state(store: Store, root: Path) -> None:
    (root / "state.json").mkdir()
    with pytest.raises(FileFault):
        store.load_state()


def test_the_lock_has_one_holder_and_names_it(tmp_path: Path) -> None:
    path = f"{tmp_path}/lock"
    with lock(path), pytest.raises(Refused, match=f"^cannot lock {path}: held by pid {os.getpid()}$"), lock(path):
        pytest.fail("two holders")
    with lock(path):
        assert Path(path).stat().st_mode & 0o7777 == 0o600


def test_a_holder_that_wrote_no_number_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock(str(path)):
        path.write_text("")
        with pytest.raises(Refused, match="held by another process"), lock(str(path)):
            pytest.fail("two holders")


def test_a_lock_that_cannot_be_had_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("elsewhere")
    for name, error in (("nowhere/lock", "ENOENT"), ("link", "ELOOP")):
        with pytest.raises(FileFault) as raised, lock(f"{tmp_path}/{name}"):
            pytest.fail("locked nothing")
        assert raised.value.errno_name == error


def test_a_killed_holder_leaves_no_lock_behind(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from kauditd.effects.store import lock\n"
        "with lock(sys.argv[2]):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(Path(__file__).parents[2]), f"{tmp_path}/lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Refused, match=f"held by pid {holder.pid}$"), lock(f"{tmp_path}/lock"):
            pytest.fail("two holders")
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=10)
    with lock(f"{tmp_path}/lock"):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
