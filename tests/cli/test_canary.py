"""``kauditctl canary``: yes only for an event that was seen, and never a silent wait."""

import json
from pathlib import Path

import pytest

from kauditd.api.limits import Limits
from kauditd.cli.canary import ROUND_S
from tests.api.fake import FAILED_PROOF, FakeBackend, make_proof, serving
from tests.cli.command import run, run_on_terminal


def test_an_event_in_the_log_is_yes(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        done = run("canary", "--root", str(tmp_path))

    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "proven: event 9b2e4c1a was in /var/log/kubernetes/audit/audit.log at byte 8192, "
        "0.4 ms after it was asked for\n"
    )


@pytest.mark.parametrize("proof", [FAILED_PROOF, make_proof()], ids=["event-missing", "nothing-new"])
def test_anything_else_is_no_with_a_hint(tmp_path: Path, socket_path: Path, proof: object) -> None:
    with serving(socket_path, FakeBackend(round=proof)):
        done = run("canary", "--root", str(tmp_path))

    assert (done.code, done.err) == (1, "")
    assert done.out.startswith("not proven: ")
    assert "\nhint: kauditctl " in done.out


@pytest.mark.parametrize(("proof", "code"), [(None, 0), (FAILED_PROOF, 1)])
def test_json_is_the_apis_own_result_and_exits_alike(
    tmp_path: Path, socket_path: Path, proof: object, code: int
) -> None:
    backend = FakeBackend() if proof is None else FakeBackend(round=proof)
    with serving(socket_path, backend):
        done = run("canary", "--root", str(tmp_path), "--format", "json")

    result = json.loads(done.out)
    assert (done.code, result["proven"], result["verdict"]) == (code, code == 0, "protected")
    assert result["proof"]["code"] == ("" if code == 0 else "canary-lost")


def test_a_terminal_is_told_of_a_long_round_and_of_no_short_one(tmp_path: Path, socket_path: Path) -> None:
    words = ("canary", "--root", str(tmp_path))
    with serving(socket_path, FakeBackend(act_delay_s=3)):
        long = run_on_terminal(*words)
    with serving(socket_path, FakeBackend()):
        short = run_on_terminal(*words)

    assert (long.code, short.code) == (0, 0)
    assert "    2 s  waiting for the canary's event\n" in long.out
    assert "waiting" not in short.out


def test_the_command_is_as_patient_as_the_daemon() -> None:
    assert Limits().round_s == ROUND_S
