"""Marked values from YAML and JSON text."""

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.nodes import ScalarNode

from kauditd.core.jsontext import looks_like_json, read_json
from kauditd.core.marked import (
    MAX_DEPTH,
    MAX_NODES,
    Mapping,
    Node,
    Scalar,
    Sequence,
    describe,
    is_null,
    nearest,
    plain_kind,
)
from kauditd.core.yamltext import read_yaml
from kauditd.errors import BadFile, Problem

LIMIT = 1024 * 1024


def read(text: str, *, aliases: bool = False) -> Node | None:
    return read_yaml(text.encode(), file="f", limit_bytes=LIMIT, aliases=aliases)


def refused(text: str, *, aliases: bool = True) -> Problem:
    with pytest.raises(BadFile) as caught:
        read(text, aliases=aliases)
    return caught.value.problems[0]


def refused_json(text: str) -> Problem:
    with pytest.raises(BadFile) as caught:
        read_json(text.encode(), file="f", limit_bytes=LIMIT)
    return caught.value.problems[0]


def plain(node: Node | None) -> object:
    """The values alone; unquoted scalars as their text."""
    match node:
        case Mapping():
            return {key.text: plain(value) for key, value in node.entries}
        case Sequence():
            return [plain(item) for item in node.items]
        case Scalar():
            return node.text
        case None:
            return None


def test_nodes_know_their_line_and_column() -> None:
    root = read("# c\na:\n  - b\n  - {c: 'd'}\n")

    assert isinstance(root, Mapping)
    key, items = root.entries[0]
    assert (key.line, key.column) == (2, 1)
    assert isinstance(items, Sequence)
    first, second = items.items
    assert first == Scalar(line=3, column=5, text="b", plain=True)
    assert isinstance(second, Mapping)
    assert second.entries[0][1] == Scalar(line=4, column=9, text="d")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "null"), ("~", "null"), ("NULL", "null"),
        ("true", "bool"), ("False", "bool"),
        ("0", "int"), ("-12", "int"), ("+3", "int"),
        ("1.5", "float"), ("-.5", "float"), ("1.", "float"), ("1e3", "float"), ("1.0e+400", "float"),
        ("y", "ambiguous"), ("NO", "ambiguous"), ("On", "ambiguous"), ("yEs", "ambiguous"), ("nULL", "ambiguous"),
        ("tRue", "ambiguous"), ("017", "ambiguous"), ("0o17", "ambiguous"), ("08", "ambiguous"), ("0x1F", "ambiguous"),
        ("0b1", "ambiguous"), ("1_000", "ambiguous"), ("1,000", "ambiguous"), ("1:20", "ambiguous"),
        ("190:20:30.15", "ambiguous"), ("2024-01-01", "ambiguous"), ("2001-12-14t21:59:43.10-05:00", "ambiguous"),
        (".inf", "ambiguous"), ("-.INF", "ambiguous"), (".NaN", "ambiguous"), ("=", "ambiguous"), ("<<", "ambiguous"),
        ("1.2.3", "ambiguous"), (".", "ambiguous"),
        ("enforce", "str"), ("None", "str"), ("/a", "str"), ("v1", "str"), ("kube-system", "str"), ("1a", "str"),
        ("a:b", "str"),
    ],
)  # fmt: skip
def test_what_an_unquoted_scalar_is(text: str, kind: str) -> None:
    assert plain_kind(text) == kind


PLAIN = st.text(alphabet="0123456789.+-_:eExobntyTNaulfsiOR~=<,", min_size=1, max_size=8)


@given(PLAIN)
def test_a_string_is_a_string_to_readers_of_both_yaml_versions(text: str) -> None:
    """Nothing that ``plain_kind`` calls a string, a number or a boolean is something else to PyYAML or ruamel."""
    kind = plain_kind(text)
    if kind == "ambiguous":
        return
    old_loader = yaml.SafeLoader("")
    try:
        old = old_loader.resolve(yaml.ScalarNode, text, (True, False)).rpartition(":")[2]
    finally:
        old_loader.dispose()
    new = str(YAML(typ="safe", pure=True).resolver.resolve(ScalarNode, text, (True, False))).rpartition(":")[2]
    # YAML 1.1 as PyYAML reads it wants a point and a signed exponent in a float; go-yaml v2 does not.
    expected = {"float": {"float", "str", "int"}}.get(kind, {kind})

    assert old in expected
    assert new in expected | {"str"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "a mapping"),
        ("[]", "a list"),
        ("'1'", "the string '1'"),
        ("a", "the string 'a'"),
        ("1", "the number 1"),
        ("1.5", "the number 1.5"),
        ("true", "the boolean true"),
        ("~", "nothing (null)"),
        ("on", "on, which YAML readers understand differently"),
        ("'{}'", "the string '{}'"),
    ],
)
def test_nodes_are_described_for_messages(text: str, said: str) -> None:
    node = read(text)

    assert node is not None
    assert describe(node) == said


def test_null_is_told_from_the_empty_string() -> None:
    assert [is_null(node) for node in (read("~"), read("''"), read("[]")) if node is not None] == [True, False, False]


def test_the_nearest_known_word_is_found_whatever_its_case() -> None:
    assert nearest("PATHS", ("path", "size")) == "did you mean path?"
    assert nearest("x", ("path", "size")) == "known here: path, size"


def test_aliases_stand_for_their_anchor_only_where_they_are_allowed() -> None:
    text = "a: &x [1, {b: 2}]\nc: *x\n"

    assert plain(read(text, aliases=True)) == {"a": ["1", {"b": "2"}], "c": ["1", {"b": "2"}]}
    assert "anchor &x is not allowed" in refused(text, aliases=False).message


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("a: *x", "no anchor for the alias *x"),
        ("a: &x [*x]", "no anchor for the alias *x"),
        ("a: &x 1\nb: &x 2", "is given twice"),
        ("a: &é 1", "is not made of letters"),
        ("a: !!str 1", "the tag"),
        ("a: !x [1]", "the tag"),
        ("%YAML 1.1\n---\na: 1", "directives"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "directives"),
        ("%UNKNOWN x\n---\na: 1", "directives"),
        ("# c\r%TA: x\r---\ra: 1", "directives"),
        ("a: 1\n---\nb: 2", "second YAML document"),
        ("{[a]: b}", "a key is a list or a mapping"),
        ("<<: {a: 1}", "merge keys"),
        ('a: "\\/"', "an escape"),
        ('a: "\\ud83d\\ude00"', "an escape"),
        ('a: "\\U0000d800"', "an escape"),
        ('a: "\\UFFFFFFFF"', "not valid YAML"),
        ("a: b\tc", "not valid YAML"),
        ("a: [", "not valid YAML"),
        ("a: 'b", "not valid YAML"),
        ("[" * (MAX_DEPTH + 1), "nested deeper"),
        ("[" + "a, " * (MAX_NODES + 1) + "]", "values"),
        ("a: &x [1]\nb: [" + "*x, " * (MAX_NODES // 2) + "]", "values"),
        ("!" * 1_000_000, "exclamation marks"),
        ("\x07", "control character"),
        ("a: \u2028", "control character"),
    ],
)
def test_what_readers_might_understand_differently_is_refused(text: str, cause: str) -> None:
    found = refused(text)

    assert cause in found.message
    assert found.file == "f"


def test_an_escaped_backslash_before_a_slash_is_no_escaped_slash() -> None:
    assert plain(read('"\\\\/ \\u00e9 \\\\ud800 \\"/"')) == '\\/ é \\ud800 "/'


def test_text_over_several_lines_is_marked() -> None:
    root = read("- a\n  b\n- 'a\n  b'\n- |\n  a\n- a\n-\n- 'a'\n")

    assert isinstance(root, Sequence)
    spread = [item.spread for item in root.items if isinstance(item, Scalar)]
    assert spread == [True, True, True, False, False, False]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab\U0001f600é\n", max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def as_text(value: object) -> object:
    """What ``plain`` gives for a decoded JSON value."""
    match value:
        case dict():
            return {key: as_text(inner) for key, inner in value.items()}
        case list():
            return [as_text(inner) for inner in value]
        case str():
            return value
        case _:
            return json.dumps(value)


@given(VALUES, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_the_standard_library_reads_it(
    value: object, ascii_only: bool, indent: int | str | None
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    if any(odd in text for odd in "\x7f\u2028\u2029\ufeff\ufffe\uffff") or any("\x80" <= c <= "\x9f" for c in text):
        return  # refused raw in any file, see ``decode``

    assert plain(read_json(text.encode(), file="f", limit_bytes=LIMIT)) == as_text(value)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("", 1, 1),
        ("{", 1, 2),
        ('{"a"', 1, 5),
        ('{"a": 1,}', 1, 9),
        ('{"a": 1 "b": 2}', 1, 9),
        ("{a: 1}", 1, 2),
        ("{'a': 1}", 1, 2),
        ("[1,\n 2,\r\n ]", 3, 2),
        ("[1 2]", 1, 4),
        ("[01]", 1, 3),
        ("[.5]", 1, 2),
        ("[NaN]", 1, 2),
        ("[True]", 1, 2),
        ('["a\nb"]', 1, 2),
        ('["\\x"]', 1, 2),
        ('["a]', 1, 2),
        ('["\\ud800"]', 1, 2),
        ("{} {}", 1, 4),
        ("{} # c", 1, 4),
        ("\u00a0{}", 1, 1),
    ],
)
def test_what_is_not_json_is_refused_with_its_place(text: str, line: int, column: int) -> None:
    found = refused_json(text)

    assert (found.line, found.column) == (line, column)
    assert found.hint


def test_json_has_bounds() -> None:
    assert "levels" in refused_json("[" * 100_000).message
    assert "values" in refused_json("[" + "1," * MAX_NODES + "1]").message
    assert "bytes" in refused_json(" " * (LIMIT + 1)).message


@pytest.mark.parametrize(
    ("text", "is_json"),
    [
        ("{", True),
        ("\n\t {", True),
        ("\u00a0{", True),
        ("\ufeff{", False),
        ("[", False),
        ("# {", False),
        ("", False),
        (" " * 9000 + "{", True),
    ],
)
def test_the_decoder_is_chosen_as_the_api_server_chooses_it(text: str, is_json: bool) -> None:
    assert looks_like_json(text.encode()) is is_json
