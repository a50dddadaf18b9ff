"""Unit files line by line."""

from kauditd.core.hostproc.source import UnitFile
from kauditd.core.hostproc.syntax import accumulated, assignments, last_value


def pairs(text: str) -> list[tuple[str, str, str, int]]:
    found = assignments(UnitFile(path="/etc/u", content=text.encode()))
    return [(item.section, item.key, item.value, item.line) for item in found]


def test_sections_comments_and_what_systemd_ignores() -> None:
    text = "\ufeffearly=1\n[A]\n; no\n  # no\n key = a = b \nnothing\n=x\n\n[B]\r\nkey=\r\n"

    assert pairs(text) == [("A", "key", "a = b", 5), ("B", "key", "", 10)]


def test_continuation_lines() -> None:
    text = "[A]\nk=a \\\n  # no \\\n; no\n  b\\\n\nl=c\\\\\nm=d \\"

    assert pairs(text) == [("A", "k", "a    b", 2), ("A", "l", "c\\\\", 7), ("A", "m", "d", 8)]


def test_a_continuation_of_nothing() -> None:
    assert pairs("[A]\n\\\n\nk=1\n \\") == [("A", "k", "1", 4)]


def test_a_carriage_return_ends_a_line_too() -> None:
    assert pairs("[A]\r\nk=a \\\r\n b\r\n") == [("A", "k", "a   b", 2)]


def test_lists_are_cleared_by_an_empty_value_and_scalars_take_the_last() -> None:
    found = list(assignments(UnitFile(path="/etc/u", content=b"[A]\nk=1\nk=2\nk=\nk=3\nk=4\nl=1\n")))

    assert [item.value for item in accumulated(found, "k")] == ["3", "4"]
    assert (last_value(found, "k"), last_value(found, "none")) == ("4", "")
