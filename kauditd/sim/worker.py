"""One pod worker: what happens to a pod name over time, from the first ADD to restarts, crashes and removal.

Upstream: kubelet ``pkg/kubelet/pod_workers.go``. Two pods of one name never run together: the new one is refused
("Pod cannot start yet") and asked again every 10 to 15 s; the same pod taken away and brought back is restarted by the
housekeeping of its own worker and counts as a crash.
"""

import asyncio
import os.path
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from kauditd.sim import timing
from kauditd.sim.client import hold_watch, wait_for_port
from kauditd.sim.container import BindMount, Container, Identity
from kauditd.sim.journal import RUN_DIR, Journal
from kauditd.sim.pod import HostPathMount, Pod
from kauditd.sim.process import ContainerProcess, start_container

KUBELET_BEARER = "simulated-kubelet"
FILE_CHECKS = {"File": stat.S_ISREG, "Directory": stat.S_ISDIR, "Socket": stat.S_ISSOCK, "CharDevice": stat.S_ISCHR}


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What all workers of one node share."""

    root: str
    node_name: str
    address: str
    watchers: int
    missing_images: frozenset[str]
    pace: timing.Pace
    journal: Journal
    tokens: Mapping[str, Identity]


@dataclass(slots=True, kw_only=True)
class Backoff:
    """Crash back-off of one pod UID."""

    crashes: int = 0
    updated_s: float = 0.0
    not_before_s: float = 0.0

    def count(self, now_s: float, pace: timing.Pace) -> None:
        """One more crash at ``now_s``; ten quiet minutes forget the earlier ones."""
        if now_s - self.updated_s > timing.BACKOFF_RESET_S:
            self.crashes = 0
        self.crashes += 1
        self.updated_s = now_s
        self.not_before_s = now_s + pace.backoff_s(self.crashes)


class MountRefused(Exception):
    """A hostPath type check failed; the container is not made."""


@dataclass(slots=True, kw_only=True)
class PodWorker:
    """Runs at most one pod of one name. ``want`` tells it what the file source says; ``run`` is its life."""

    context: WorkerContext
    mirror_uid: str = ""
    process: ContainerProcess | None = None
    _desired: Pod | None = None
    _desired_since_s: float = 0.0
    _revision: int = 0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _last_uid: str = ""
    _last_exit_s: float = float("-inf")
    _backoff: dict[str, Backoff] = field(default_factory=dict)

    def want(self, pod: Pod | None) -> None:
        """REMOVE (None) or ADD. What runs now ends in both cases; the latest ADD runs next."""
        self._desired = pod
        self._desired_since_s = self.context.journal.now_s()
        self._revision += 1
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled: wait for a pod, for the moment it may start, run it, end it."""
        while True:
            pod, revision = self._desired, self._revision
            if pod is None:
                await self._until_changed(revision, None)
            elif await self._admitted(pod, revision):
                await self._live(pod, revision)

    async def _until_changed(self, revision: int, simulated_s: float | None) -> bool:
        """Sleep; True where the wish changed meanwhile."""
        while self._revision == revision:
            self._changed.clear()
            if simulated_s is None:
                await self._changed.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self.context.pace.real_s(simulated_s))):
                    await self._changed.wait()
            return self._revision != revision
        return True

    async def _admitted(self, pod: Pod, revision: int) -> bool:
        """Wait for the moment when ``pod`` may start. False: something else is wanted now."""
        since_s, pace = self._desired_since_s, self.context.pace
        worker_done_s = self._last_exit_s + timing.WORKER_DONE_S
        if since_s >= worker_done_s:
            start_s = since_s + timing.FIRST_START_S
        elif pod.uid == self._last_uid:
            backoff = self._backoff.setdefault(pod.uid, Backoff())
            backoff.count(self._last_exit_s, pace)
            start_s = max(self._last_exit_s + timing.SAME_UID_RESTART_S, since_s + timing.SAME_UID_AFTER_ADD_S)
            if since_s <= self._last_exit_s:
                start_s = self._last_exit_s + timing.SAME_UID_RESTART_S
        else:
            start_s = since_s + pace.requeue_s()
            while start_s < worker_done_s:
                start_s += pace.requeue_s()
        return not await self._until_changed(revision, start_s - self.context.journal.now_s())

    async def _live(self, pod: Pod, revision: int) -> None:
        """Mount, start, restart after crashes; returns when something else is wanted and the process has ended."""
        context = self.context
        context.journal.record("pod-starting", uid=pod.uid)
        if not await self._mounted(pod, revision):
            return
        directory = self._log_directory(pod)
        directory.mkdir(parents=True, exist_ok=True)
        if pod.image in context.missing_images:
            context.journal.record("image-missing", uid=pod.uid, detail=pod.image)
            await self._until_changed(revision, None)
            return
        while True:
            wait_s = self._backoff.get(pod.uid, Backoff()).not_before_s - context.journal.now_s()
            if wait_s > 0:
                context.journal.record("back-off", uid=pod.uid, detail=f"{wait_s:.1f} s")
                if await self._until_changed(revision, wait_s):
                    break
            if await self._attempt(pod, revision, directory):
                break
        asyncio.get_running_loop().call_later(
            context.pace.real_s(timing.POD_LOGS_DELETED_S), self._forget_logs, pod.uid, directory
        )

    async def _attempt(self, pod: Pod, revision: int, directory: Path) -> bool:
        """Start the container once. True: it was ended because something else is wanted; False: it died by itself."""
        context = self.context
        attempt = _next_attempt(directory)
        container_file = self._write_container(pod, attempt)
        process = await start_container(
            root=context.root,
            flags=pod.command[1:],
            container_file=container_file,
            log_path=directory / f"{attempt}.log",
        )
        self.process = process
        context.journal.record("process-start", uid=pod.uid, pid=process.pid, attempt=attempt)
        clients = asyncio.ensure_future(self._clients(pod))
        ending = asyncio.ensure_future(process.wait())
        changing = asyncio.ensure_future(self._until_changed(revision, None))
        try:
            await asyncio.wait((ending, changing), return_when=asyncio.FIRST_COMPLETED)
            crashed = ending.done()
            if not crashed:
                context.journal.record("process-terminating", uid=pod.uid, pid=process.pid)
                await process.terminate(context.pace.real_s(pod.grace_s))
            code = await ending
        finally:
            process.kill()
            clients.cancel()
            changing.cancel()
            self.process = None
            await asyncio.wait((ending, clients))
        now_s = context.journal.now_s()
        self._last_uid, self._last_exit_s = pod.uid, now_s
        context.journal.record("process-exit", uid=pod.uid, pid=process.pid, exit_code=code, attempt=attempt)
        if crashed:
            self._backoff.setdefault(pod.uid, Backoff()).count(now_s, context.pace)
        self._schedule_log_deletion(directory, attempt - 1)
        shutil.rmtree(container_file.parent, ignore_errors=True)
        return not crashed

    async def _clients(self, pod: Pod) -> None:
        """The kubelet as a client: it sees the API come up (mirror pod) and holds watches, which delay a stop."""
        context = self.context
        host, port = self._endpoint(pod)
        await wait_for_port(host, port, every_s=context.pace.real_s(0.5))
        self.mirror_uid = pod.uid
        context.journal.record("mirror-pod", uid=pod.uid)
        await asyncio.gather(
            *(
                hold_watch(host, port, token=KUBELET_BEARER, node_name=context.node_name)
                for _ in range(context.watchers)
            )
        )

    def _endpoint(self, pod: Pod) -> tuple[str, int]:
        flags = dict(word[2:].split("=", 1) for word in pod.command if word.startswith("--") and "=" in word)
        address = flags.get("advertise-address", "")
        port = flags.get("secure-port", "6443")
        return address if address.startswith("127.") else self.context.address, int(port) if port.isdigit() else 6443

    async def _mounted(self, pod: Pod, revision: int) -> bool:
        """Check and make host paths, with the kubelet's retry. False: something else is wanted now."""
        delay_s = timing.MOUNT_RETRY_S
        while True:
            try:
                for mount in pod.mounts:
                    self._check_mount(mount)
            except MountRefused as exc:
                self.context.journal.record("mount-failed", uid=pod.uid, detail=str(exc))
            else:
                return True
            if await self._until_changed(revision, delay_s):
                return False
            delay_s = min(delay_s * 2, timing.MOUNT_RETRY_MAX_S)

    def _check_mount(self, mount: HostPathMount) -> None:
        path = Path(self.context.root + mount.host_path)
        if mount.check == "DirectoryOrCreate" and not os.path.lexists(path):
            path.mkdir(0o755, parents=True)
        if mount.check == "FileOrCreate" and not os.path.lexists(path):
            path.touch(0o644)
        wanted = FILE_CHECKS.get(mount.check.removesuffix("OrCreate"))
        if wanted is None:
            return
        try:
            good = wanted(path.stat().st_mode)
        except OSError:
            good = False
        if not good:
            kind = mount.check.removesuffix("OrCreate").lower()
            raise MountRefused(
                f'MountVolume.SetUp failed for volume "{mount.volume}" : hostPath type check failed: '
                f"{mount.host_path} is not a {kind}"
            )

    def _write_container(self, pod: Pod, attempt: int) -> Path:
        context = self.context
        directory = Path(context.root, RUN_DIR, "containers", f"{pod.uid}-{attempt}")
        shutil.rmtree(directory, ignore_errors=True)
        scratch = directory / "layer"
        scratch.mkdir(parents=True)
        path = directory / "paths.json"
        Container(
            speed=context.pace.speed,
            started_monotonic_s=time.monotonic(),
            version=pod.version,
            address=context.address,
            scratch=str(scratch),
            faults_dir=f"{context.root}/{RUN_DIR}/faults",
            tokens=context.tokens,
            mounts=tuple(
                BindMount(mount_path=m.mount_path, host_path=context.root + m.host_path, read_only=m.read_only)
                for m in pod.mounts
            ),
        ).save(path)
        return path

    def _log_directory(self, pod: Pod) -> Path:
        name = pod.key.replace("/", "_")
        return Path(self.context.root, "var/log/pods", f"{name}_{pod.uid}", "kube-apiserver")

    def _schedule_log_deletion(self, directory: Path, attempt: int) -> None:
        if attempt >= 0:
            path = directory / f"{attempt}.log"
            loop = asyncio.get_running_loop()
            loop.call_later(self.context.pace.real_s(timing.LOG_DELETED_S), _unlink_quietly, path)

    def _forget_logs(self, uid: str, directory: Path) -> None:
        if self._desired is None or self._desired.uid != uid:
            shutil.rmtree(directory.parent, ignore_errors=True)


def _unlink_quietly(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _next_attempt(directory: Path) -> int:
    """One more than the newest log in the pod's directory; 0 in a fresh one."""
    numbers = [int(path.stem) for path in directory.iterdir() if path.suffix == ".log" and path.stem.isdigit()]
    return max(numbers, default=-1) + 1
