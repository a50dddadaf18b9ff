"""The service manager's protocols, over real sockets."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from kauditd.effects.systemd import Notifier, listen_fds, watchdog_interval_s

ROOT = Path(__file__).resolve().parents[2]
HAND_OVER = """
import os, sys
count, pid, files = sys.argv[1], sys.argv[2], [int(word) for word in sys.argv[3].split()]
high = [os.dup2(number, 100 + index) for index, number in enumerate(files)]
for index, number in enumerate(high):
    os.dup2(number, 3 + index, inheritable=True)
os.closerange(3 + len(high), 200)
environ = {**os.environ, "LISTEN_FDS": count, "LISTEN_PID": pid.replace("SELF", str(os.getpid()))}
os.execve(sys.executable, [sys.executable, "-c", sys.argv[4]], environ)
"""
REPORT = """
import json, os
from kauditd.effects.systemd import listen_fds
found = listen_fds(os.environ)
print(json.dumps([[s.getsockname(), s.fileno(), s.get_inheritable(), s.getblocking()] for s in found]))
os.fstat(3)
"""


@pytest.fixture(name="manager", params=["path", "abstract"])
def _manager(
    request: pytest.FixtureRequest, short_tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The service manager's end of the notification socket."""
    name = str(short_tmp / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.settimeout(0.5)
        end.bind(f"\0{name}" if request.param == "abstract" else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if request.param == "abstract" else name)
        yield end


def said(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_each_message(manager: socket.socket) -> None:
    with closing(Notifier()) as notifier:
        notifier.ready()
        assert said(manager) == "READY=1"
        notifier.watchdog()
        assert said(manager) == "WATCHDOG=1"
        notifier.stopping()
        assert said(manager) == "STOPPING=1"
    notifier.ready()
    with pytest.raises(TimeoutError):
        said(manager)


def test_reloading_carries_the_monotonic_time(manager: socket.socket) -> None:
    """systemd ignores the message of a notify-reload service without it."""
    before_us = time.monotonic_ns() // 1000
    with closing(Notifier()) as notifier:
        notifier.reloading()
    first, _, second = said(manager).partition("\n")

    assert first == "RELOADING=1"
    name, _, value = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before_us <= int(value) <= time.monotonic_ns() // 1000


def test_status_is_one_line_and_cannot_smuggle_another_message(manager: socket.socket) -> None:
    with closing(Notifier()) as notifier:
        notifier.status("protected\nSTOPPING=1\r\n\tsince 12 s \0 ok\u2028end")

    assert said(manager) == "STATUS=protected STOPPING=1 since 12 s ok end"


def test_status_beyond_latin1_is_utf8(manager: socket.socket) -> None:
    with closing(Notifier()) as notifier:
        notifier.status("policy „prüfung“ … 監査")

    assert said(manager) == "STATUS=policy „prüfung“ … 監査"


def test_a_long_status_is_cut_on_a_whole_character(manager: socket.socket) -> None:
    with closing(Notifier()) as notifier:
        notifier.status("x" + "監" * 1000)
    text = said(manager).removeprefix("STATUS=")

    assert text == "x" + "監" * 170
    assert len(text.encode()) <= 512


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = Notifier()
    for call in (notifier.ready, notifier.watchdog, notifier.reloading, notifier.stopping):
        call()
    notifier.status("protected")


@pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_a_manager_that_is_gone_is_no_error(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_tmp / "nobody"))
    notifier = Notifier()  # sdnotify drops its socket unclosed when it cannot connect
    notifier.ready()
    notifier.status("protected")
    notifier.close()


def test_a_manager_that_does_not_read_does_not_hang_the_loop(short_tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_tmp / "notify"))
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler,
    ):
        end.bind(str(short_tmp / "notify"))
        filler.setblocking(False)
        with suppress(BlockingIOError):
            for _ in range(100_000):
                filler.sendto(b"x", str(short_tmp / "notify"))
        start_s = time.monotonic()
        with closing(Notifier()) as notifier:
            notifier.watchdog()

    assert time.monotonic() - start_s < 3


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "nobody"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "٣"}, None),
    ],
)
def test_watchdog_interval_is_half_of_what_systemd_allows(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval_s(environ) == expected


def activated(*files: int, count: str, pid: str = "SELF") -> list[list[object]]:
    """What a process started with these descriptors at 3, 4, ... makes of LISTEN_FDS."""
    done = subprocess.run(
        [sys.executable, "-c", HAND_OVER, count, pid, " ".join(map(str, files)), REPORT],
        pass_fds=files,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )
    answer = json.loads(done.stdout)
    assert isinstance(answer, list)
    return answer


@pytest.fixture(name="listener")
def _listener(short_tmp: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(short_tmp / "kauditd.sock"))
        listening.listen()
        yield listening


def test_sockets_handed_over(listener: socket.socket) -> None:
    name = listener.getsockname()

    assert activated(listener.fileno(), count="1") == [[name, 3, False, False]]


def test_what_does_not_listen_is_left_out_and_left_open(listener: socket.socket) -> None:
    reading, writing = os.pipe()
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found = activated(reading, plain.fileno(), listener.fileno(), count="3")
    finally:
        os.close(reading)
        os.close(writing)
        plain.close()

    assert found == [[listener.getsockname(), 5, False, False]]


def test_a_count_beyond_what_is_there_ends_at_the_first_gap(listener: socket.socket) -> None:
    assert len(activated(listener.fileno(), count="4000000000")) == 1


@pytest.mark.parametrize(
    ("count", "pid"), [("1", "1"), ("1", ""), ("1", "x"), ("0", "SELF"), ("", "SELF"), ("-1", "SELF")]
)
def test_sockets_meant_for_another_process_are_not_touched(listener: socket.socket, count: str, pid: str) -> None:
    assert activated(listener.fileno(), count=count, pid=pid) == []


def test_no_activation_at_all() -> None:
    assert listen_fds({}) == ()
    assert listen_fds({"LISTEN_FDS": "1"}) == ()
