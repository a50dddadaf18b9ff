"""What every test may rely on: fixed examples in CI, a known umask, a node's directories, no process left behind."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, settings

NODE_DIRECTORIES = (
    "etc/kauditd",
    "etc/kubernetes/manifests",
    "etc/kubernetes/pki",
    "run/kauditd",
    "var/lib/kauditd",
    "var/lib/kubelet",
    "var/log/kubernetes",
    "var/log/pods",
)
"""What a kubeadm node with the package installed has. The published policies' and the log's directory are not there:
making them is the daemon's work."""

CHILD_GRACE_S = 2.0

settings.register_profile(
    "house",
    deadline=None,  # two shared cores: a slow example is no wrong example
    database=None,  # nothing is written into the tree; a failure prints the example to copy
    derandomize=os.environ.get("CI") == "true",
    max_examples=int(os.environ.get("KAUDITD_EXAMPLES", "50")),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # for the same two cores
)
settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def _known_umask() -> Iterator[None]:
    """File modes in assertions do not depend on who runs the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(autouse=True)
def _no_child_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test whose child processes outlive it, and end them, so that the next test starts from a quiet machine.

    Children of wider fixtures (a session's etcd) are older than the test and do not count.
    """
    before = _children()
    yield
    deadline = time.monotonic() + CHILD_GRACE_S
    while (left := _children() - before) and time.monotonic() < deadline:
        time.sleep(0.02)
    if left:
        names = [_end(pid) for pid in sorted(left)]
        pytest.fail(f"{request.node.nodeid} left child processes behind: {', '.join(names)}", pytrace=False)


def _children() -> set[int]:
    """The direct children of this process, from the kernel's own lists (a scan of /proc would cost each test 10 ms)."""
    children: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        try:
            children.update(int(pid) for pid in (task / "children").read_text().split())
        except FileNotFoundError:  # the thread has just ended
            continue
    return children


def _end(pid: int) -> str:
    try:
        process = psutil.Process(pid)
        name = f"{pid} ({' '.join(process.cmdline())[:80] or process.name()}, {process.status()})"
        process.kill()
        process.wait(5)
    except psutil.NoSuchProcess:
        return f"{pid} (ended late)"
    return name


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """An empty directory with a short name: pytest's own is too long for a Unix socket's 107 bytes."""
    directory = Path(tempfile.mkdtemp(prefix="kn-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def node_root(short_tmp: Path) -> Path:
    """A directory for ``--root``: the skeleton of a kubeadm control-plane node, without manifests."""
    for name in NODE_DIRECTORIES:
        (short_tmp / name).mkdir(parents=True)
    return short_tmp
