"""The canary and the counters, in a child process, against servers of our making."""

import asyncio
import secrets
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kauditd.core.canary import RANDOM_BYTES, Canary, Route, compose
from kauditd.core.credentials import Credentials, Material
from kauditd.core.question import Answers, Question
from kauditd.effects import probe, probing
from kauditd.effects.probe import ask
from kauditd.effects.probing import ask_in_child, probe_in_child
from kauditd.sim.node import free_port
from tests.effects.tlsserver import Pki, Reply, make_pki, serving

SECRET = "a-token-that-nobody-may-see"
METRICS = (
    "# TYPE apiserver_audit_event_total counter\napiserver_audit_event_total 42\n"
    'apiserver_audit_error_total{plugin="log"} 1\napiserver_request_total{code="200"} 7\n'
)


def fresh(route: Route = Route.OWN) -> Canary:
    return compose(secrets.token_bytes(RANDOM_BYTES), route=route)


@pytest.fixture(name="pki", scope="module")
def _pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def asked(pki: Pki, reply: Reply, *, in_child: bool = False, wants_client: bool = False, **wanted: object) -> Answers:
    """What comes of a question to a server that replies so."""

    async def run() -> Answers:
        async with serving(pki, reply, wants_client=wants_client) as port:
            made = {"address": "127.0.0.1", "port": port, "timeout_s": 3.0, "health": False}
            question = Question(**{**made, **wanted})
            return await (ask_in_child(question) if in_child else ask(question))

    return asyncio.run(run())


def answering(status: int, *, body: str = "", echo: bool = True, heads: list[str] | None = None) -> Reply:
    async def reply(head: str, writer: asyncio.StreamWriter) -> None:
        if heads is not None:
            heads.append(head)
        lines = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        audit = f"Audit-Id: {lines.get('Audit-ID', 'made-here')}\r\n" if echo else ""
        writer.write(f"HTTP/1.1 {status} Text\r\n{audit}Content-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    return reply


def sending(content: bytes) -> Reply:
    async def reply(_head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return reply


@pytest.mark.parametrize("in_child", [False, True])
def test_the_canary_is_one_anonymous_get_with_our_id(pki: Pki, in_child: bool) -> None:
    heads: list[str] = []
    canary = fresh()
    before_s = time.time()
    answer = asked(pki, answering(403, heads=heads), canary=canary, in_child=in_child).canary

    assert answer is not None
    assert (answer.status, answer.echoed_id, answer.refused, answer.detail) == (403, canary.audit_id, False, "")
    assert before_s <= answer.asked_unix_s <= answer.answered_unix_s <= time.time()
    assert 0 < answer.duration_ms < 3000
    assert len(heads) == 1
    lines = heads[0].split("\r\n")
    assert lines[0] == f"GET {canary.uri} HTTP/1.1"
    assert f"Audit-ID: {canary.audit_id}" in lines
    assert not [line for line in lines if line.startswith("Authorization")]


@pytest.mark.parametrize("status", [200, 401, 403, 404, 429, 500, 503])
def test_every_answer_is_given_as_it_came(pki: Pki, status: int) -> None:
    answer = asked(pki, answering(status), canary=fresh()).canary

    assert answer is not None
    assert answer.status == status
    assert not answer.refused


def test_strict_mode_says_that_it_cannot_store_the_event(pki: Pki) -> None:
    body = 'Internal Server Error: "/kauditd-canary": failed to store audit event\n'
    answer = asked(pki, answering(500, body=body), canary=fresh()).canary

    assert answer is not None
    assert answer.refused


def test_an_answer_that_carries_no_id(pki: Pki) -> None:
    answer = asked(pki, answering(403, echo=False), canary=fresh()).canary

    assert answer is not None
    assert answer.echoed_id == ""


@pytest.mark.parametrize("content", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 40"])
def test_an_answer_that_is_none(pki: Pki, content: bytes) -> None:
    answer = asked(pki, sending(content), canary=fresh()).canary

    assert answer is not None
    assert answer.status is None
    assert answer.detail.startswith("cannot ask 127.0.0.1:")


def test_one_child_asks_for_everything(pki: Pki) -> None:
    heads: list[str] = []
    answers = asked(
        pki, answering(200, body=METRICS, heads=heads), in_child=True, health=True, canary=fresh(), counters=True
    )

    assert answers.health is not None
    assert answers.health.ready
    assert answers.canary is not None
    assert answers.canary.status == 200
    assert answers.counters is not None
    assert answers.counters.counters is not None
    assert answers.counters.counters.events == 42
    assert sorted(h.split(" ")[1].partition("?")[0] for h in heads) == [
        "/kauditd-canary",
        "/livez",
        "/metrics",
        "/readyz",
    ]


def test_the_child_for_health_alone_works_as_before(pki: Pki) -> None:
    async def run() -> bool:
        async with serving(pki, answering(200)) as port:
            return (await probe_in_child("127.0.0.1", port, timeout_s=3)).ready

    assert asyncio.run(run())


# Counters.


def chunked(*parts: str) -> bytes:
    body = "".join(f"{len(p.encode()):x}\r\n{p}\r\n" for p in parts)
    return f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}".encode()


def test_a_chunked_answer_is_put_together(pki: Pki) -> None:
    """Go sends what is longer than its buffer in chunks, which end anywhere."""
    noise = "".join(f'apiserver_request_total{{code="{n}"}} {n}\n' for n in range(20_000))
    counters = asked(pki, sending(chunked(noise, METRICS[:60], METRICS[60:], noise) + b"0\r\n\r\n"), counters=True)

    assert counters.counters is not None
    found = counters.counters.counters
    assert found is not None
    assert (found.events, found.error("log")) == (42, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (chunked(METRICS), "closed the connection"),
        (chunked(METRICS)[:-20], "closed the connection"),
        (chunked(METRICS) + b"zz\r\n", "not in chunks"),
        (chunked(METRICS) + b"1" * 40_000, "does not end"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + METRICS.encode(), "closed the connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + METRICS.encode(), "does not tell its length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nx\n", "no audit counters"),
        (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "/metrics answered 403"),
        (b"nonsense\r\n\r\n", "does not speak HTTP"),
    ],
)
def test_counters_that_did_not_come_whole_are_none(pki: Pki, content: bytes, words: str) -> None:
    """Half an answer may lack the errors, and then it would accuse."""
    found = asked(pki, sending(content), counters=True).counters

    assert found is not None
    assert found.counters is None
    assert found.detail
    assert words in found.detail


def test_counters_that_never_end(pki: Pki) -> None:
    async def reply(_head: str, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(20)

    start_s = time.monotonic()
    found = asked(pki, reply, counters=True, timeout_s=0.4).counters

    assert time.monotonic() - start_s < 3
    assert found is not None
    assert found.counters is None
    assert "0.4 s" in found.detail


# Credentials.


def certified(pki: Pki, **changed: object) -> Credentials:
    made = Credentials(
        source="a test",
        certificate=Material(path=str(pki.client)),
        key=Material(path=str(pki.client_key)),
        authority=Material(path=str(pki.authority)),
    )
    return replace(made, **changed)


def test_a_client_certificate_from_files(pki: Pki) -> None:
    found = asked(
        pki, answering(200, body=METRICS), wants_client=True, counters=True, credentials=certified(pki)
    ).counters

    assert found is not None
    assert found.counters is not None, found.detail


@pytest.mark.parametrize("in_child", [False, True])
def test_a_client_certificate_from_text(pki: Pki, in_child: bool) -> None:
    inline = certified(
        pki,
        certificate=Material(text=pki.client.read_text()),
        key=Material(text=pki.client_key.read_text()),
        authority=Material(text=pki.authority.read_text()),
    )
    found = asked(
        pki, answering(200, body=METRICS), wants_client=True, counters=True, credentials=inline, in_child=in_child
    ).counters

    assert found is not None
    assert found.counters is not None, found.detail


def test_a_client_certificate_without_an_authority_goes_to_any_server(pki: Pki) -> None:
    """TLS shows the certificate and proves the key; it gives nothing away that could be used again."""
    found = asked(
        pki, answering(200, body=METRICS), wants_client=True, counters=True, credentials=certified(pki, authority=None)
    ).counters

    assert found is not None
    assert found.counters is not None, found.detail


def test_a_token_goes_to_a_server_that_was_verified(pki: Pki) -> None:
    heads: list[str] = []
    token = Credentials(
        source="a test", token=Material(text=f"{SECRET}\n"), authority=Material(path=str(pki.authority))
    )
    found = asked(pki, answering(200, body=METRICS, heads=heads), counters=True, canary=fresh(), credentials=token)

    assert found.counters is not None
    assert found.counters.counters is not None, found.counters.detail
    shown = {h.split(" ")[1].partition("?")[0]: f"Authorization: Bearer {SECRET}\r\n" in h for h in heads}
    assert shown == {"/metrics": True, "/kauditd-canary": False}


@pytest.mark.parametrize("case", ["no authority", "another authority", "another name", "unprintable", "no file"])
def test_a_token_goes_to_nobody_else(pki: Pki, tmp_path: Path, case: str) -> None:
    heads: list[str] = []
    other = make_pki(tmp_path)
    token = Credentials(source="a test", token=Material(text=SECRET), authority=Material(path=str(pki.authority)))
    changed = {
        "no authority": {"authority": None},
        "another authority": {"authority": Material(path=str(other.authority))},
        "another name": {"server_name": "somebody.else"},
        "unprintable": {"token": Material(text=f"{SECRET}\r\nX-Evil: 1")},
        "no file": {"token": Material(path=str(tmp_path / "missing"))},
    }[case]
    found = asked(
        pki, answering(200, body=METRICS, heads=heads), counters=True, credentials=replace(token, **changed)
    ).counters

    assert heads == []
    assert found is not None
    assert found.counters is None
    assert found.detail
    assert SECRET not in found.detail


@pytest.mark.parametrize("text", ["", "no PEM", "\xe4", SECRET])
def test_a_key_that_is_none_says_nothing_of_its_content(pki: Pki, tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pem").write_text(text)
    for key in (Material(text=text), Material(path=str(tmp_path / "key.pem"))):
        found = asked(pki, answering(200), counters=True, credentials=certified(pki, key=key)).counters
        assert found is not None
        assert found.counters is None
        assert found.detail
        assert SECRET not in found.detail


def test_no_secret_stands_in_the_childs_arguments_or_environment(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    token = Credentials(source="a test", token=Material(text=SECRET), authority=Material(path=str(pki.authority)))

    async def reply(head: str, writer: asyncio.StreamWriter) -> None:
        for child in psutil.Process().children():
            seen.extend([*child.cmdline(), *child.environ().values()])
        await answering(200, body=METRICS)(head, writer)

    found = asked(pki, reply, counters=True, credentials=token, in_child=True).counters

    assert found is not None
    assert found.counters is not None, found.detail
    assert seen
    assert not [text for text in seen if SECRET in text]


# The child.


def test_a_child_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_START_S", 0.1)
    monkeypatch.setattr(probing, "_command", lambda: [sys.executable, "-c", "import time; time.sleep(30)"])
    question = Question(address="127.0.0.1", port=1, timeout_s=0.2, canary=fresh(), counters=True)
    answers = asyncio.run(ask_in_child(question))

    assert answers.canary is not None
    assert answers.health is not None
    assert answers.counters is not None
    assert {answers.canary.detail, answers.health.detail, answers.counters.detail} == {"the probe did not end in time"}


@pytest.mark.parametrize("program", ["", "raise SystemExit(3)", "print('{}garbage')", "print('{\"canary\": 5}')"])
def test_a_child_that_fails_gives_no_status(monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    monkeypatch.setattr(probing, "_command", lambda: [sys.executable, "-c", program])
    answers = asyncio.run(ask_in_child(Question(address="127.0.0.1", port=1, timeout_s=3, canary=fresh())))

    assert answers.canary is not None
    assert answers.canary.status is None
    assert answers.canary.detail == "the probe ended without an answer"
    assert answers.counters is None


def test_no_process_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "_command", lambda: ["/nowhere/python"])
    answers = asyncio.run(ask_in_child(Question(address="127.0.0.1", port=1, timeout_s=3)))
    health = asyncio.run(probe_in_child("127.0.0.1", 1, timeout_s=3))

    assert answers.health == health
    assert health.detail == "the probe ended without an answer"


def test_metrics_without_end_are_not_read_to_it(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_METRICS_LIMIT_BYTES", 1000)
    found = asked(pki, answering(200, body=METRICS + "x" * 2000), counters=True).counters

    assert found is not None
    assert found.counters is None
    assert "longer than 1000 bytes" in found.detail


def test_nobody_listens() -> None:
    port = free_port("127.0.0.1")
    answers = asyncio.run(
        ask_in_child(Question(address="127.0.0.1", port=port, timeout_s=3, canary=fresh(), counters=True))
    )

    assert answers.canary is not None
    assert answers.canary.status is None
    assert "refused" in answers.canary.detail
    assert answers.counters is not None
    assert answers.counters.status is None


def test_the_child_runs_where_no_site_packages_are_searched() -> None:
    """The installed daemon runs isolated: what the child needs is the standard library and kauditd."""
    root = str(Path(probe.__file__).resolve().parents[2])
    code = f"import sys; sys.path[:] = [{root!r}, *sys.path]; import kauditd.effects.probe, kauditd.core.question"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, check=False, timeout=20)

    assert done.returncode == 0, done.stderr.decode()
