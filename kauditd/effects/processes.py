"""The process table: API servers, kubelet and kubeadm, in one pass over /proc.

A process is known by its argument vector, never by ``comm``: the kernel has a thread called ``kauditd``, and a
comm is cut at 15 characters. Kernel threads and zombies have no arguments and are never seen.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

import psutil

from kauditd.core.cgroups import pod_uid
from kauditd.core.cmdline import is_api_server, parse_flags
from kauditd.core.layout import Layout, base_name
from kauditd.core.model import ApiServerProcess, Flag

_KUBEADM_VERBS = frozenset({"init", "join", "upgrade"})
_HYPERKUBE_VERBS = frozenset({"kube-apiserver", "apiserver"})
_CLOCK_STEP_S = 1.0
_READ_BYTES = 1 << 17
_NAME_BYTES = 4096
_ROLES = (b"kube-apiserver", b"hyperkube", b"kubelet", b"kubeadm")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessTable:
    """One pass over the process table.

    ``api_servers`` in order of start. ``kubelet_started_unix_s`` is the youngest kubelet's start, None where none
    runs. ``kubeadm_pid`` is a kubeadm that upgrades, initialises or joins now, None where none does.
    """

    api_servers: tuple[ApiServerProcess, ...]
    kubelet_started_unix_s: float | None
    kubeadm_pid: int | None


class ProcessReader:
    """Reads the table of one layout again and again; remembers start times so that they stay equal between passes.

    Under a root only processes with an argument naming a path inside it count, and flag values below the root are
    given back as logical paths. Without one, every process of the PID namespace counts.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._started: Mapping[tuple[int, int], float] = MappingProxyType({})

    def snapshot(self) -> ProcessTable:
        """One pass, a few milliseconds for hundreds of processes. Never raises: what vanishes meanwhile is left out."""
        # The kernel counts start times from boot. psutil's boot time has whole seconds only, so the distance of the
        # two clocks is taken here, once per pass.
        boot_unix_s = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        started: dict[tuple[int, int], float] = {}
        api_servers: list[ApiServerProcess] = []
        kubelets: list[float] = []
        kubeadm_pid: int | None = None
        own = os.getpid()
        for pid in psutil.pids():
            argv = _argv(pid) if pid != own else ()
            role = _role(argv)
            if not role or not any(self._layout.inside(word) for word in argv):
                continue
            if role == "kubeadm":
                kubeadm_pid = pid
                continue
            started_unix_s = self._started_unix_s(pid, boot_unix_s, started)
            if started_unix_s is None:
                continue
            if role == "kubelet":
                kubelets.append(started_unix_s)
            else:
                api_servers.append(self._api_server(pid, started_unix_s, argv))
        self._started = MappingProxyType(started)
        return ProcessTable(
            api_servers=tuple(sorted(api_servers, key=lambda p: (p.started_unix_s, p.pid))),
            kubelet_started_unix_s=max(kubelets, default=None),
            kubeadm_pid=kubeadm_pid,
        )

    def _started_unix_s(self, pid: int, boot_unix_s: float, started: dict[tuple[int, int], float]) -> float | None:
        """When the process started: as said before, unless the wall clock was stepped since. None: it is gone."""
        ticks = _start_ticks(pid)
        if ticks is None:
            return None
        fresh = boot_unix_s + ticks / os.sysconf("SC_CLK_TCK")
        known = self._started.get((pid, ticks), fresh)
        started[pid, ticks] = known if abs(known - fresh) < _CLOCK_STEP_S else fresh
        return started[pid, ticks]

    def _api_server(self, pid: int, started_unix_s: float, argv: tuple[str, ...]) -> ApiServerProcess:
        words = argv[1:] if is_api_server(argv[0]) else argv[2:]
        flags = tuple(Flag(name=f.name, value=self._layout.logical(f.value)) for f in parse_flags(words))
        cgroup = _read(pid, "cgroup").decode("utf-8", "replace")
        return ApiServerProcess(pid=pid, started_unix_s=started_unix_s, argv=argv, flags=flags, pod_uid=pod_uid(cgroup))


def snapshot(layout: Layout) -> ProcessTable:
    """One pass for a caller that looks once. Two calls may differ by microseconds in the start of one process."""
    return ProcessReader(layout).snapshot()


def find_api_servers(layout: Layout) -> tuple[ApiServerProcess, ...]:
    """The running API servers in order of start (see ``ProcessReader``)."""
    return snapshot(layout).api_servers


def find_kubelet(layout: Layout) -> float | None:
    """When the kubelet started, in Unix seconds; None where none runs."""
    return snapshot(layout).kubelet_started_unix_s


def find_kubeadm(layout: Layout) -> int | None:
    """The pid of a kubeadm that upgrades, initialises or joins now; None where none does."""
    return snapshot(layout).kubeadm_pid


def _argv(pid: int) -> tuple[str, ...]:
    """The arguments of a process that may matter; empty for all others, kernel threads, zombies and the vanished."""
    head = _read(pid, "cmdline", limit_bytes=_NAME_BYTES)
    # Nearly all processes end here: neither of their first two words names a program of ours.
    if not any(role in head for role in _ROLES):
        return ()
    whole = head if len(head) < _NAME_BYTES else _read(pid, "cmdline")
    words = whole.removesuffix(b"\0").split(b"\0")
    return tuple(os.fsdecode(word) for word in words)


def _role(argv: Sequence[str]) -> str:
    """What a process is to us: "api-server", "kubelet", "kubeadm", or "" for nothing."""
    if not argv:
        return ""
    name, verb = base_name(argv[0]), argv[1] if len(argv) > 1 else ""
    if is_api_server(argv[0]) or (name == "hyperkube" and verb in _HYPERKUBE_VERBS):
        return "api-server"
    if name == "kubelet":
        return "kubelet"
    # Global flags may stand before the verb; other verbs (version, token, certs) leave the manifests alone.
    if name == "kubeadm" and next((w for w in argv[1:] if not w.startswith("-")), "") in _KUBEADM_VERBS:
        return "kubeadm"
    return ""


def _start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat (proc(5)); the command name before it may hold spaces and parentheses."""
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    # fields[0] is the state, field 3 of the file
    return int(fields[19]) if len(fields) > 19 and fields[0] not in {b"Z", b"X"} else None


def _read(pid: int, name: str, *, limit_bytes: int = _READ_BYTES) -> bytes:
    """The start of a file of /proc/PID; empty where the process is gone or hidden.

    Read directly: a psutil.Process costs several reads to construct, for hundreds of processes every few seconds.
    """
    content = b""
    with suppress(OSError):
        descriptor = os.open(f"{psutil.PROCFS_PATH}/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # The kernel may hand out a page at a time.
            while len(content) < limit_bytes and (chunk := os.read(descriptor, limit_bytes - len(content))):
                content += chunk
        finally:
            os.close(descriptor)
    return content
