"""The simulated kubelet: file source, merge into ADD and REMOVE, one worker per pod name.

Upstream: kubelet ``pkg/kubelet/config/config.go`` (the merge by UID) and ``kubelet.go`` (SyncLoop).
"""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

from kauditd.sim import timing
from kauditd.sim.container import Identity
from kauditd.sim.etcd import EtcdPort
from kauditd.sim.journal import RUN_DIR, Journal
from kauditd.sim.pod import Pod
from kauditd.sim.source import FileEvent, FileSource
from kauditd.sim.watch import DirectoryWatch
from kauditd.sim.worker import KUBELET_BEARER, PodWorker, WorkerContext

MANIFESTS_DIR = "/etc/kubernetes/manifests"
STATUS_FILE = f"{RUN_DIR}/status.json"
ADMIN_BEARER = "simulated-admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeConfig:
    """A simulated node. ``watchers``: how many watches clients hold; without any a stopping API server ends soon.

    ``events=False`` takes the kubelet's inotify away, so that only the re-list sees changes. ``etcd_port`` is where
    etcd takes connections; 0 lets ``Node`` choose one.
    """

    root: str
    speed: float = 20.0
    seed: int = 1
    node_name: str = "cp1"
    address: str = "127.0.0.1"
    watchers: int = 1
    events: bool = True
    missing_images: frozenset[str] = field(default=frozenset())
    etcd_port: int = 0


class Kubelet:
    """Watches ``ROOT/etc/kubernetes/manifests`` and runs what it finds. One event loop, one directory."""

    def __init__(self, config: NodeConfig, journal: Journal) -> None:
        self._config = config
        self._journal = journal
        self._pace = timing.Pace(speed=config.speed, seed=config.seed)
        self._source = FileSource(
            directory=config.root + MANIFESTS_DIR, logical_directory=MANIFESTS_DIR, node_name=config.node_name
        )
        self._etcd = EtcdPort(config.address, config.etcd_port, f"{config.root}/{RUN_DIR}/faults")
        self._context = WorkerContext(
            root=config.root,
            node_name=config.node_name,
            address=config.address,
            watchers=config.watchers,
            missing_images=config.missing_images,
            pace=self._pace,
            journal=journal,
            tokens={
                KUBELET_BEARER: Identity(
                    username=f"system:node:{config.node_name}", groups=("system:nodes", "system:authenticated")
                ),
                ADMIN_BEARER: Identity(username="kubernetes-admin", groups=("system:masters", "system:authenticated")),
            },
        )
        self._current: dict[str, Pod] = {}
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop`` is set; then no process of ours is left."""
        watch = DirectoryWatch(self._config.root + MANIFESTS_DIR, self._on_event) if self._config.events else None
        self._journal.record("kubelet-start")
        ticks = [asyncio.ensure_future(self._relist_for_ever()), asyncio.ensure_future(self._housekeep(watch))]
        try:
            await self._until_stopped(stop, ticks)
        finally:
            if watch is not None:
                watch.close()
            self._etcd.close()
            await _cancel([*ticks, *self._tasks.values()])
            self._journal.record("kubelet-stop")

    async def _until_stopped(self, stop: asyncio.Event, ticks: list[asyncio.Task[None]]) -> None:
        """Wait for ``stop``; a tick or a worker that fails is raised, since a half-dead kubelet would mislead."""
        asked = asyncio.ensure_future(stop.wait())
        try:
            while not asked.done():
                watched = (asked, *ticks, *self._tasks.values())
                done, _ = await asyncio.wait(watched, timeout=0.2, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            asked.cancel()

    async def _relist_for_ever(self) -> None:
        """The fixed tick: due times do not drift with the work done in between."""
        period_s = self._pace.real_s(timing.RELIST_S)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._source.relist()
            self._merge("list")
            due = max(due + period_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _housekeep(self, watch: DirectoryWatch | None) -> None:
        while True:
            if watch is not None:
                watch.arm()
            self._publish()
            await self._etcd.follow()
            await asyncio.sleep(max(0.01, self._pace.real_s(timing.REARM_S) / 2))

    def _on_event(self, name: str, event: FileEvent) -> None:
        self._source.apply(name, event)
        self._merge(f"{event.name.lower()} {name}")

    def _merge(self, cause: str) -> None:
        """Compare by UID with what was wanted: REMOVE what is gone, ADD what is new."""
        for name, fault in self._source.faults.items():
            self._journal.record("file-refused", detail=f"{name}: {fault}")
        self._source.faults.clear()
        wanted = {pod.uid: pod for pod in self._source.pods.values()}
        for uid in [uid for uid in self._current if uid not in wanted]:
            pod = self._current.pop(uid)
            self._journal.record("pod-remove", uid=uid, detail=cause)
            if pod.key in self._workers:
                self._workers[pod.key].want(None)
        for uid, pod in wanted.items():
            if uid not in self._current:
                self._current[uid] = pod
                self._journal.record("pod-add", uid=uid, detail=cause)
                self._hand_over(pod)

    def _hand_over(self, pod: Pod) -> None:
        """Give the pod to the worker of its name. Other components than the API server are not simulated."""
        if not pod.command or Path(pod.command[0]).name != "kube-apiserver":
            return
        if pod.key not in self._workers:
            self._workers[pod.key] = PodWorker(context=self._context)
            self._tasks[pod.key] = asyncio.ensure_future(self._workers[pod.key].run())
        self._workers[pod.key].want(pod)

    def _publish(self) -> None:
        """What kubeadm would read from the API: the mirror pod's hash and whether a process runs behind it."""
        pods = {
            key: {"mirror_uid": worker.mirror_uid, "pid": worker.process.pid if worker.process is not None else 0}
            for key, worker in self._workers.items()
        }
        path = Path(self._config.root, STATUS_FILE)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(pods), encoding="utf-8")
        fresh.replace(path)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
