"""``status``: the daemon's bytes, the right exit code, and nothing imported that it does not need."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kauditd.api.access import Peer
from kauditd.core.model import Verdict
from tests.api.fake import FakeBackend, make_snapshot, request, serving
from tests.cli.command import SOURCE, run, run_on_terminal

DEAR = {
    "argparse", "json", "http", "http.client", "asyncio", "logging", "typing", "dataclasses", "re", "enum", "socket",
    "collections", "contextlib", "functools", "selectors", "subprocess", "pathlib", "inspect", "importlib.metadata",
    "__future__", "traceback", "warnings", "os", "site",
}  # fmt: skip
PROBE = """
import sys
sys.path.insert(0, {source!r})
from kauditd.cli.main import run
sys.argv = ["kauditctl", *sys.argv[1:]]
before = set(sys.modules)
code = run()
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


def test_status_imports_next_to_nothing(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", PROBE.format(source=str(SOURCE)), "status", "--root", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    loaded = set(done.stderr.split())

    assert done.returncode == 0
    assert sorted(loaded & DEAR) == []
    ours = {name for name in loaded if name.startswith("kauditd")}
    assert ours == {
        "kauditd", "kauditd.cli", "kauditd.cli.exits", "kauditd.cli.main", "kauditd.cli.options",
        "kauditd.cli.output", "kauditd.cli.status", "kauditd.cli.wire",
    }  # fmt: skip


@pytest.mark.parametrize("verdict", list(Verdict))
@pytest.mark.parametrize("form", ["text", "json"])
def test_the_exit_code_is_the_verdict_and_not_the_format(
    tmp_path: Path, socket_path: Path, verdict: Verdict, form: str
) -> None:
    with serving(socket_path, FakeBackend(current=make_snapshot(verdict=verdict))):
        outcome = run("status", "--root", str(tmp_path), "--format", form)

    assert outcome.code == (0 if verdict is Verdict.PROTECTED else 1)
    assert outcome.err == ""
    assert verdict.value in outcome.out


def test_text_is_the_daemons_own(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        outcome = run("status", "--root", str(tmp_path))
        answer = request(socket_path, "GET", "/v1/status", headers={"Accept": "text/plain"})

    assert outcome.out == answer.body.decode()


def test_json_is_the_apis_own_result(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        outcome = run("--format=json", "--root", str(tmp_path), "status")
        answer = request(socket_path, "GET", "/v1/status")

    assert json.loads(outcome.out) == answer.result()


def test_colour_on_a_terminal_only(tmp_path: Path, socket_path: Path) -> None:
    words = ("status", "--root", str(tmp_path))
    with serving(socket_path, FakeBackend()):
        painted = run_on_terminal(*words)
        empty = run_on_terminal(*words, environment={"NO_COLOR": ""})
        asked_not_to = run_on_terminal(*words, environment={"NO_COLOR": "1"})
        dumb = run_on_terminal(*words, environment={"TERM": "dumb"})
        piped = run(*words)

    assert painted.code == 0
    assert ["\033" in outcome.out for outcome in (painted, empty, asked_not_to, dumb, piped)] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_no_daemon_is_exit_3_with_a_hint(tmp_path: Path) -> None:
    outcome = run("status", "--root", str(tmp_path))

    assert (outcome.code, outcome.out) == (3, "")
    assert "cannot reach the daemon" in outcome.err
    assert "systemctl status kauditd" in outcome.err


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_stranger_is_exit_4_with_a_hint(tmp_path: Path, socket_path: Path, form: str) -> None:
    with serving(socket_path, FakeBackend(), reader=lambda _socket: Peer(uid=66, gid=66)):
        outcome = run("status", "--root", str(tmp_path), "--format", form)

    assert outcome.code == 4
    assert "hint: try with sudo" in outcome.err


def test_a_bug_in_the_daemon_is_exit_1_and_says_where_to_look(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(fault=RuntimeError("x"))):
        outcome = run("status", "--root", str(tmp_path))

    assert outcome.code == 1
    assert "journalctl" in outcome.err


def test_another_socket_may_be_named(tmp_path: Path) -> None:
    with serving(tmp_path / "other.sock", FakeBackend()):
        assert run("status", "--socket", str(tmp_path / "other.sock")).code == 0


def test_a_root_too_deep_for_a_socket_address_works(tmp_path: Path) -> None:
    root = tmp_path.joinpath(*["a-long-directory-name"] * 6)
    with serving(root / "run/kauditd/kauditd.sock", FakeBackend()):
        assert run("status", "--root", str(root)).code == 0


def test_a_relative_root_is_taken_from_here(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        assert run("status", "--root", os.path.relpath(tmp_path)).code == 0
