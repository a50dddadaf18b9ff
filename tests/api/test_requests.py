"""Requests that somebody crafted: odd framing, odd targets, odd bodies. Each is refused and changes nothing."""

from pathlib import Path

import pytest

from kauditd.api.limits import Limits
from tests.api.fake import FakeBackend, exchange, make_change, make_snapshot, request, serving


def raw(line: str, *fields: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, *fields, "", ""]).encode("latin-1") + body


POST = "POST /v1/apply HTTP/1.1"
GET = "GET /v1/status HTTP/1.1"
HOST = "Host: kauditd"
CHUNKED = "Transfer-Encoding: chunked"

CRAFTED = {
    "origin": (raw(POST, HOST, "Origin: null"), 403),
    "referer": (raw(POST, HOST, "Referer: http://localhost/"), 403),
    "foreign-host": (raw(GET, "Host: evil.example"), 403),
    "two-hosts": (raw(GET, HOST, "Host: localhost"), {400, 403}),
    "chunked": (raw(POST, HOST, CHUNKED, body=b"0\r\n\r\n"), 411),
    "chunked-and-length": (raw(POST, HOST, CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n"), {400, 411}),
    "unknown-transfer-encoding": (raw(POST, HOST, "Transfer-Encoding: identity", body=b""), {400, 411}),
    "smuggled-obfuscated-chunked": (raw(POST, HOST, "Transfer-Encoding: xchunked", body=b""), {400, 411}),
    "two-lengths": (raw(POST, HOST, "Content-Length: 0", "Content-Length: 2", body=b"{}"), 400),
    "negative-length": (raw(POST, HOST, "Content-Length: -1"), 400),
    "signed-length": (raw(POST, HOST, "Content-Length: +2", body=b"{}"), 400),
    "length-with-underscore": (raw(POST, HOST, "Content-Length: 1_0", body=b"{}"), 400),
    "length-in-other-digits": (raw(POST, HOST, "Content-Length: \u00b2", body=b"{}"), 400),
    "encoded": (raw(POST, HOST, "Content-Encoding: gzip", "Content-Length: 2", body=b"{}"), 415),
    "expect": (raw(POST, HOST, "Expect: 100-continue", "Content-Length: 2", body=b"{}"), 417),
    "expect-other": (raw(POST, HOST, "Expect: tea"), 417),
    "upgrade": (raw(GET, HOST, "Connection: Upgrade", "Upgrade: websocket"), 400),
    "body-on-get": (raw(GET, HOST, "Content-Length: 2", body=b"{}"), 400),
    "too-large-announced": (raw(POST, HOST, "Content-Length: 16385"), 413),
    "too-large-sent": (raw(POST, HOST, "Content-Length: 2000000", body=b" " * 2_000_000), 413),
    "length-of-many-digits": (raw(POST, HOST, f"Content-Length: {'9' * 30}"), {400, 413}),
    "absolute-target": (raw("GET http://kauditd/v1/status HTTP/1.1", HOST), 400),
    "absolute-target-elsewhere": (raw("GET http://evil/v1/status HTTP/1.1", HOST), 400),
    "encoded-target": (raw("GET /v1/%73tatus HTTP/1.1", HOST), 400),
    "encoded-slash": (raw("GET /v1%2Fstatus HTTP/1.1", HOST), 400),
    "fragment": (raw("GET /v1/status#x HTTP/1.1", HOST), 400),
    "double-slash-authority": (raw("GET //evil/v1/status HTTP/1.1", HOST), {400, 404}),
    "other-digits-in-id": (raw("GET /v1/changes/\u00b2 HTTP/1.1", HOST), 400),
    "star": (raw("OPTIONS * HTTP/1.1", HOST), {400, 404, 405}),
    "connect": (raw("CONNECT kauditd:443 HTTP/1.1", HOST), {400, 404}),
    "header-with-space": (raw(GET, HOST, "Content-Length : 0"), 400),
    "header-fold": (raw(GET, HOST, "X-A: 1", " folded: 1"), 400),
    "header-without-colon": (raw(GET, HOST, "nonsense"), 400),
    "nul-in-header": (raw(GET, HOST, "X-A: a\0b"), 400),
    "long-line": (raw(f"GET /v1/status?{'a' * 9000} HTTP/1.1", HOST), 400),
    "long-header": (raw(GET, HOST, f"X-A: {'a' * 9000}"), 400),
    "many-headers": (raw(GET, HOST, *(f"X-{n}: 1" for n in range(200))), 400),
    "no-host": (raw(GET), 400),
    "future-version": (raw("GET /v1/status HTTP/3.7", HOST), 400),
    "no-http": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
    "no-method": (b"/v1/status HTTP/1.1\r\n\r\n", 400),
    "http2-preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), CRAFTED.values(), ids=CRAFTED)
def test_a_crafted_request_is_refused_with_an_envelope(
    path: Path, request_bytes: bytes, status: int | set[int]
) -> None:
    with serving(path, backend := FakeBackend()):
        answer = exchange(path, request_bytes)
        assert request(path, "GET", "/v1/status").status == 200, "the server goes on"

    assert answer.status in ({status} if isinstance(status, int) else status)
    assert answer.status >= 400
    assert b"Traceback" not in answer.body
    assert answer.headers["connection" if "connection" in answer.headers else "server"] in {"close", "kauditd"}
    if answer.headers["content-type"].startswith("application/json"):
        assert answer.result()["kind"] in {"bad-request", "forbidden", "not-found"}
    assert not backend.calls


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"{",
        b"{}{}",
        b"\xff",
        b'{"duration_s": 5, "duration_s": 6}',
        b'{"duration_s": 5, "other": 1}',
        b'{"duration_s": true}',
        b'{"duration_s": "5"}',
        b'{"duration_s": 0}',
        b'{"duration_s": -5}',
        b'{"duration_s": NaN}',
        b'{"duration_s": Infinity}',
        b'{"duration_s": 1e999}',
        b'{"duration_s": 99999999999}',
        b'{"duration_s": []}',
        b'{"duration_s": ' + b"9" * 5000 + b"}",
        b'{"x": ' * 2000 + b"1" + b"}" * 2000,
        b"[" * 16384,
        b'{"duration_s": "' + b'\\"' * 8000,
    ],
)
def test_a_body_that_is_not_exactly_right_is_refused(path: Path, body: bytes) -> None:
    with serving(path, backend := FakeBackend()):
        answer = request(path, "POST", "/v1/pause", body=body)

    assert answer.status == 400
    assert answer.result()["kind"] == "bad-request"
    assert not backend.calls


@pytest.mark.parametrize("verb", ["apply", "rollback", "disable", "resume"])
def test_a_verb_without_keys_takes_none(path: Path, verb: str) -> None:
    with serving(path, backend := FakeBackend()):
        refused = request(path, "POST", f"/v1/{verb}", body=b'{"force": true}')
        assert not backend.calls
        taken = request(path, "POST", f"/v1/{verb}", body=b"{}")

    assert (refused.status, taken.status) == (400, 200)
    assert [call[0] for call in backend.calls] == [verb]


@pytest.mark.parametrize(
    ("body", "duration_s"),
    [(b"", None), (b"{}", None), (b'{"duration_s": null}', None), (b'{"duration_s": 600}', 600.0),
     (b' {"duration_s": 1.5} \n', 1.5), (b"  ", None)],
)  # fmt: skip
def test_pause_takes_seconds_or_null(path: Path, body: bytes, duration_s: float | None) -> None:
    with serving(path, backend := FakeBackend()):
        answer = request(path, "POST", "/v1/pause", body=body)

    assert answer.status == 200
    assert backend.calls == [("pause", backend.calls[0][1], duration_s)]


def test_the_largest_body_allowed_is_read(path: Path) -> None:
    body = b"{}" + b" " * (16 * 1024 - 2)
    with serving(path, backend := FakeBackend()):
        assert request(path, "POST", "/v1/apply", body=body).status == 200

    assert len(backend.calls) == 1


@pytest.mark.parametrize(
    "target",
    [
        "/v1/status?x=1",
        "/v1/status?color=2",
        "/v1/status?color=1&color=1",
        "/v1/status?color",
        "/v1/status?color=",
        "/v1/drift?color=1",
        "/v1/changes?limit=0",
        "/v1/changes?limit=1001",
        "/v1/changes?limit=1e3",
        "/v1/changes?limit=-1",
        "/v1/wait?for=happiness",
        "/v1/wait?timeout_s=601",
        "/v1/wait?timeout_s=1.5",
        "/v1/wait?timeout_s=999999999999999999999999",
        "/v1/changes/1/wait?timeout_s=601",
        "/v1/policy?path=/etc/shadow",
    ],
)
def test_a_parameter_out_of_bounds_is_refused(path: Path, target: str) -> None:
    with serving(path, FakeBackend(current=make_snapshot(changes=(make_change(1),)))):
        answer = request(path, "GET", target)

    assert answer.status == 400
    assert answer.result()["kind"] == "bad-request"


def test_a_request_smuggled_behind_another_is_never_served(path: Path) -> None:
    """One request per connection: what a second parser might see behind the first is thrown away."""
    with serving(path, backend := FakeBackend()):
        first = raw(GET, HOST)
        answer = exchange(path, first + raw(POST, HOST))

    assert answer.status == 200
    assert answer.body.count(b'"type"') == 1
    assert not backend.calls


def test_a_request_smuggled_inside_a_body_is_never_served(path: Path) -> None:
    inner = raw(POST, HOST)
    with serving(path, backend := FakeBackend()):
        answer = exchange(path, raw(GET, HOST, f"Content-Length: {len(inner)}", body=inner))

    assert answer.status == 400
    assert not backend.calls


def test_authorisation_does_not_look_at_the_body(path: Path) -> None:
    """CVE-2024-41110 and CVE-2026-34040: a body dropped or too large made Docker's authorisation say yes."""
    from kauditd.api.access import Peer

    bodies = [b"", b"{}", b"x" * 16_000, b"x" * 1_100_000]
    with serving(path, backend := FakeBackend(), group_id=7, reader=lambda _socket: Peer(uid=9, gid=7)):
        answers = [request(path, "POST", "/v1/apply", body=body) for body in bodies]

    assert {answer.status for answer in answers} == {403}
    assert not backend.calls


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        ("1.0", []),
        ("1.0", [HOST]),
        ("1.1", [HOST]),
        ("1.1", ["Host: localhost"]),
        ("1.1", ["Host:"]),
        ("1.1", [HOST, "Connection: keep-alive"]),
        ("1.1", [HOST, "Connection: close"]),
    ],
)
def test_plain_clients_are_served_and_the_connection_ends(path: Path, version: str, fields: list[str]) -> None:
    with serving(path, FakeBackend(), limits=Limits(request_s=30)):
        answer = exchange(path, raw(f"GET /v1/status HTTP/{version}", *fields), timeout_s=5)

    assert answer.status == 200
    assert answer.headers["server"] == "kauditd"
