"""What the routes answer, how failures look from outside and in the journal, and a socket that systemd made."""

import asyncio
import logging
import socket
from pathlib import Path

import pytest

from kauditd.api.access import Peer
from kauditd.api.app import Server
from kauditd.core.model import Outcome, Verdict
from kauditd.errors import KINDS, FileFault, KauditError, Refused
from tests.api.fake import FakeBackend, dial, make_change, make_snapshot, parse, read_all, request, serving

TEXT = {"Accept": "text/plain"}


@pytest.mark.parametrize("verdict", list(Verdict))
def test_status_and_health_agree_and_only_protected_is_yes(path: Path, verdict: Verdict) -> None:
    with serving(path, FakeBackend(current=make_snapshot(verdict=verdict))):
        status = request(path, "GET", "/v1/status")
        text = request(path, "GET", "/v1/status", headers=TEXT)
        health = request(path, "GET", "/v1/health")

    yes = verdict is Verdict.PROTECTED
    assert status.result()["verdict"] == health.result()["verdict"] == verdict.value
    assert (status.status, text.status, health.status) == (200, 200, 200 if yes else 503)
    assert {a.headers["kauditd-exit"] for a in (status, text, health)} == {"0" if yes else "1"}
    assert text.body.decode().split()[0] == verdict.value


@pytest.mark.parametrize(("accept", "is_text"), [
    ("text/plain", True), ("text/plain; charset=utf-8", True), ("TEXT/PLAIN, */*;q=0.1", False),
    ("*/*", False), ("application/json", False), ("text/html", False),
])  # fmt: skip
def test_text_comes_only_where_it_is_asked_for(path: Path, accept: str, is_text: bool) -> None:
    with serving(path, FakeBackend()):
        answer = request(path, "GET", "/v1/status", headers={"Accept": accept})

    assert answer.headers["content-type"] == ("text/plain; charset=utf-8" if is_text else "application/json")


def test_colour_comes_only_where_it_is_asked_for(path: Path) -> None:
    with serving(path, FakeBackend()):
        painted = request(path, "GET", "/v1/status?color=1", headers=TEXT)
        plain = request(path, "GET", "/v1/status?color=0", headers=TEXT)

    assert (b"\033" in painted.body, b"\033" in plain.body) == (True, False)


def test_changes_come_newest_first_and_bounded(path: Path) -> None:
    changes = tuple(make_change(number) for number in (1, 3, 2))
    with serving(path, FakeBackend(current=make_snapshot(changes=changes))):
        result = request(path, "GET", "/v1/changes?limit=2").result()

    shown = result["changes"]
    assert isinstance(shown, list)
    assert ([change["id"] for change in shown], result["total"]) == ([3, 2], 3)


@pytest.mark.parametrize(
    ("outcome", "exit_header"),
    [
        (Outcome.PROVEN, "0"),
        (Outcome.UNPROVEN, "0"),
        (Outcome.ROLLED_BACK, "1"),
        (Outcome.REFUSED, "1"),
        (Outcome.SUPERSEDED, "1"),
        (Outcome.OPEN, None),
    ],
)
def test_the_exit_header_of_a_change_is_missing_until_it_has_ended(
    path: Path, outcome: Outcome, exit_header: str | None
) -> None:
    with serving(path, FakeBackend(current=make_snapshot(changes=(make_change(1, outcome=outcome),)))):
        answer = request(path, "GET", "/v1/changes/1")

    assert answer.headers.get("kauditd-exit") == exit_header


def test_waiting_for_a_change_gives_its_end(path: Path) -> None:
    backend = FakeBackend(outcome=Outcome.ROLLED_BACK)
    with serving(path, backend):
        started = request(path, "POST", "/v1/apply").result()["change"]
        assert isinstance(started, dict)
        ended = request(path, "GET", f"/v1/changes/{started['id']}/wait?timeout_s=5").result()

    assert (started["outcome"], ended["outcome"]) == ("open", "rolled-back")


def test_nothing_to_change_is_null_and_no_error(path: Path) -> None:
    with serving(path, FakeBackend(nothing_to_do=True)):
        answer = request(path, "POST", "/v1/apply")

    assert (answer.status, answer.result()) == (200, {"change": None})


def test_the_policy_as_text_is_the_published_file(path: Path) -> None:
    with serving(path, backend := FakeBackend()):
        answer = request(path, "GET", "/v1/policy", headers=TEXT)

    assert answer.body.decode() == backend.current.policy.text


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Refused("cannot apply: contested", hint="kauditctl history"), 409, "refused"),
        (FileFault("cannot write x: No space left on device", path="x", errno_name="ENOSPC"), 500, "file-fault"),
        (KauditError("cannot apply: the policy is broken", kind="bad-policy"), 422, "bad-policy"),
        (KauditError("cannot apply: stopping", kind="unavailable"), 503, "unavailable"),
    ],
)
def test_a_refusal_of_the_engine_comes_through_with_its_hint(
    path: Path, fault: KauditError, status: int, kind: str
) -> None:
    with serving(path, FakeBackend(fault=fault)):
        answer = request(path, "POST", "/v1/apply")

    assert answer.status == status
    assert answer.result() == {"kind": kind, "message": fault.message, "hint": fault.hint}
    assert kind in KINDS


def test_a_bug_in_a_handler_tells_the_client_nothing_and_the_journal_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(path, FakeBackend(fault=RuntimeError("secret in a traceback"))):
        answer = request(path, "GET", "/v1/status")

    assert answer.status == 500
    assert answer.result()["kind"] == "internal"
    assert b"secret" not in answer.body
    faults = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(faults) == 1
    assert faults[0].exc_info is not None


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for record in caplog.records if (text := record.getMessage()).startswith("event=")]


def test_every_write_is_one_line_with_the_peers_uid(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving(path, FakeBackend(), reader=lambda _socket: Peer(uid=0, gid=0)):
        for verb in ("apply", "rollback", "disable", "pause", "resume"):
            request(path, "POST", f"/v1/{verb}")
        request(path, "GET", "/v1/status")

    verbs = ("apply", "rollback", "disable", "pause", "resume")
    assert events(caplog) == [f"event={verb} uid=0 outcome=accepted" for verb in verbs]


def test_a_refused_write_is_one_line_too(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    backend = FakeBackend(fault=Refused("cannot apply: contested"))
    with caplog.at_level(logging.INFO), serving(path, backend, reader=lambda _socket: Peer(uid=0, gid=0)):
        request(path, "POST", "/v1/apply")

    assert events(caplog) == ["event=apply uid=0 outcome=refused"]


def test_every_denial_is_one_line_and_cannot_forge_another(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.INFO),
        serving(path, FakeBackend(), group_id=7, reader=lambda _socket: Peer(uid=9, gid=7)),
    ):
        request(path, "POST", "/v1/apply")
        request(path, "GET", "/v1/x%0aevent=apply", headers={"Origin": "x"})

    assert events(caplog) == [
        'event=denied uid=9 gid=7 request="POST /v1/apply" reason=root-only',
        'event=denied uid=9 gid=7 request="GET /v1/x\\nevent=apply" reason=origin-header',
    ]


def test_a_socket_that_systemd_opened_is_served_and_left_in_place(path: Path) -> None:
    given = socket.socket(socket.AF_UNIX)
    given.bind(str(path))
    given.listen()

    async def serve() -> bytes:
        server = Server(FakeBackend(), group_id=None)
        await server.start(given)
        raw = await asyncio.to_thread(fetch)
        await server.stop()
        return raw

    def fetch() -> bytes:
        with dial(path) as connection:
            connection.sendall(b"GET /v1/version HTTP/1.1\r\nHost: kauditd\r\n\r\n")
            return read_all(connection)

    answer = parse(asyncio.run(serve()))

    assert answer.result() == {"version": "0.1.0", "api_level": 1}
    assert path.exists()


def test_a_server_that_could_not_start_can_be_stopped(path: Path) -> None:
    path.write_text("in the way")

    async def attempt() -> None:
        server = Server(FakeBackend(), group_id=None)
        with pytest.raises(KauditError):
            await server.start(str(path))
        await server.stop()

    asyncio.run(attempt())

    assert path.read_text() == "in the way"
