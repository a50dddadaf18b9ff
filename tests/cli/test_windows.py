"""``kauditctl windows``: the list as the daemon writes it, and notes as people give them."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kauditd.api.access import Peer
from tests.api.fake import FakeBackend, make_coverage, make_snapshot, make_window, request, serving
from tests.cli.command import run


def make_backend() -> FakeBackend:
    """Three windows: one ended 40 days ago, one an hour ago, one is open."""
    now_unix_s = time.time()
    windows = (
        make_window(1, end_unix_s=now_unix_s - 40 * 86_400),
        make_window(2, end_unix_s=now_unix_s - 3600),
        make_window(3, end_unix_s=None),
    )
    return FakeBackend(current=replace(make_snapshot(), windows=windows, coverage=make_coverage()))


def test_windows_are_listed_and_bounded(tmp_path: Path, socket_path: Path) -> None:
    root = ("--root", str(tmp_path))
    with serving(socket_path, make_backend()):
        every, month, one = (
            run("windows", *root),
            run("windows", "--since", "30d", *root),
            run("windows", "--limit", "1", *root),
        )
        as_json = run("windows", "--since=30d", *root, "--format", "json")
        answer = request(socket_path, "GET", "/v1/windows")
        ages = run("windows", "--since", "999999999", *root)

    assert (every.code, every.err) == (0, "")
    assert "99.9961 %" in every.out
    ids = [[w["id"] for w in json.loads(as_json.out)["windows"]], [w["id"] for w in answer.result()["windows"]]]
    assert ids == [[3, 2], [3, 2, 1]]
    assert [text.count("upgrade-overwrote") for text in (every.out, month.out, one.out, ages.out)] == [3, 2, 1, 3]
    assert "not shown: 2 more" in one.out


def test_a_note_reaches_the_window(tmp_path: Path, socket_path: Path) -> None:
    root = ("--root", str(tmp_path))
    with serving(socket_path, backend := make_backend(), reader=lambda _socket: Peer(uid=0, gid=0)):
        done = run("windows", "annotate", "#3", "--root-cause", "logrotate \u00fc", "--owner=ops", *root)
        as_json = run("windows", "annotate", "3", "--prevention", "removed", "--owner", "", *root, "--format", "json")
        unknown = run("windows", "annotate", "9", "--owner", "ops", *root)
        shown = run("windows", *root)

    assert (done.code, done.out) == (0, "noted: window 3 owner, root cause\n")
    window = json.loads(as_json.out)
    assert (window["root_cause"], window["prevention"], window["owner"]) == ("logrotate \u00fc", "removed", "")
    assert (unknown.code, unknown.out) == (1, "")
    assert "unknown\nhint: see: kauditctl windows" in unknown.err
    assert "#3  prevention  removed" in shown.out
    assert [verb for verb, *_ in backend.calls] == ["annotate"] * 3


def test_only_root_may_note(tmp_path: Path, socket_path: Path) -> None:
    with serving(socket_path, backend := make_backend(), group_id=7, reader=lambda _socket: Peer(uid=9, gid=7)):
        done = run("windows", "annotate", "3", "--owner", "me", "--root", str(tmp_path))

    assert done.code == 4
    assert not backend.calls


@pytest.mark.parametrize(
    "words",
    [
        ["annotate"],
        ["annotate", "3"],
        ["annotate", "x", "--owner", "me"],
        ["annotate", "\u0663", "--owner", "me"],
        ["annotate", "3", "--owner", "me", "--since", "30d"],
        ["annotate", "3", "--owner", "me", "--limit", "3"],
        ["annotate", "3", "4", "--owner", "me"],
        ["close", "3"],
        ["3"],
        ["--owner", "me"],
        ["--since", "long"],
        ["--limit", "many"],
    ],
)
def test_what_makes_no_sense_is_usage(tmp_path: Path, words: list[str]) -> None:
    done = run("windows", *words, "--root", str(tmp_path))

    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 2, "one line and a hint"


def test_the_help_tells_how_to_note(tmp_path: Path) -> None:
    shown = run("help", "windows")

    assert shown.code == 0
    assert "usage: kauditctl windows [annotate ID] [options]" in shown.out
    for word in ("--since DURATION", "--root-cause TEXT", "--prevention TEXT", "--owner TEXT"):
        assert word in shown.out
    assert "\n  windows " in run("help").out
