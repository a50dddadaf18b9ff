"""Arguments, help, and how a command ends when nobody reads it or somebody stops it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from kauditd.cli.durations import read_duration_s
from kauditd.cli.exits import Failure
from kauditd.cli.options import read_common
from kauditd.cli.verbs import table
from kauditd.core.model import Verdict
from tests.api.fake import FakeBackend, make_snapshot, serving
from tests.cli.command import command, run

VERBS = [verb.name for verb in table()]


def test_alone_it_shows_help_and_is_a_usage_error() -> None:
    outcome = run()

    assert (outcome.code, outcome.out) == (2, "")
    assert all(f"\n  {verb} " in outcome.err for verb in VERBS)
    assert "exit codes: 0 yes or healthy, 1 no or unhealthy, 2 usage, 3 daemon unreachable, 4 denied" in outcome.err


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_asked_for_is_no_error(words: list[str]) -> None:
    outcome = run(*words)

    assert (outcome.code, outcome.err) == (0, "")
    assert "usage: kauditctl VERB" in outcome.out


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb: str) -> None:
    asked, told = run(verb, "--help"), run("help", verb)

    assert (asked.code, asked.err, asked.out) == (0, "", told.out)
    assert f"usage: kauditctl {verb}" in asked.out
    assert f"kauditctl {verb}" in asked.out.partition("\nexample: ")[2]
    assert all(option in asked.out for option in ("--root DIR", "--format F", "--socket PATH"))
    assert max(map(len, asked.out.splitlines())) <= 110


@pytest.mark.parametrize(
    ("typed", "meant"), [("statsu", "status"), ("aply", "apply"), ("dif", "diff"), ("roll-back", "rollback")]
)
def test_a_typo_gets_the_nearest_verb(typed: str, meant: str) -> None:
    outcome = run(typed)

    assert outcome.code == 2
    assert f"did you mean: kauditctl {meant}" in outcome.err


USAGE = {
    "unknown-verb": ["zzz"],
    "unknown-option": ["status", "--verbose"],
    "unknown-short-option": ["history", "-x"],
    "extra-argument": ["status", "now"],
    "two-ids": ["history", "1", "2"],
    "id-no-number": ["history", "one"],
    "id-other-digits": ["history", "\u0663"],
    "format-unknown": ["status", "--format", "yaml"],
    "format-without-value": ["status", "--format"],
    "root-without-value": ["status", "--root"],
    "root-empty": ["status", "--root="],
    "root-swallows-no-option": ["status", "--root", "--format", "json"],
    "flag-with-value": ["apply", "--no-wait=yes"],
    "value-without-value": ["wait", "--timeout"],
    "timeout-no-number": ["wait", "--timeout", "soon"],
    "timeout-zero": ["wait", "--timeout", "0"],
    "verdict-unknown": ["wait", "--for", "happiness"],
    "pause-no-duration": ["pause", "soon"],
    "pause-two": ["pause", "1m", "2m"],
    "policy-alone": ["policy"],
    "policy-unknown": ["policy", "hide"],
    "policy-both": ["policy", "show", "--published", "--profile", "stig"],
    "help-unknown": ["help", "zzz"],
}


@pytest.mark.parametrize("words", USAGE.values(), ids=USAGE)
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_usage_error_is_exit_2_with_a_hint_whatever_the_format(tmp_path: Path, words: list[str], form: str) -> None:
    outcome = run("--root", str(tmp_path), "--format", form, *words)

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("kauditctl: cannot ")
    assert "\nhint: " in outcome.err


@pytest.mark.parametrize(
    "words",
    [["--root", "/x", "--format", "json", "--socket", "/s", "status"],
     ["status", "--root=/x", "--format=json", "--socket=/s"],
     ["--root", "/x/", "status", "--socket", "/s", "--format", "json"]],
)  # fmt: skip
def test_common_options_stand_before_or_after_the_verb(words: list[str]) -> None:
    read = read_common(words)

    assert (read.verb, read.root, read.format, read.socket_path, read.rest) == ("status", "/x", "json", "/s", [])


def test_the_socket_lies_below_the_root_and_root_slash_is_no_root() -> None:
    assert read_common(["status"]).socket_path == "/run/kauditd/kauditd.sock"
    assert read_common(["status", "--root", "/a"]).socket_path == "/a/run/kauditd/kauditd.sock"
    assert read_common(["status", "--root", "/"]).socket_path == "/run/kauditd/kauditd.sock"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400)])
def test_durations(text: str, seconds: int) -> None:
    assert read_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "0", "0m", "-5", "1.5h", "1w", "10 m", "\u0663m", "1" * 10])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Failure) as caught:
        read_duration_s(text)

    assert caught.value.code == 2


def test_version_without_a_daemon_is_an_answer(tmp_path: Path) -> None:
    text = run("version", "--root", str(tmp_path))
    dashed = run("--version", "--root", str(tmp_path))
    as_json = run("version", "--format", "json", "--root", str(tmp_path))

    assert (text.code, dashed.code, as_json.code) == (0, 0, 0)
    assert text.out.startswith("kauditctl 0.1.0\n")
    assert dashed.out == text.out
    assert json.loads(as_json.out) == {"version": "0.1.0", "daemon": None}


def test_version_with_a_daemon_names_both(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        assert "kauditd   0.1.0 (API level 1)" in run("version", "--root", str(tmp_path)).out


@pytest.mark.parametrize("words", [["help"], ["status"], ["history", "--format", "json"]])
def test_a_closed_pipe_ends_quietly_with_141(tmp_path: Path, socket_path: Path, words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with serving(socket_path, FakeBackend()):
        done = subprocess.run(
            command(*words, "--root", str(tmp_path)), stdout=writer, stderr=subprocess.PIPE, timeout=30, check=False
        )
    os.close(writer)

    assert (done.returncode, done.stderr) == (141, b"")


def test_a_full_disk_is_said_and_is_exit_1(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()), Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("status", "--root", str(tmp_path)), stdout=full, stderr=subprocess.PIPE, timeout=30, check=False
        )

    assert done.returncode == 1
    assert done.stderr == b"kauditctl: cannot write the answer: No space left on device\n"


@pytest.mark.parametrize("words", [["status"], ["version"], ["history", "--format", "json"], ["wait"]])
def test_a_closed_stdout_is_said_and_is_exit_1(tmp_path: Path, socket_path: Path, words: list[str]) -> None:
    shell = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command(*words, "--root", str(tmp_path))]
    with serving(socket_path, FakeBackend()):
        done = subprocess.run(shell, stderr=subprocess.PIPE, timeout=30, check=False)

    assert (done.returncode, done.stderr) == (1, b"kauditctl: cannot write the answer: stdout is closed\n")


@pytest.mark.parametrize("words", [["wait", "--timeout", "30"], ["wait", "--timeout", "30", "--format", "json"]])
def test_ctrl_c_ends_quietly_with_130(tmp_path: Path, socket_path: Path, words: list[str]) -> None:
    with serving(socket_path, FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))):
        child = subprocess.Popen(
            command(*words, "--root", str(tmp_path)), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        time.sleep(1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=10)

    assert (child.returncode, out, err) == (130, b"", b"")
