"""Verbs that need no daemon become another program, which gets the arguments, the search path and the isolation."""

import json
import sys
from pathlib import Path

import pytest

from tests.cli.command import SOURCE, run

RECORDER = """
import json, sys
if __name__ == "__main__":
    print(json.dumps({"argv": sys.argv[1:], "path": sys.path, "isolated": sys.flags.isolated,
                      "no_site": sys.flags.no_site, "clean": "kauditd.cli" not in sys.modules}))
    sys.exit(int(len(sys.argv) > 2 and sys.argv[-1] == "--disable"))
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A package with our command line and a node-reading program that only says how it was called."""
    package = tmp_path / 'it\'s a "path"' / "kauditd"
    (package / "daemon").mkdir(parents=True)
    for name in ("__init__.py", "_version.py", "cli"):
        (package / name).symlink_to(SOURCE / "kauditd" / name)
    (package / "daemon" / "__init__.py").write_text("")
    (package / "daemon" / "assess.py").write_text(RECORDER)
    return package.parent


@pytest.mark.parametrize(
    ("words", "argv"),
    [
        (["check"], ["check", "--format", "text"]),
        (["--format", "json", "check", "--root", "/n"], ["check", "--root", "/n", "--format", "json"]),
        (["check", "--config", "/c.yaml"], ["check", "--config", "/c.yaml", "--format", "text"]),
        (["doctor", "--root=/n"], ["doctor", "--root", "/n", "--format", "text"]),
        (["diff"], ["diff", "--format", "text"]),
        (["diff", "--disable"], ["diff", "--format", "text", "--disable"]),
        (["policy", "show", "--profile", "stig"], ["policy", "--format", "text", "show", "--profile", "stig"]),
    ],
)
def test_the_program_gets_verb_and_options(source: Path, words: list[str], argv: list[str]) -> None:
    outcome = run(*words, source=source)
    told = json.loads(outcome.out)

    assert told["argv"] == argv
    assert outcome.code == int(argv[-1] == "--disable"), "its exit code is ours"
    assert (told["isolated"], told["no_site"]) == (1, 1)
    assert told["path"][0] == str(source), "what the launcher put into sys.path only"
    assert told["clean"]


@pytest.mark.parametrize("words", [["check", "extra"], ["diff", "--profile", "x"], ["doctor", "--disable"]])
def test_what_the_verb_does_not_take_is_refused_here(source: Path, words: list[str]) -> None:
    outcome = run(*words, source=source)

    assert (outcome.code, outcome.out) == (2, "")


def test_the_daemons_socket_plays_no_part(source: Path, tmp_path: Path) -> None:
    assert run("check", "--root", str(tmp_path / "empty"), source=source).code == 0


def test_an_interpreter_that_is_gone_is_said(source: Path) -> None:
    from tests.cli import command

    launcher = command.LAUNCHER
    gone = launcher.replace("import sys;", "import sys; sys.executable = '/nonexistent/python';", 1)
    try:
        command.LAUNCHER = gone
        outcome = run("check", source=source)
    finally:
        command.LAUNCHER = launcher

    assert outcome.code == 1
    assert "cannot start /nonexistent/python" in outcome.err
    assert sys.executable != "/nonexistent/python"
