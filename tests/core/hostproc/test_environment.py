"""Environment files and the variables of a service."""

import pytest

from kauditd.core.hostproc import EnvironmentFile, environment_patterns, settings_of
from kauditd.core.hostproc.environment import environment_of, parse_environment_file
from tests.core.hostproc.units import PROGRAM, command


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("A=1\nB = 2 \n  C=3", {"A": "1", "B": "2", "C": "3"}),
        ("# A=1\n; B=2\nexport C=3\n1D=4\nnothing\nE=", {"E": ""}),
        ("A=a b  \nB='a b'  \nC=\"a b\" \n", {"A": "a b", "B": "a b", "C": "a b"}),
        ("A='x'\"y\"  z \n", {"A": "xyz"}),
        ("A=x'y'\n", {"A": "x'y'"}),
        ("A=a\\ \nB=a\\\nb\nC=\\", {"A": "a ", "B": "ab", "C": ""}),
        ('A="a\\"b\\$c\\d\\\ne"\n', {"A": 'a"b$c\\de'}),
        ("A='a\nb' \nB=\"c\nd\"\n", {"A": "a\nb", "B": "c\nd"}),
        ("A='a", {"A": "a"}),
        ('A="a\\', {"A": "a"}),
        ("A=1\nA=2\r\nB=3\r\n", {"A": "2", "B": "3"}),
        ("A", {}),
        ('A=1\n=A="\nA=2"\n=', {"A": "1"}),
        ("#", {}),
    ],
)
def test_environment_files(text: str, values: dict[str, str]) -> None:
    assert parse_environment_file(text) == values


def test_a_comment_that_ends_in_a_backslash() -> None:
    text = "# one \\\nA=1\nB=2\n# end\\"

    assert parse_environment_file(text) == {"A": "1", "B": "2"}
    assert parse_environment_file(text, comments_continue=True) == {"B": "2"}


def environment(*lines: str, files: dict[str, str | bytes | None] | None = None) -> tuple[dict[str, str], set[str]]:
    unit = command(PROGRAM, *lines, files=files)
    found = environment_of(settings_of(unit), unit)
    return found.values, set(found.passed)


def test_files_win_over_the_unit_and_the_later_over_the_earlier() -> None:
    files = {"/etc/a": "A=a\nB=a\n", "/etc/b": "B=b\n", "/etc/none": None}
    values, _ = environment(
        'Environment="A=u v" C=1 2D=x E',
        "EnvironmentFile=/etc/a",
        "EnvironmentFile=-/etc/b",
        "EnvironmentFile=-/etc/none",
        files=files,
    )

    assert values == {"A": "a", "B": "b", "C": "1"}


def test_an_empty_assignment_clears_the_list() -> None:
    values, _ = environment(
        "Environment=A=1",
        "Environment=",
        "Environment=N=%n",
        "EnvironmentFile=/etc/a",
        "EnvironmentFile=",
        files={"/etc/a": "B=1\n"},
    )

    assert values == {"N": "kube-apiserver.service"}


def test_a_bad_line_counts_up_to_its_fault() -> None:
    assert environment(r"Environment=A=1 B=\d C=1", "Environment=D=1")[0] == {"A": "1", "D": "1"}


def test_a_bad_specifier_takes_its_word_or_its_line_away() -> None:
    assert environment("Environment=A=1 B=%z C=1", "EnvironmentFile=/etc/%z")[0] == {"A": "1", "C": "1"}


def test_passed_and_unset_variables() -> None:
    values, passed = environment(
        "Environment=A=1 B=2 C=3", "PassEnvironment=X Y B", "UnsetEnvironment=A Y B=9 C=3", "UnsetEnvironment=Z"
    )

    assert (values, passed) == ({"B": "2"}, {"X", "B"})


def test_the_files_that_a_unit_names() -> None:
    unit = command(PROGRAM, "EnvironmentFile=-/etc/%N.env", "EnvironmentFile=/etc/d/*.env")

    assert environment_patterns(settings_of(unit), unit.name) == (
        ("/etc/kube-apiserver.env", True),
        ("/etc/d/*.env", False),
    )
    assert EnvironmentFile(pattern="/etc/d/*.env", path="/etc/d/a.env", content=b"").pattern == "/etc/d/*.env"
