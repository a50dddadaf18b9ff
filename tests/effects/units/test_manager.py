"""What is asked of systemctl and journalctl, and what becomes of every kind of answer."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from kauditd.effects.units import Done, Manager, run_bounded
from kauditd.errors import Refused

SHOWN = """\
FragmentPath=/etc/systemd/system/kube-apiserver.service
DropInPaths=/etc/systemd/system/kube-apiserver.service.d/10-a.conf /etc/systemd/system/kube-apiserver.service.d/b.conf
MainPID=4711
ActiveState=active
SubState=running
Result=success
NRestarts=3
ExecMainStatus=0
LoadState=loaded
NeedDaemonReload=yes
"""


class Recorder:
    """Answers every program alike and remembers what it was."""

    def __init__(self, exit_code: int = 0, output: str = "", errors: str = "") -> None:
        self.asked: list[list[str]] = []
        self._done = Done(exit_code=exit_code, output=output, errors=errors)

    def __call__(self, words: Sequence[str], timeout_s: float) -> Done:
        assert timeout_s > 0
        self.asked.append(list(words))
        return self._done


def test_state() -> None:
    state = Manager(run=Recorder(output=SHOWN)).state("kube-apiserver.service")

    assert (state.load_state, state.active_state, state.sub_state, state.result) == (
        "loaded",
        "active",
        "running",
        "success",
    )
    assert (state.main_pid, state.restarts, state.exit_status, state.needs_reload) == (4711, 3, 0, True)
    assert state.fragment_path == "/etc/systemd/system/kube-apiserver.service"
    assert [path.rpartition("/")[2] for path in state.drop_in_paths] == ["10-a.conf", "b.conf"]


def test_a_unit_that_is_not_there_is_a_state_and_no_error() -> None:
    state = Manager(run=Recorder(output="LoadState=not-found\nMainPID=[not set]\n")).state("x.service")

    assert (state.load_state, state.main_pid, state.drop_in_paths, state.needs_reload) == ("not-found", 0, (), False)


def test_an_answer_without_a_load_state_is_none() -> None:
    with pytest.raises(Refused) as refused:
        Manager(run=Recorder(output="noise\n")).state("x.service")
    assert refused.value.kind == "unavailable"


def test_a_restart_is_queued_after_earlier_failures_are_forgotten() -> None:
    run = Recorder()
    Manager(run=run).restart("-x.service")

    assert run.asked[0] == ["systemctl", "reset-failed", "--", "-x.service"]
    assert run.asked[1][-4:] == ["restart", "--no-block", "--", "-x.service"]


def test_reload() -> None:
    run = Recorder()
    Manager(run=run).daemon_reload()

    assert [words[-1] for words in run.asked] == ["daemon-reload"]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Failed to connect to bus: No such file or directory", "unavailable"),
        ("Failed to restart x.service: Access denied", "forbidden"),
        ("Failed to reload daemon: Interactive authentication required.", "forbidden"),
        ("", "unavailable"),
    ],
)
def test_a_refusal_says_why_and_what_to_do(said: str, kind: str) -> None:
    manager = Manager(run=Recorder(exit_code=4, errors=said + "\n"))
    for call in (manager.daemon_reload, lambda: manager.restart("x.service"), lambda: manager.state("x.service")):
        with pytest.raises(Refused) as refused:
            call()
        assert refused.value.kind == kind
        assert refused.value.message.startswith("cannot ")
        assert (said or "exit code 4") in refused.value.message
        assert refused.value.hint


def test_last_lines_are_bounded() -> None:
    run = Recorder(output="one\n\n" + "x" * 5000 + "\n")
    lines = Manager(run=run).last_lines("x.service", since_unix_s=1_800_000_000.7, count=100_000)

    assert [len(line) for line in lines] == [3, 1024]
    assert "--since=@1800000000" in run.asked[0]
    assert "--lines=200" in run.asked[0]


def test_no_journal() -> None:
    with pytest.raises(Refused):
        Manager(run=Recorder(exit_code=1, errors="No journal files were opened")).last_lines("x", since_unix_s=0)


def test_a_program_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused) as refused:
        Manager().daemon_reload()

    assert refused.value.kind == "unavailable"
    assert "systemctl" in refused.value.message


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "systemctl"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    began = time.monotonic()
    with pytest.raises(Refused, match="did not answer"):
        Manager(timeout_s=0.3).daemon_reload()

    assert time.monotonic() - began < 10


def test_a_program_runs_in_the_c_locale_with_nothing_to_read() -> None:
    done = run_bounded(["sh", "-c", "cat; echo $LC_ALL; echo bad >&2; exit 3"], 10)

    assert (done.exit_code, done.output, done.errors) == (3, "C\n", "bad\n")
