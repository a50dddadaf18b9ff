"""Records as lines: one bad line never costs a good one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.ndjson import line_of, lines_of, parse, record_of, set_aside


def test_records_come_back_as_they_went() -> None:
    records = ({"type": "a", "text": "ä\n\x00"}, {"n": 1.5, "none": None})
    assert parse(lines_of(records)) == (records, (), False)
    assert all(line_of(record).isascii() for record in records)
    with pytest.raises(ValueError):
        line_of({"n": float("nan")})


@pytest.mark.parametrize("line", [b"", b"[1]", b"7", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_is_no_record(line: bytes) -> None:
    assert record_of(line) is None


def test_a_torn_end_is_told_and_rubbish_is_handed_over() -> None:
    assert parse(b'{"a":1}\nrubbish\n\n{"b"') == (({"a": 1},), (b"rubbish",), True)
    assert parse(b'{"a":1}\n{"b":2}') == (({"a": 1}, {"b": 2}), (), False)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_read(data: bytes) -> None:
    records, garbage, _ = parse(data)
    assert len(records) + len(garbage) <= data.count(b"\n") + 1


def test_rubbish_is_kept_once_and_its_newest_end_only() -> None:
    assert set_aside(b"", [b"x"], limit_bytes=100) == b"x\n"
    assert set_aside(b"x\n", [b"x"], limit_bytes=100) is None
    assert set_aside(b"x\n", [b"x", b"yy"], limit_bytes=4) == b"\nyy\n"
