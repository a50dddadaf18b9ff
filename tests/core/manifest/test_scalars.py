"""Scalars as the kubelet's YAML 1.1 reader resolves them."""

import pytest

from kauditd.core.manifest.parse import build
from kauditd.core.manifest.scalars import decode, resolve_plain, same


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("nULL", "nULL"),
        ("yes", True),
        ("Off", False),
        ("y", True),
        ("yEs", "yEs"),
        ("010", 8),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", 3),
        ("-0b11", -3),
        ("+1", 1),
        ("1_000", 1000),
        ("08", 8.0),
        ("0", 0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1", -1),
        ("0b2", "0b2"),
        ("1:20", "1:20"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        (".inf", float("inf")),
        ("-.inf", float("-inf")),
        ("9" * 100, float("inf")),
        ("--a=b", "--a=b"),
        ("-", "-"),
        (".", "."),
        ("._1", "._1"),
        ("a", "a"),
    ],
)
def test_plain_scalars(text: str, value: object) -> None:
    found = resolve_plain(text)
    assert found == value
    assert type(found) is type(value)


def test_quotes_tags_and_keys() -> None:
    root = build("{'1': '1', 1.5: \"yes\", yes: !!str 5, !!binary eA==: !!binary '*', ~: !!int 7}").root
    assert root is not None
    assert decode(root) == {"1": "1", "1.5": "yes", "true": "5", "x": "*", "null": 7}


def test_equality_minds_types() -> None:
    assert not same(True, 1)
    assert not same(1, 1.0)
    assert not same({"a": [1]}, {"a": [1, 2]})
    assert not same({"a": 1}, {"b": 1})
    assert same({"a": [1, None], "b": "c"}, {"b": "c", "a": [1, None]})
    assert same(float("nan"), float("nan"))


def test_a_merge_key_gives_what_an_explicit_key_behind_it_overrides() -> None:
    root = build("a: &a {x: 1, z: 1}\nb: &b {x: 2}\nc: {<<: [*a, *b], z: 3}\nd: {z: 4, <<: *a}\n").root
    assert root is not None
    value = decode(root)
    assert isinstance(value, dict)
    assert value["c"] == {"x": 1, "z": 3}
    assert value["d"] == {"x": 1, "z": 1}
