"""Strip records: text and back, and nothing else taken for one."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core import records
from kauditd.core.model import Digest, Edit, EditRecord, Splice

DIGESTS = st.binary(max_size=4).map(lambda data: Digest(hashlib.sha256(data).hexdigest()))
LINES = st.lists(st.text(st.characters(), max_size=12), max_size=3).map(tuple)
SPLICES = st.builds(
    Splice, start=st.integers(0, 10**6), new=LINES, old=LINES, role=st.text(max_size=8), subject=st.text(max_size=8)
)
WORDS = st.text(max_size=8)
EDITS = st.builds(
    Edit,
    code=WORDS,
    subject=WORDS,
    line=st.integers(0, 10**6),
    before=st.none() | WORDS,
    after=st.none() | WORDS,
    foreign=st.booleans(),
)
RECORDS = st.builds(
    EditRecord,
    before=DIGESTS,
    after=DIGESTS,
    splices=st.lists(SPLICES, max_size=3).map(tuple),
    edits=st.lists(EDITS, max_size=3).map(tuple),
    created=st.lists(WORDS, max_size=2).map(tuple),
)

RECORD = EditRecord(
    before=records.digest_of(b"before"),
    after=records.digest_of(b"after"),
    splices=(Splice(start=3, new=("a\n",), old=(), role="flag", subject="audit-log-path"),),
)


def document() -> dict[str, object]:
    value = json.loads(records.dump_record(RECORD))
    assert isinstance(value, dict)
    return value


@given(RECORDS)
def test_a_record_survives_the_way_to_text_and_back(record: EditRecord) -> None:
    assert records.load_record(records.dump_record(record)) == record


def test_bytes_that_were_no_utf8_survive() -> None:
    line = b"\xff\xfe\n".decode("utf-8", "surrogateescape")
    splice = Splice(start=0, new=(line,), old=(), role="r", subject="s")
    record = EditRecord(before=RECORD.before, after=RECORD.after, splices=(splice,))
    assert records.load_record(records.dump_record(record)) == record


def test_a_record_is_one_line_of_ascii() -> None:
    data = records.dump_record(RECORD)
    assert data.isascii()
    assert data.count(b"\n") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"before": "abc"},
        {"after": "Z" * 64},
        {"before": 3},
        {"splices": {}},
        {"splices": ["text"]},
        {"splices": [{"start": -1, "new": [], "old": [], "role": "r", "subject": "s"}]},
        {"splices": [{"start": 0, "new": [1], "old": [], "role": "r", "subject": "s"}]},
        {"edits": {}},
        {"edits": ["text"]},
        {"edits": [{"code": "c", "subject": "s", "line": "1", "before": None, "after": None, "foreign": False}]},
        {"created": [3]},
        {"created": None},
        {"splices": [{"start": True, "new": "text", "old": [], "role": "r", "subject": "s"}]},
    ],
)
def test_a_damaged_record_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        records.load_record(json.dumps(document() | change).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\xff", b"null"])
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        records.load_record(data)


@pytest.mark.parametrize(("text", "expected"), [("0" * 64, True), ("0" * 63, False), ("A" * 64, False), ("", False)])
def test_a_digest_is_64_lower_case_hexadecimal_digits(text: str, expected: bool) -> None:
    assert records.is_digest(text) is expected
