"""Container logs as runtimes write them: prefixes, parts, links to Docker's form, and the line that decides."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.crilog import gives_up, join_lines, last_words, parse_cri_line, read_entry

AT = "2026-11-23T18:34:43.935712908Z"
FAILED = 'E1123 18:24:16.818956       1 run.go:72] "command failed" err="x"'
ENTRY = "I1123 18:18:12.651737       1 controller.go:667] quota admission added evaluator for: serviceaccounts"


def cri(text: str, tag: str = "F", stream: str = "stderr") -> bytes:
    return f"{AT} {stream} {tag} {text}\n".encode()


def test_cri_line() -> None:
    assert parse_cri_line(cri("Error: unknown flag: --x")) == (AT, "stderr", "F", "Error: unknown flag: --x")
    assert parse_cri_line(f"{AT} stdout P:later a  b\r\n".encode()) == (AT, "stdout", "P", "a  b")
    assert parse_cri_line(f"{AT} stdout F\n".encode()) == (AT, "stdout", "F", "")
    assert parse_cri_line(f"{AT} stderr F \xff".encode("latin-1")) == (AT, "stderr", "F", "\ufffd")


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"908Z stderr F torn", f"{AT} stdlog F x".encode(), f"{AT} stderr Q x".encode()]
)
def test_torn_and_foreign_lines_are_no_cri_lines(line: bytes) -> None:
    assert parse_cri_line(line) is None


@given(text=st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",))), tag=st.sampled_from("FP"))
def test_every_text_survives_the_prefix(text: str, tag: str) -> None:
    assert parse_cri_line(cri(text, tag)) == (AT, "stderr", tag, text)


@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_without_an_error(content: bytes) -> None:
    last_words(join_lines(content))


def test_parts_are_joined_per_stream() -> None:
    content = cri("one ", "P") + cri("other", stream="stdout") + cri("two", "P") + cri(" three") + cri("cut off", "P")
    assert join_lines(content) == ("other", "one two three", "cut off")


def test_endless_line_is_cut() -> None:
    (line,) = join_lines(cri("x" * 20_000, "P") * 4)
    assert len(line) == 1 << 15


def test_log_of_docker_behind_a_link() -> None:
    objects = [
        {"log": "Error: unknown ", "stream": "stderr", "time": AT},
        {"log": "flag: --x\n", "stream": "stderr"},
        {"log": "no stream\n"},
    ]
    content = "\n".join([*(json.dumps(o) for o in objects), '{"log": torn', '{"a":' * 50_000]).encode()
    assert join_lines(content) == ("Error: unknown flag: --x",)


def test_last_line_decides() -> None:
    assert last_words([ENTRY, "Error: unknown flag: --x", "  "]) == "Error: unknown flag: --x"
    assert last_words([ENTRY, FAILED]) == FAILED
    assert last_words([FAILED, ENTRY, ""]) == ENTRY
    assert last_words(["", " words of no log "]) == "words of no log"
    assert last_words([]) == ""


def test_panic_before_its_stacks() -> None:
    lines = [ENTRY, "panic: runtime error: index out of range [3]", "", "goroutine 1 [running]:", "main.main()"]
    assert last_words(lines) == "panic: runtime error: index out of range [3]"


def test_fatal_entry_before_its_stacks() -> None:
    fatal = "F1123 18:24:16.818956       1 instance.go:232] Error creating leases: context deadline exceeded"
    assert last_words([ENTRY, fatal, "goroutine 1 [running]:", "\tk8s.io/klog/v2/klog.go:1140 +0x8a"]) == fatal


def test_refused_flag_before_the_usage() -> None:
    lines = ["Error: unknown flag: --x", "Usage:", "  kube-apiserver [flags]", "      --bind-address ip   The address"]
    assert last_words(lines) == "Error: unknown flag: --x"


def test_value_of_several_lines_is_one_again() -> None:
    lines = [FAILED.replace('err="x"', "err=<"), "\tloading audit policy file: first", "\t\tsecond", " >", ""]
    assert read_entry(last_words(lines)) == (False, "loading audit policy file: first second")
    assert read_entry(last_words(lines[:2])) == (False, "loading audit policy file: first")


@pytest.mark.parametrize(
    ("line", "ordinary", "text"),
    [
        (ENTRY, True, "quota admission added evaluator for: serviceaccounts"),
        (FAILED.replace('"x"', r'"open \"a\": \u00e9\x41\n\\"'), False, 'open "a": éA \\'),
        (FAILED[:-1], False, "x"),
        ("error: bare", False, "bare"),
        ("Killed", False, "Killed"),
        ('{"ts":1.5,"msg":"command failed","err":"why"}', False, "why"),
        ('{"ts":1.5,"msg":"Serving securely","v":0}', True, "Serving securely"),
        ('{"ts":1.5}', True, '{"ts":1.5}'),
        ('{"ts":1.5, torn}', True, '{"ts":1.5, torn}'),
    ],
)
def test_entry_is_unwrapped(line: str, *, ordinary: bool, text: str) -> None:
    assert read_entry(line) == (ordinary, text)


@pytest.mark.parametrize("line", [ENTRY, ENTRY.replace("I1123", "W1123"), "", "Killed"])
def test_other_entries_go_on(line: str) -> None:
    assert not gives_up(line)
