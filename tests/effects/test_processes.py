"""Who counts as API server, kubelet and kubeadm, on recorded and on living processes."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from kauditd.core.layout import Layout
from kauditd.effects import processes
from kauditd.effects.processes import ProcessReader, find_api_servers, find_kubeadm, find_kubelet, snapshot

RECORDED = Path(__file__).resolve().parents[1] / "data" / "proc"
TICKS = os.sysconf("SC_CLK_TCK")


class FakeProc:
    """A /proc of our making: psutil and the code under test both look where ``psutil.PROCFS_PATH`` points."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "uptime").write_text("1000.00 1000.00\n")

    def add(self, pid: int, *argv: str, ticks: int = 1000, state: str = "S", comm: str = "any) (name") -> Path:
        directory = self.path / str(pid)
        directory.mkdir()
        (directory / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in argv))
        (directory / "stat").write_text(f"{pid} ({comm}) {state} " + " ".join(["1"] * 18) + f" {ticks} 0 0\n")
        (directory / "cgroup").write_text("0::/\n")
        return directory


@pytest.fixture(name="proc")
def _proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeProc:
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    return FakeProc(tmp_path / "proc")


@contextmanager
def living(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A real process with this argument vector (a shell that waits; ``-c`` and its script come second)."""
    process = subprocess.Popen(
        [argv[0], "-c", "read line", *argv[1:]], executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        # The kernel lets the parent go on a moment before the new argument vector can be read.
        deadline_s = time.monotonic() + 5
        while psutil.Process(process.pid).cmdline()[:1] != [argv[0]]:
            assert time.monotonic() < deadline_s
            time.sleep(0.001)
        yield process
    finally:
        process.kill()
        process.communicate()


def seen(layout: Layout, pid: int) -> bool:
    return pid in {p.pid for p in find_api_servers(layout)}


def test_recorded_static_pod(proc: FakeProc) -> None:
    directory = proc.path / "3836"
    directory.mkdir()
    for name in ("cmdline", "cgroup", "stat"):
        (directory / name).write_bytes((RECORDED / name).read_bytes())

    (found,) = find_api_servers(Layout())

    boot_unix_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    assert found.pid == 3836
    assert found.argv[0] == "kube-apiserver"
    assert len(found.argv) == len(found.flags) + 1
    assert found.flag("audit-log-path") == "/var/log/kubernetes/audit/audit.log"
    assert found.flag("audit-webhook-mode") is None
    assert found.pod_uid == "f559468bdfeeaed5640b2ebc0699b36d"
    assert found.started_unix_s == pytest.approx(boot_unix_s + 213877 / TICKS, abs=0.05)


@pytest.mark.parametrize(
    "argv",
    [
        ("kube-apiserver", "--v=2"),
        ("/usr/local/bin/kube-apiserver", "--v=2"),
        ("/hyperkube", "kube-apiserver", "--v=2"),
        ("hyperkube", "apiserver", "--v=2"),
    ],
)
def test_who_is_an_api_server(proc: FakeProc, argv: tuple[str, ...]) -> None:
    proc.add(7, *argv)

    (found,) = find_api_servers(Layout())

    assert found.argv == argv
    assert [str(flag) for flag in found.flags] == ["--v=2"]


@pytest.mark.parametrize(
    "argv",
    [
        ("grep", "kube-apiserver"),
        ("vim", "/etc/kubernetes/manifests/kube-apiserver"),
        ("sudo", "kube-apiserver"),
        ("kube-apiserver-exporter",),
        ("/opt/kube-apiserver/bin/agent",),
        ("hyperkube", "kubelet"),
        ("kauditd",),
        ("python3", "/usr/lib/kauditd/kauditd"),
        ("",),
        (),
    ],
)
def test_who_is_not(proc: FakeProc, argv: tuple[str, ...]) -> None:
    proc.add(7, *argv, comm="kube-apiserver")

    assert snapshot(Layout()) == processes.ProcessTable(api_servers=(), kubelet_started_unix_s=None, kubeadm_pid=None)


def test_a_command_line_longer_than_a_page_is_read_whole(proc: FakeProc) -> None:
    proc.add(7, "kube-apiserver", *(f"--feature-gates=Gate{n}=true" for n in range(2000)), "--audit-log-path=/a")

    assert find_api_servers(Layout())[0].flag("audit-log-path") == "/a"


def test_words_that_are_not_utf8_survive(proc: FakeProc) -> None:
    directory = proc.add(7)
    (directory / "cmdline").write_bytes(b"kube-apiserver\0--token-auth-file=/\xff\0")

    assert os.fsencode(find_api_servers(Layout())[0].flag("token-auth-file") or "") == b"/\xff"


def test_vanished_and_dead_processes_are_left_out(proc: FakeProc) -> None:
    """A process may end between any two reads; a thread group's dead leader keeps a stat."""
    (proc.add(1, "kube-apiserver") / "stat").unlink()
    (proc.add(2, "kube-apiserver") / "cmdline").unlink()
    proc.add(3, "kube-apiserver", state="Z")
    (proc.add(4, "kube-apiserver", "--v=2") / "cgroup").unlink()
    (proc.path / "5").mkdir()

    (found,) = find_api_servers(Layout())

    assert (found.pid, found.pod_uid) == (4, None)


def test_several_api_servers_come_in_order_of_start(proc: FakeProc) -> None:
    for pid, ticks in ((10, 500), (11, 300), (12, 400)):
        proc.add(pid, "kube-apiserver", ticks=ticks)

    assert [p.pid for p in find_api_servers(Layout())] == [11, 12, 10]


def test_the_youngest_kubelet_counts(proc: FakeProc) -> None:
    """Whether it has run for a minute is asked of it, so the doubt goes to the younger."""
    proc.add(10, "/usr/bin/kubelet", "--config=/var/lib/kubelet/config.yaml", ticks=50 * TICKS)
    proc.add(11, "kubelet", ticks=70 * TICKS)
    boot_unix_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)

    assert find_kubelet(Layout()) == pytest.approx(boot_unix_s + 70, abs=0.05)


@pytest.mark.parametrize(
    ("argv", "works"),
    [
        (("kubeadm", "upgrade", "apply", "v1.37.2"), True),
        (("/usr/bin/kubeadm", "--v=5", "init"), True),
        (("kubeadm", "join", "10.0.0.1:6443"), True),
        (("kubeadm", "version"), False),
        (("kubeadm", "certs", "renew", "all"), False),
        (("kubeadm",), False),
        (("grep", "kubeadm", "upgrade"), False),
    ],
)
def test_kubeadm_counts_while_it_touches_manifests(proc: FakeProc, argv: tuple[str, ...], works: bool) -> None:
    proc.add(7, *argv)

    assert find_kubeadm(Layout()) == (7 if works else None)


def test_under_a_root_only_its_own_processes_count_and_paths_are_logical(proc: FakeProc) -> None:
    proc.add(1, "kube-apiserver", "--audit-log-path=/srv/node/var/log/audit.log", "--v=2")
    proc.add(2, "kube-apiserver", "--audit-log-path=/var/log/audit.log")
    proc.add(3, "kube-apiserver", "--audit-log-path=/srv/node2/var/log/audit.log")
    proc.add(4, "kubelet", "--config=/srv/node2/config.yaml")
    proc.add(5, "kubeadm", "upgrade", "--config", "/etc/kubeadm.yaml")
    layout = Layout(root="/srv/node")

    table = snapshot(layout)

    assert [p.pid for p in table.api_servers] == [1]
    assert table.api_servers[0].flag("audit-log-path") == "/var/log/audit.log"
    assert table.api_servers[0].flag("v") == "2"
    assert (table.kubelet_started_unix_s, table.kubeadm_pid) == (None, None)
    assert len(find_api_servers(Layout())) == 3


def test_a_living_process_and_its_start(tmp_path: Path) -> None:
    layout = Layout(root=str(tmp_path))
    before_unix_s = time.time()
    with living("kube-apiserver", f"--audit-policy-file={tmp_path}/etc/policy.yaml") as process:
        after_unix_s = time.time()
        (found,) = find_api_servers(layout)

        assert found.pid == process.pid
        assert found.flag("audit-policy-file") == "/etc/policy.yaml"
        # The kernel counts in ticks and rounds down.
        assert before_unix_s - 1.5 / TICKS <= found.started_unix_s <= after_unix_s + 0.5 / TICKS
    assert not seen(layout, process.pid)


def test_a_zombie_is_not_an_api_server(tmp_path: Path) -> None:
    layout = Layout(root=str(tmp_path))
    process = subprocess.Popen([f"{tmp_path}/kube-apiserver", "-c", "exit"], executable="/bin/sh")
    try:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not seen(layout, process.pid)
    finally:
        process.wait()


def test_a_start_stays_equal_between_passes_unless_the_clock_is_stepped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = ProcessReader(Layout(root=str(tmp_path)))
    real_time = time.time
    with living("kube-apiserver", f"--audit-log-path={tmp_path}/audit.log"):

        def start(step_s: float) -> float:
            monkeypatch.setattr(processes.time, "time", lambda: real_time() + step_s)
            (found,) = reader.snapshot().api_servers
            return found.started_unix_s

        first = start(0)
        assert {start(0) for _ in range(20)} == {first}
        assert start(0.3) == first, "slewing is no step"
        assert start(3600) == pytest.approx(first + 3600, abs=0.2)


@pytest.mark.serial
def test_one_pass_over_hundreds_of_processes_is_cheap() -> None:
    """It runs every five seconds: 15 ms would be 0.3 % of a core. Processor time, so that neighbours do not count."""
    reader = ProcessReader(Layout())
    with ExitStack() as crowd:
        for _ in range(300):
            crowd.enter_context(_sleeper())
        durations_s = []
        for _ in range(15):
            start_s = time.thread_time()
            reader.snapshot()
            durations_s.append(time.thread_time() - start_s)

    assert min(durations_s) < 0.015


@contextmanager
def _sleeper(argv: Sequence[str] = ("sleep", "60")) -> Iterator[None]:
    process = subprocess.Popen(argv)
    try:
        yield
    finally:
        process.kill()
        process.wait()
