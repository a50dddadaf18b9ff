"""The README names a test for each promise, and commands, files and figures that exist."""

import re

import pytest

from tests.tree import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
NAMED_TESTS = re.findall(r"`(tests/[\w/.]+?)(?:::(\w+))?`", README)


@pytest.mark.parametrize(("path", "name"), NAMED_TESTS, ids=[f"{p}::{n}" if n else p for p, n in NAMED_TESTS])
def test_each_test_that_the_readme_names_exists(path: str, name: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")

    assert not name or re.search(rf"^(async )?def {name}\b", text, re.MULTILINE)


def test_each_promise_names_a_test() -> None:
    table = README.partition("| promise | test |")[2].partition("\n\n")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]

    assert len(rows) >= 7
    assert all("`tests/" in row for row in rows)


def test_each_make_target_that_the_readme_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_no_figure_is_left_to_be_filled_in() -> None:
    assert "FIGURES" not in README
