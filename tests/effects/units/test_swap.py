"""The drop-in is written, removed, reloaded and restarted in this order, or nothing is done."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from kauditd.core.faults import RenamedFault
from kauditd.core.hostproc.document import edit_document, strip_document
from kauditd.core.layout import Layout
from kauditd.core.model import Desired, Digest, Flag, ManifestFile
from kauditd.effects.units import Done, Hands, Manager, read_as_manifest, settle, swap
from kauditd.errors import FileFault, LostUpdate

UNIT = "kube-apiserver.service"
TEXT = "[Service]\nExecStart=/usr/bin/kube-apiserver --v=2\n"
DESIRED = Desired(flags=(Flag(name="audit-log-path", value="/var/log/a.log"),), mounts=())


class Node:
    """A root with a unit, and everything that was done to it in order."""

    def __init__(self, root: Path, *, exit_code: int = 0) -> None:
        self.root = root
        self.layout = Layout(str(root))
        self.done: list[str] = []
        self.exit_code = exit_code
        self.write_fault: FileFault | None = None
        self.fragment = root / f"etc/systemd/system/{UNIT}"
        self.fragment.parent.mkdir(parents=True)
        self.fragment.write_text(TEXT)
        self.drop_in = root / f"etc/systemd/system/{UNIT}.d/90-kauditd.conf"

    def read(self) -> ManifestFile:
        return read_as_manifest(UNIT, layout=self.layout)

    def swap(self, document: bytes, expected: Digest | None, *, running: bool = True) -> object:
        return swap(
            UNIT,
            document,
            expected=expected or Digest(""),
            layout=self.layout,
            hands=Hands(write=self._write, remove=self._remove),
            manager=Manager(run=self._run) if running else None,
            at=self.done.append,
        )

    def _write(self, path: str, content: bytes) -> None:
        self.done.append("write")
        if self.write_fault is not None:
            raise self.write_fault
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_bytes(content)

    def _remove(self, path: str) -> None:
        self.done.append("remove")
        Path(path).unlink()

    def _run(self, words: Sequence[str], timeout_s: float) -> Done:
        self.done.append(next(word for word in words[1:] if not word.startswith("-")))
        return Done(exit_code=self.exit_code, output="", errors="no bus")


RESTARTED = ["swap.written", "daemon-reload", "swap.reloaded", "reset-failed", "restart", "swap.restarted"]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_there_and_back(node: Node) -> None:
    before = node.read()
    assert before.content is not None
    edited = edit_document(before.content, DESIRED).text
    identity = node.swap(edited, before.digest)

    assert node.done == ["write", *RESTARTED]
    after = node.read()
    assert (after.content, after.id) == (edited, identity)
    node.done.clear()
    node.swap(strip_document(edited), after.digest)
    assert node.done == ["remove", *RESTARTED]
    assert node.read() == before
    assert node.fragment.read_text() == TEXT


def test_where_nothing_runs_the_files_are_all(node: Node) -> None:
    before = node.read()
    node.swap(edit_document(before.content or b"", DESIRED).text, before.digest, running=False)

    assert node.done == ["write", "swap.written"]
    assert node.drop_in.exists()


def test_a_unit_that_changed_meanwhile_is_left_alone(node: Node) -> None:
    before = node.read()
    node.fragment.write_text(TEXT.replace("--v=2", "--v=3"))
    with pytest.raises(LostUpdate):
        node.swap(edit_document(before.content or b"", DESIRED).text, before.digest)

    assert node.done == []


def test_a_drop_in_that_is_in_place_and_does_not_count_says_so(tmp_path: Path) -> None:
    node = Node(tmp_path, exit_code=1)
    before = node.read()
    with pytest.raises(RenamedFault) as fault:
        node.swap(edit_document(before.content or b"", DESIRED).text, before.digest)

    assert "it is in place" in fault.value.message
    assert "no bus" in fault.value.message
    assert node.drop_in.exists()
    assert node.done == ["write", "swap.written", "daemon-reload"]


def test_settling_again_only_reloads_and_restarts(node: Node) -> None:
    settle(UNIT, Manager(run=node._run), at=node.done.append)

    assert node.done == RESTARTED[1:]


def test_a_unit_reads_like_a_manifest(node: Node) -> None:
    first, again = node.read(), node.read()
    assert first == again
    assert (first.path, first.missing, first.fault) == (UNIT, False, "")
    node.fragment.write_text(TEXT + "# more\n")
    assert node.read().id != first.id
    node.fragment.unlink()
    assert node.read() == ManifestFile(path=UNIT, missing=True)


def test_a_unit_that_cannot_be_read_is_a_fault_and_no_exception(node: Node) -> None:
    node.fragment.write_text("#" * ((1 << 20) + 1))

    assert "larger than" in node.read().fault


def test_a_unit_that_cannot_be_read_is_not_changed(node: Node) -> None:
    before = node.read()
    node.fragment.write_text("#" * ((1 << 20) + 1))
    with pytest.raises(FileFault, match="larger than"):
        node.swap(edit_document(before.content or b"", DESIRED).text, before.digest)

    assert node.done == []


def test_a_write_that_fails_stops_everything(node: Node) -> None:
    before = node.read()
    node.write_fault = FileFault("cannot write: the disk is full", path="x", errno_name="ENOSPC")
    with pytest.raises(FileFault, match="the disk is full"):
        node.swap(edit_document(before.content or b"", DESIRED).text, before.digest)

    assert node.done == ["write"]
    assert node.read() == before
