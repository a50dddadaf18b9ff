"""The verbs against a real server: what they ask, what they print, how they exit."""

import json
import threading
from pathlib import Path

import pytest

from kauditd.api.access import Peer
from kauditd.core.model import Outcome, Verdict
from kauditd.errors import Refused
from tests.api.fake import FakeBackend, make_change, make_snapshot, request, serving
from tests.cli.command import run, run_on_terminal


@pytest.mark.parametrize("verb", ["apply", "rollback", "disable"])
@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.PROVEN, 0),
        (Outcome.UNPROVEN, 0),
        (Outcome.ROLLED_BACK, 1),
        (Outcome.REFUSED, 1),
        (Outcome.SUPERSEDED, 1),
    ],
)
def test_a_change_is_followed_to_its_end(
    tmp_path: Path, socket_path: Path, verb: str, outcome: Outcome, code: int
) -> None:
    backend = FakeBackend(open_waits=2, outcome=outcome)
    with serving(socket_path, backend):
        done = run(verb, "--root", str(tmp_path))

    assert (done.code, done.err) == (code, "")
    assert f"outcome  {outcome.value} after 42 s" in done.out
    assert [call[0] for call in backend.calls] == [verb]


def test_json_of_a_change_is_the_apis_own_and_exits_alike(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(open_waits=1, outcome=Outcome.ROLLED_BACK)):
        done = run("apply", "--root", str(tmp_path), "--format", "json")
        answer = request(socket_path, "GET", "/v1/changes/1")

    assert done.code == 1
    assert json.loads(done.out) == answer.result()


def test_nothing_to_do_is_yes(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(nothing_to_do=True)):
        text = run("apply", "--root", str(tmp_path))
        as_json = run("apply", "--root", str(tmp_path), "--format", "json")

    assert (text.code, as_json.code) == (0, 0)
    assert "nothing to do" in text.out
    assert json.loads(as_json.out) == {"change": None}


def test_no_wait_prints_the_number(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(open_waits=1000)):
        done = run("apply", "--no-wait", "--root", str(tmp_path))

    assert done.code == 0
    assert "kauditctl history 1" in done.out


def test_a_change_that_stays_open_ends_the_waiting_with_no(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(open_waits=1000)):
        done = run("apply", "--timeout", "1s", "--root", str(tmp_path))

    assert done.code == 1
    assert "still open after 1 s" in done.err


def test_phases_are_shown_on_a_terminal(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(open_waits=2)):
        done = run_on_terminal("apply", "--root", str(tmp_path))

    assert done.code == 0
    assert " s  written  2 flags\n" in done.out
    assert done.out.count(" s  written  2 flags\n") == 2, "once as a phase, once in the timeline of the result"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_refusal_is_no_with_the_engines_hint(tmp_path: Path, socket_path: Path, form: str) -> None:
    fault = Refused("cannot apply: contested", hint="kauditctl history")
    with serving(socket_path, FakeBackend(fault=fault)):
        done = run("apply", "--root", str(tmp_path), "--format", form)

    assert done.code == 1
    assert "kauditctl: cannot apply: contested\nhint: kauditctl history\n" in done.err


@pytest.mark.parametrize("verb", ["apply", "rollback", "disable", "pause", "resume", "canary"])
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_member_of_the_group_may_not_write(tmp_path: Path, socket_path: Path, verb: str, form: str) -> None:
    backend = FakeBackend()
    with serving(socket_path, backend, group_id=7, reader=lambda _socket: Peer(uid=9, gid=7)):
        done = run(verb, "--root", str(tmp_path), "--format", form)

    assert done.code == 4
    assert f"cannot {verb}: only root may\nhint: try with sudo" in done.err
    assert not backend.calls


@pytest.mark.parametrize(
    "words",
    [["wait", "--timeout", "1"], ["apply"], ["rollback"], ["disable"], ["pause"], ["resume"], ["canary"], ["history"],
     ["history", "1"], ["policy", "show"], ["windows"], ["windows", "annotate", "1", "--owner", "ops"]],
)  # fmt: skip
@pytest.mark.parametrize("form", ["text", "json"])
def test_without_a_daemon_every_verb_is_exit_3(tmp_path: Path, words: list[str], form: str) -> None:
    done = run(*words, "--root", str(tmp_path), "--format", form)

    assert (done.code, done.out) == (3, "")
    assert "\nhint: " in done.err


@pytest.mark.parametrize(("words", "duration_s"), [([], None), (["10m"], 600.0), (["90"], 90.0), (["1d"], 86_400.0)])
def test_pause_sends_seconds(tmp_path: Path, socket_path: Path, words: list[str], duration_s: float | None) -> None:
    with serving(socket_path, backend := FakeBackend()):
        assert run("pause", *words, "--root", str(tmp_path)).code == 0
        assert run("resume", "--root", str(tmp_path)).code == 0

    assert [(verb, asked_s) for verb, _uid, asked_s in backend.calls] == [("pause", duration_s), ("resume", None)]


def test_a_pause_longer_than_the_daemon_takes_is_refused(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend()):
        done = run("pause", "31d", "--root", str(tmp_path))

    assert done.code == 1
    assert "cannot use duration_s" in done.err


def test_history_lists_shows_and_knows_what_is_unknown(tmp_path: Path, socket_path: Path) -> None:
    root = ("--root", str(tmp_path))
    changes = (make_change(1), make_change(2, outcome=Outcome.ROLLED_BACK))
    with serving(socket_path, FakeBackend(current=make_snapshot(changes=changes))):
        listed, one, all_of_them = run("history", *root), run("history", "2", *root), run("history", "--show", *root)
        hashed, unknown = run("history", "#2", *root), run("history", "3", *root)
        as_json = run("history", *root, "--format", "json")

    assert [line.split()[0] for line in listed.out.splitlines()] == ["id", "2", "1"]
    assert one.code == 0, "a change that was undone is still an answer"
    assert one.out == hashed.out
    assert "rolled-back" in one.out
    assert all_of_them.out.count("change   #") == 2
    assert [change["id"] for change in json.loads(as_json.out)["changes"]] == [2, 1]
    assert (unknown.code, unknown.out) == (1, "")


def test_the_published_policy_is_shown_as_it_is(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, backend := FakeBackend()):
        shown = run("policy", "show", "--root", str(tmp_path))
        named = run("policy", "show", "--published", "--root", str(tmp_path))
        as_json = run("policy", "show", "--root", str(tmp_path), "--format", "json")

    assert shown.out == named.out == backend.current.policy.text
    assert json.loads(as_json.out)["rule_count"] == 6


def test_wait_ends_when_the_verdict_comes(tmp_path: Path, socket_path: Path) -> None:
    backend = FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))
    with serving(socket_path, backend):
        timer = threading.Timer(0.7, lambda: backend.publish(verdict=Verdict.PROTECTED))
        timer.start()
        done = run("wait", "--for", "protected", "--timeout", "20", "--root", str(tmp_path))
        timer.join()

    assert (done.code, done.err) == (0, "")
    assert done.out == "protected: The API server writes audit events.\n"


@pytest.mark.parametrize("form", ["text", "json"])
def test_wait_that_ends_in_vain_is_no(tmp_path: Path, socket_path: Path, form: str) -> None:
    with serving(socket_path, FakeBackend(current=make_snapshot(verdict=Verdict.DEGRADED))):
        done = run("wait", "--timeout", "1", "--root", str(tmp_path), "--format", form)

    assert done.code == 1
    assert "degraded" in done.out


def test_wait_lives_through_a_daemon_that_is_still_starting(tmp_path: Path, socket_path: Path) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(run("wait", "--timeout", "20", "--root", str(tmp_path))))
    thread.start()
    thread.join(0.8)
    assert thread.is_alive()
    with serving(socket_path, FakeBackend()):
        thread.join(20)

    assert results[0].code == 0


def test_wait_does_not_go_on_where_it_is_denied(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(), reader=lambda _socket: Peer(uid=66, gid=66)):
        assert run("wait", "--timeout", "20", "--root", str(tmp_path)).code == 4


def test_wait_tells_a_terminal_what_it_sees(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, FakeBackend(current=make_snapshot(verdict=Verdict.CHANGING))):
        done = run_on_terminal("wait", "--timeout", "1", "--root", str(tmp_path))

    assert " s  changing: The API server writes audit events.\n" in done.out
