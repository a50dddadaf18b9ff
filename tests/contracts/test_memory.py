"""What the engine relies on in its memory, whichever it is: all of it is still there at the next start."""

import hashlib

from kauditd.core.model import Digest, Edit, EditRecord, Splice
from tests.contracts.stages import Stage

NOBODYS = Digest("0" * 64)


def digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def test_first_start_knows_nothing(stage: Stage) -> None:
    memory = stage.memory()
    assert memory.load_journal() == ()
    assert memory.load_state() == {}
    assert memory.load_manifest(NOBODYS) is None
    assert memory.load_record(NOBODYS) is None


def test_journal_keeps_records_in_order(stage: Stage) -> None:
    first, second = {"v": 1, "type": "intent", "id": 1, "summary": "ä\n"}, {"v": 1, "type": "event", "id": 1}
    memory = stage.memory()
    memory.append(first, sync=True)
    memory.append(second, sync=False)
    assert [dict(r) for r in stage.memory().load_journal()] == [first, second]


def test_manifest_is_kept_byte_for_byte_under_its_digest(stage: Stage) -> None:
    content = b"\xff\r\nkind: Pod"
    memory = stage.memory()
    assert memory.save_manifest(content) == digest(content)
    assert memory.save_manifest(content) == digest(content)
    assert stage.memory().load_manifest(digest(content)) == content


def test_record_is_kept_under_the_text_after_the_edit(stage: Stage) -> None:
    record = EditRecord(
        before=digest(b"before"),
        after=digest(b"after"),
        splices=(Splice(start=3, new=("    - --a=b\r\n",), old=(), role="flag", subject="a"),),
        edits=(Edit(code="flag-missing", subject="a", line=3, before=None, after="b"),),
        created=("volumes",),
    )
    stage.memory().save_record(record)
    assert stage.memory().load_record(digest(b"after")) == record
    assert stage.memory().load_record(digest(b"before")) is None


def test_state_is_replaced_as_a_whole(stage: Stage) -> None:
    stage.memory().save_state({"paused_until": 1.5, "bad_targets": {"a": "b"}, "text": "\udcff"})
    assert stage.memory().load_state() == {"paused_until": 1.5, "bad_targets": {"a": "b"}, "text": "\udcff"}
    stage.memory().save_state({"disabled": True})
    assert stage.memory().load_state() == {"disabled": True}


def test_named_copies_survive_the_tidying(stage: Stage) -> None:
    memory = stage.memory()
    named = memory.save_manifest(b"named")
    for number in range(30):
        memory.save_manifest(f"later {number}".encode())
    memory.retain(frozenset({named}))
    assert memory.load_manifest(named) == b"named"
    assert memory.load_manifest(digest(b"later 29")) == b"later 29"
