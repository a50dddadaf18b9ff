"""JSON of any value: field names and order kept, numbers that JSON knows, text that is valid Unicode."""

import json
import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.api.encode import dump, encode
from kauditd.core.model import Outcome, Severity
from tests.api.fake import make_change, make_snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    second: int
    first: object


def test_fields_keep_names_and_order_and_enums_are_their_value() -> None:
    encoded = encode(Box(second=2, first=(Severity.WARNING, None, True)))

    assert json.dumps(encoded) == '{"second": 2, "first": ["warning", null, true]}'
    assert type(encode(Outcome.ROLLED_BACK)) is str


def test_mappings_are_sorted_by_key() -> None:
    assert list(encode({"b": 1, "a": 2})) == ["a", "b"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_cannot_write_is_null(value: float) -> None:
    assert dump(encode({"x": value})) == b'{"x":null}\n'


def test_bytes_of_a_command_line_that_are_no_unicode_are_escaped() -> None:
    argument = b"--name=\xff".decode("utf-8", "surrogateescape")

    assert json.loads(dump(encode(argument))) == "--name=\\udcff"


@pytest.mark.parametrize("value", [object(), b"bytes", {1, 2}, Box])
def test_anything_else_is_a_bug_and_not_a_string(value: object) -> None:
    with pytest.raises(TypeError):
        encode(value)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False,
       allow_infinity=False), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
       max_leaves=10))  # fmt: skip
def test_what_json_can_hold_comes_back(value: object) -> None:
    assert json.loads(dump(encode(value))) == value


def test_times_are_unix_seconds_and_stand_once() -> None:
    encoded = encode(make_change(3))

    assert isinstance(encoded, dict)
    assert encoded["started_unix_s"] == make_change(3).started_unix_s
    assert not [name for name in encoded if name.endswith(("_utc", "_at", "_time"))]


def test_a_whole_snapshot_can_be_encoded() -> None:
    assert json.loads(dump(encode(make_snapshot())))["process"]["pid"] == 4711
