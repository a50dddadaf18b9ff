"""Nothing is reachable that is not a row, and no row is reachable by more people than it says."""

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kauditd.api.access import Peer, Role
from kauditd.api.app import create_app
from kauditd.api.table import Access, Row, build_table
from tests.api.fake import (
    Answer,
    FakeBackend,
    as_user,
    dial,
    make_change,
    make_snapshot,
    make_window,
    parse,
    read_all,
    request,
    serving,
)

GROUP = 64_242
STRANGER_UID = 64_101
READER_UID = 64_102
TABLE = build_table(wait_s=600)
ROWS = [pytest.param(row, id=f"{row.method} {row.path}") for row in TABLE]
WRITES = {
    "/v1/apply",
    "/v1/rollback",
    "/v1/disable",
    "/v1/pause",
    "/v1/resume",
    "/v1/canary",
    "/v1/windows/{id}/annotate",
}


def make_backend() -> FakeBackend:
    return FakeBackend(current=replace(make_snapshot(changes=(make_change(1),)), windows=(make_window(1),)))


def target_of(row: Row) -> str:
    return row.path.replace("{id}", "1")


def test_the_server_has_the_routes_of_the_table_and_no_other() -> None:
    app = create_app(FakeBackend(), group_id=None)
    routes = {
        (route.method, re.sub(r":[^{}]*(\{[^{}]*\})?[^{}]*\}", "}", route.resource.get_info().get("formatter", "")
         or route.resource.canonical))
        for route in app.router.routes()
    }  # fmt: skip

    assert routes == {(row.method, row.path) for row in TABLE}


def test_rows_do_not_repeat_and_name_no_files() -> None:
    keys = [(row.method, row.path) for row in TABLE]

    assert len(keys) == len(set(keys))
    assert {name for _, path in keys for name in re.findall(r"\{(\w+)\}", path)} == {"id"}


def test_reading_is_get_and_writing_is_post() -> None:
    for row in TABLE:
        assert (row.access is Access.WRITE) == (row.path in WRITES) == (row.method == "POST"), row.path


@pytest.mark.parametrize("access", list(Access))
def test_nobody_passes_no_access_class(access: Access) -> None:
    assert not access.allows(Role.NOBODY)
    assert access.allows(Role.ADMIN)
    assert access.allows(Role.READER) == (access is Access.READ)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("role", list(Role))
def test_every_route_for_every_role(path: Path, row: Row, role: Role) -> None:
    """The credentials are faked here, so that it also runs without privileges; the next test makes them real."""
    peers = {
        Role.ADMIN: Peer(uid=0, gid=0),
        Role.READER: Peer(uid=READER_UID, gid=GROUP),
        Role.NOBODY: Peer(uid=STRANGER_UID, gid=STRANGER_UID),
    }
    backend = make_backend()

    with serving(path, backend, group_id=GROUP, reader=lambda _socket: peers[role]):
        answer = request(path, row.method, target_of(row))

    check(row, role, answer, backend)


def check(row: Row, role: Role, answer: Answer, backend: FakeBackend) -> None:
    if row.access.allows(role):
        assert answer.status == 200
        assert bool(backend.calls) == (row.access is Access.WRITE)
    else:
        assert answer.status == 403
        assert answer.result()["kind"] == "forbidden"
        assert not backend.calls
    if role is Role.NOBODY:
        assert set(answer.result()) == {"kind", "message", "hint"}
        assert b"audit" not in answer.body.replace(b"kauditd", b"")


@pytest.mark.parametrize(
    ("role", "uid", "gid", "groups"),
    [
        (Role.ADMIN, 0, 0, []),
        (Role.READER, READER_UID, GROUP, []),
        (Role.READER, READER_UID, READER_UID, [5, GROUP]),
        (Role.NOBODY, STRANGER_UID, STRANGER_UID, [5]),
        (Role.NOBODY, STRANGER_UID, 0, []),
    ],
    ids=["root", "group", "supplementary-group", "stranger", "stranger-in-group-0"],
)
def test_every_route_under_real_credentials(path: Path, role: Role, uid: int, gid: int, groups: list[int]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can take on other users' credentials")
    for row in TABLE:
        backend = make_backend()
        with serving(path, backend, group_id=GROUP):
            path.chmod(0o666)  # so that the decision is the server's alone and not the file mode's
            raw = as_user(uid, gid, groups, fetch(path, row))
        check(row, role, parse(raw), backend)


def fetch(path: Path, row: Row) -> Callable[[], bytes]:
    def work() -> bytes:
        with dial(path) as connection:
            with contextlib.suppress(BrokenPipeError):  # a stranger's answer may be there before the question
                connection.sendall(f"{row.method} {target_of(row)} HTTP/1.1\r\nHost: kauditd\r\n\r\n".encode())
            return read_all(connection)

    return work


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1", 404),
        ("GET", "/v1/status/", 404),
        ("GET", "/v1//status", 404),
        ("GET", "/v2/status", 404),
        ("GET", "/v1/files", 404),
        ("GET", "/v1/changes/../status", 404),
        ("GET", "/v1/changes/x", 404),
        ("GET", "/v1/changes/-1", 404),
        ("GET", "/v1/changes/1234567890123456", 404),
        ("GET", "/v1/changes/99", 404),
        ("GET", "/v1/changes/99/wait", 404),
        ("POST", "/v1/windows/x/annotate", 404),
        ("GET", "/v1/windows/1", 404),
        ("GET", "/v1/windows/1/annotate", 405),
        ("GET", "/v1/apply", 405),
        ("GET", "/v1/canary", 405),
        ("POST", "/v1/proof", 405),
        ("POST", "/v1/status", 405),
        ("PUT", "/v1/status", 405),
        ("HEAD", "/v1/status", 405),
        ("DELETE", "/v1/changes/1", 405),
        ("OPTIONS", "/v1/status", 405),
        ("TRACE", "/v1/status", 405),
    ],
)
def test_what_is_no_row_is_not_served(path: Path, method: str, target: str, status: int) -> None:
    with serving(path, backend := make_backend()):
        if method == "HEAD":
            with dial(path) as connection:
                connection.sendall(b"HEAD /v1/status HTTP/1.1\r\nHost: kauditd\r\n\r\n")
                assert read_all(connection).startswith(b"HTTP/1.1 405 ")
            return
        answer = request(path, method, target)

    assert answer.status == status
    assert answer.result()["kind"] == ("not-found" if status == 404 else "bad-request")
    assert answer.headers.get("allow") == (
        None if status == 404 else "POST" if target.endswith(("apply", "annotate", "canary")) else "GET"
    )
    assert not backend.calls
