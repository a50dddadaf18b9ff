"""systemd's words: quotes, escapes, specifiers, variables."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.hostproc.words import (
    BadWords,
    Dialect,
    is_variable,
    quoted,
    replace_variables,
    resolve_specifiers,
    split,
)


def texts(value: str, dialect: Dialect = Dialect.COMMAND) -> list[str]:
    return [token.text for token in split(value, dialect)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", []),
        (" a\tb\n c ", ["a", "b", "c"]),
        ("'a b' \"c d\" e' 'f", ["a b", "c d", "e f"]),
        ('"it\'s" \'a "b"\'', ["it's", 'a "b"']),
        ("'' \"\"", ["", ""]),
        (r"\a\b\f\n\r\t\v\\\"\'\s", ["\a\b\f\n\r\t\v\\\"' "]),
        (r"\x41\101\u00e9\U0001F600", ["AAé😀"]),
        (r"\xc3\xa9 '\x41'", ["é", "A"]),
        (
            r"\d \x0 \x00 \400 \000 \ud800 \U00110000",
            [r"\d", r"\x0", r"\x00", r"\400", r"\000", r"\ud800", r"\U00110000"],
        ),
        (r"a\ b", [r"a\ b"]),
    ],
)
def test_words_of_a_command(value: str, words: list[str]) -> None:
    assert texts(value) == words


@pytest.mark.parametrize("value", ["'a", 'a "b', "a\\"])
def test_a_command_that_cannot_be_split(value: str) -> None:
    with pytest.raises(BadWords):
        texts(value)


def test_words_of_a_variable_take_what_follows_a_backslash() -> None:
    assert texts(r"""a\ b\n 'c d\' e""", Dialect.VARIABLE) == ["a bn", "c d' e"]
    assert texts("a\\", Dialect.VARIABLE) == ["a"]


def test_an_unknown_escape_ends_an_assignment() -> None:
    words = split(r"A=1 B=\x42 C=\d", Dialect.ASSIGNMENT)

    assert [next(words).text, next(words).text] == ["A=1", "B=B"]
    with pytest.raises(BadWords):
        next(words)


@pytest.mark.parametrize(
    ("text", "unit", "resolved"),
    [
        ("%n %N %p %i %j %% %H %", "a-b@c.service", "a-b@c.service a-b@c a-b c b % %H %"),
        ("%n %N %p [%i] %j", "x.service", "x.service x x [] x"),
    ],
)
def test_specifiers(text: str, unit: str, resolved: str) -> None:
    assert resolve_specifiers(text, unit) == resolved


@pytest.mark.parametrize("letter", "cxz0")
def test_what_is_no_specifier(letter: str) -> None:
    assert resolve_specifiers("%é %- %%z", "x.service") == "%é %- %z"
    with pytest.raises(BadWords):
        resolve_specifiers(f"a%{letter}", "x.service")


def test_variables() -> None:
    assert [is_variable(word) for word in ("$A", "$", "${A}", "$$A", "a$A")] == [True, True, False, False, False]
    assert replace_variables("$$a${b$$", {"b$$": "no"}) == "$a${b$$"
    assert replace_variables("x${A}${B}$$C$D${E", {"A": "1 2"}) == "x1 2$C$D${E"


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.booleans())
def test_a_quoted_word_means_itself(text: str, expands: bool) -> None:
    (token,) = split(quoted(text, expands=expands))
    resolved = resolve_specifiers(token.text, "a.service")

    assert (replace_variables(resolved, {}) if expands else resolved) == text
    assert not (expands and is_variable(resolved))
    assert "\n" not in token.raw
    assert token.raw != ";"
