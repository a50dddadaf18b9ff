"""A booted Debian in a container: real systemd as process 1, thrown away with all that was written.

The tree is the lower half of an overlay inside a mount namespace of its own, and the container lives in its own
cgroups, so that nothing of the host is touched. Commands enter through its leader's namespaces, since the host need
not run a machine manager.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.box.tree import CannotBoot, unified_cgroup

BOOT_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
POWER_OFF = signal.SIGRTMIN + 4
NAMED_CGROUP = Path("/sys/fs/cgroup/systemd")


class Machine:
    """One box. A context: booted inside, gone after. ``binds`` maps host paths to read-only places in the box."""

    def __init__(self, tree: Path, work: Path, *, name: str, binds: Mapping[Path, str]) -> None:
        self._tree = tree
        self._work = work
        self._name = name
        self._binds = binds
        self._cgroups: list[Path] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        try:
            self._start()
            self._await_leader()
            self._await_boot()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def run(self, *words: str, data: str = "", timeout_s: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the box as root, with ``data`` on its standard input, and wait for it."""
        enter = [
            "nsenter",
            "--target",
            str(self._leader),
            "--all",
            "--wd=/",
            "env",
            "-i",
            f"PATH={PATH}",
            "LC_ALL=C.UTF-8",
        ]
        return subprocess.run(
            [*enter, *words], input=data, capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def check(self, *words: str, data: str = "", timeout_s: float = 30.0) -> str:
        """The output of a command that has to succeed."""
        done = self.run(*words, data=data, timeout_s=timeout_s)
        assert done.returncode == 0, f"{shlex.join(words)} exited {done.returncode}: {done.stdout}{done.stderr}"
        return done.stdout

    def write(self, path: str, text: str, *, mode: str = "0644") -> None:
        """Put a file into the box, its directories too."""
        self.check("install", "-D", "-m", mode, "/dev/stdin", path, data=text)

    def _start(self) -> None:
        upper, scratch, root = (self._work / part for part in ("upper", "scratch", "root"))
        for directory in (upper, scratch, root):
            directory.mkdir(parents=True)
        for hierarchy in (unified_cgroup(), NAMED_CGROUP if NAMED_CGROUP.is_dir() else None):
            if hierarchy is not None:
                self._cgroups.append(hierarchy / self._name)
                self._cgroups[-1].mkdir()
        options = f"lowerdir={self._tree},upperdir={upper},workdir={scratch}"
        spawn = [
            *("systemd-nspawn", "--boot", f"--directory={root}", f"--machine={self._name}"),
            *("--register=no", "--keep-unit", "--console=pipe", "--private-network", "--quiet"),
            *(f"--bind-ro={source}:{place}" for source, place in self._binds.items()),
        ]
        inner = (
            f"mount -t overlay overlay -o {shlex.quote(options)} {shlex.quote(str(root))} && exec {shlex.join(spawn)}"
        )
        joins = [f"echo $$ > {shlex.quote(str(cgroup / 'cgroup.procs'))}" for cgroup in self._cgroups]
        outer = f"exec unshare --mount --propagation private sh -c {shlex.quote(inner)}"
        with (self._work / "console").open("wb") as console:
            self._process = subprocess.Popen(
                ["sh", "-c", "; ".join([*joins, outer])],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={"PATH": PATH, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
                start_new_session=True,
            )

    def _await_leader(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while not self._leader:
            self._require_alive(deadline)
            self._leader = _leader_in(self._cgroups[0])
            time.sleep(POLL_S)

    def _await_boot(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while self.run("systemctl", "is-system-running").stdout.strip() not in {"running", "degraded"}:
            self._require_alive(deadline)
            time.sleep(POLL_S)

    def _require_alive(self, deadline: float) -> None:
        assert self._process is not None
        if self._process.poll() is None and time.monotonic() < deadline:
            return
        console = (self._work / "console").read_text(errors="replace")[-500:]
        raise CannotBoot(f"the container did not boot (exit code {self._process.returncode}): {console}")

    def _stop(self) -> None:
        """Power off; by force after a while. Only processes of the box are signalled."""
        process = self._process
        if process is not None and process.poll() is None:
            if self._leader:
                os.kill(self._leader, POWER_OFF)
            else:
                process.terminate()
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                if self._leader:
                    os.kill(self._leader, signal.SIGKILL)
                process.kill()
                process.wait(STOP_TIMEOUT_S)
        for cgroup in self._cgroups:
            _remove_cgroup(cgroup)
        self._cgroups.clear()


def _leader_in(cgroup: Path) -> int:
    """Process 1 of the box as the host numbers it, 0 while there is none."""
    try:
        pids = (cgroup / "payload/init.scope/cgroup.procs").read_text().split()
        for pid in pids:
            status = Path(f"/proc/{pid}/status").read_text()
            words = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            if len(words) > 2 and words[-1] == "1":
                return int(pid)
    except FileNotFoundError:
        return 0
    return 0


def _remove_cgroup(cgroup: Path) -> None:
    """The emptied cgroups of a box, deepest first; the last of its processes may take a moment to go."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while cgroup.is_dir():
        try:
            for directory in sorted((path for path in cgroup.rglob("*") if path.is_dir()), reverse=True):
                directory.rmdir()
            cgroup.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL_S)
