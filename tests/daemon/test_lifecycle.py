"""The daemon as systemd starts, watches, reloads and stops it."""

import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.process import (
    MANIFEST,
    SOCKET,
    Daemon,
    ask,
    daemon,
    has_flags,
    journal,
    plain,
    put,
    run,
    wait_until,
)


class Manager:
    """The service manager's end of the notify socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.05)
        self.told: list[str] = []

    def read(self) -> list[str]:
        try:
            while True:
                self.told += self._socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return self.told

    def wait(self, line: str, *, times: int = 1) -> None:
        wait_until(lambda: sum(t.startswith(line) for t in self.read()) >= times, what=f"{line} in {self.told}")

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(image: Path) -> Iterator[Manager]:
    made = Manager(image / "notify")
    yield made
    made.close()


def test_notify_protocol_from_ready_to_stopping(image: Path, manager: Manager) -> None:
    """READY once the API answers, STATUS with the sentence, WATCHDOG, RELOADING on SIGHUP, STOPPING on SIGTERM."""
    extra = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "800000"}
    with daemon(image, extra) as running:
        manager.wait("READY=1")
        status = running.wait_answering()
        manager.wait(f"STATUS={status['sentence']}")
        manager.wait("WATCHDOG=1", times=3)
        running.process.send_signal(signal.SIGHUP)
        manager.wait("RELOADING=1")
        manager.wait("MONOTONIC_USEC=")
        manager.wait("READY=1", times=2)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=20) == 0
        manager.wait("STOPPING=1")
        assert manager.told.index("RELOADING=1") < len(manager.told) - 1 - manager.told[::-1].index("READY=1")
    assert not (image / SOCKET).exists()


def test_sighup_puts_edited_settings_in_force(image: Path) -> None:
    with daemon(image) as running:
        (image / "etc/kauditd/kauditd.yaml").write_text("mode: observe\n")
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: ask(image / SOCKET, "/v1/status")["mode"] == "observe", what="the new mode")


def test_image_is_edited_and_left_unproven(image: Path) -> None:
    with daemon(image) as running:
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the edit")
        status = running.wait_answering()
        assert status["verdict"] == "unknown"
        assert status["last_change"]["outcome"] == "unproven"
        assert stat.S_IMODE(running.manifest.stat().st_mode) == 0o600
        assert os.listdir(running.manifest.parent) == ["kube-apiserver.yaml"]


def test_kubeadms_rename_is_answered_by_its_event(image: Path) -> None:
    with daemon(image) as running:
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the edit")
        time.sleep(0.5)
        put(running.manifest, plain("v1.37.2"))
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the repair", limit_s=1.0)
        assert b":v1.37.2" in running.manifest.read_bytes()


def test_second_daemon_on_the_same_node_is_refused_with_the_pid_of_the_first(image: Path) -> None:
    with daemon(image) as running:
        done = run("kauditd", "--root", str(image))
        assert done.returncode == 1
        assert f"held by pid {running.process.pid}" in done.stderr
        assert "Traceback" not in done.stderr
        once = run("kauditd", "--once", "--root", str(image))
        assert once.returncode == 1
        assert f"held by pid {running.process.pid}" in once.stderr
        assert running.process.poll() is None


def test_socket_activation_serves_on_the_socket_it_was_given(image: Path) -> None:
    path = image / "activated.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(8)
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.environ['LISTEN_FDS'] = '1'; "
            "os.execv(sys.executable, [sys.executable, '-m', 'kauditd', '--root', sys.argv[2]])"
        )
        made = Daemon(image, pass_fds=(listening.fileno(),))
        program = [sys.executable, "-c", code, str(listening.fileno()), str(image)]
        try:
            made.spawn(program=program)
            wait_until(lambda: "Started" in made.log or made.process.poll() is not None, what=made.log)
            assert ask(path, "/v1/status")["verdict"] == "unknown"
            assert not made.socket.exists()
            assert made.end() == 0
        finally:
            if made.process.poll() is None:
                made.process.kill()
                made.process.wait(timeout=20)
    assert path.exists(), "the socket is the manager's"


def test_killed_and_started_again_goes_on_where_it_was(image: Path) -> None:
    with daemon(image) as running:
        wait_until(lambda: has_flags(running.manifest.read_bytes()), what="the edit")
        ours = running.manifest.read_bytes()
        running.end(signal.SIGKILL)
    with daemon(image) as again:
        status = again.wait_answering()
        assert again.manifest.read_bytes() == ours
        assert status["last_change"]["id"] == 1
        assert again.end() == 0
    assert [r["outcome"] for r in journal(image) if r["type"] == "outcome"] == ["unproven"]


def test_state_directory_that_cannot_be_used_is_a_clear_error(image: Path) -> None:
    (image / "var/lib/kauditd").rmdir()
    (image / "var/lib/kauditd").write_text("not a directory")
    done = run("kauditd", "--root", str(image))
    assert done.returncode == 1
    assert "<2>Cannot make directory" in done.stderr
    assert "var/lib/kauditd" in done.stderr
    assert "Traceback" not in done.stderr
    assert (image / MANIFEST).read_bytes() == plain()


def test_state_of_a_newer_version_is_refused_and_kept(image: Path) -> None:
    state = image / "var/lib/kauditd/state.json"
    state.write_text('{"level": 99, "values": {}}')
    done = run("kauditd", "--root", str(image))
    assert done.returncode == 1
    assert "newer than this kauditd" in done.stderr
    assert "Traceback" not in done.stderr
    assert state.read_text() == '{"level": 99, "values": {}}'


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--nonsense"], 2), (["serve"], 2), (["--version"], 0), (["--help"], 0)]
)
def test_usage(arguments: list[str], code: int) -> None:
    assert run("kauditd", *arguments).returncode == code


def test_once_on_an_image_edits_it_and_says_that_nothing_is_proven(image: Path) -> None:
    done = run("kauditd", "--once", "--root", str(image))
    assert done.returncode == 1
    assert has_flags((image / MANIFEST).read_bytes())
    assert "no API server is to be seen" in done.stderr
    assert not (image / SOCKET).exists()


def test_once_in_observe_mode_writes_nothing(image: Path) -> None:
    (image / "etc/kauditd/kauditd.yaml").write_text("mode: observe\n")
    done = run("kauditd", "--once", "--root", str(image))
    assert done.returncode == 1
    assert (image / MANIFEST).read_bytes() == plain()
    assert not (image / "etc/kubernetes/audit").exists()
    assert not (image / "var/lib/kauditd/state.json").exists()


def test_ending_within_the_first_moments_leaves_old_or_new(image: Path) -> None:
    made = Daemon(image)
    made.spawn()
    try:
        time.sleep(0.2)
        made.end()
    finally:
        if made.process.poll() is None:
            made.process.kill()
        made.process.wait(timeout=20)
    content = (image / MANIFEST).read_bytes()
    assert content == plain() or has_flags(content)
