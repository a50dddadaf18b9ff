"""The exception tree: kinds are closed, texts are fit for one line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.errors import (
    KINDS,
    BadFile,
    BadPolicy,
    BadSettings,
    FileFault,
    KauditError,
    LostUpdate,
    ManifestRefused,
    Problem,
    Refused,
    quote,
)


@given(st.text(), st.integers(min_value=1, max_value=300))
def test_quoted_text_is_one_short_line(text: str, limit: int) -> None:
    quoted = quote(text, limit=limit)
    assert len(quoted) <= limit
    assert quoted.isprintable()


def test_terminal_escapes_are_made_harmless() -> None:
    assert quote("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"


def test_text_that_fits_stays_and_longer_text_says_that_it_was_cut() -> None:
    assert quote("x" * 256) == "x" * 256
    assert quote("x" * 257) == "x" * 255 + "…"


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (Problem(file="f.yaml", message="is bad"), "f.yaml: is bad"),
        (
            Problem(file="f.yaml", line=3, column=5, key="log.path", message="is bad", hint="mend it"),
            "f.yaml:3:5: log.path: is bad (mend it)",
        ),
    ],
)
def test_problem_names_the_place(problem: Problem, text: str) -> None:
    assert str(problem) == text
    assert text in repr(problem)


def test_problems_are_values() -> None:
    one, twin = Problem(file="f", line=1, message="m"), Problem(file="f", line=1, message="m")
    assert one == twin
    assert len({one, twin, Problem(file="f", line=2, message="m")}) == 2
    assert one != "f:1:0: m"


@pytest.mark.parametrize(
    ("error", "kind", "base"),
    [
        (KauditError("m"), "internal", Exception),
        (KauditError("m", kind="unavailable"), "unavailable", Exception),
        (BadSettings("m"), "bad-settings", BadFile),
        (BadPolicy("m", problems=(Problem(file="f", message="m"),)), "bad-policy", BadFile),
        (ManifestRefused("m", code="no-command", line=3), "bad-manifest", KauditError),
        (FileFault("m", path="/x", errno_name="EIO"), "file-fault", KauditError),
        (LostUpdate("m", path="/x"), "conflict", FileFault),
        (Refused("m", hint="wait"), "refused", KauditError),
    ],
)
def test_each_error_has_a_kind_of_the_closed_set(error: KauditError, kind: str, base: type) -> None:
    assert error.kind == kind
    assert error.kind in KINDS
    assert isinstance(error, base)
    assert error.message == str(error) == "m"


def test_errors_carry_what_callers_branch_on() -> None:
    problem = Problem(file="f", message="m")
    assert BadPolicy("m", problems=(problem,), hint="h").problems == (problem,)
    assert BadFile("m").problems == ()
    refused = ManifestRefused("m", code="no-command", line=3, hint="h")
    assert (refused.code, refused.line, refused.hint) == ("no-command", 3, "h")
    fault = FileFault("m", path="/x", errno_name="EIO", hint="h")
    assert (fault.path, fault.errno_name, fault.hint) == ("/x", "EIO", "h")
