"""A control-plane node in virtual time: a guard, a kubelet that acts on the manifest, an API server that obeys it."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from kauditd.core import manifest as manifests
from kauditd.core.layout import SETTINGS_FILE
from kauditd.core.model import ApiServerProcess, Change, Digest, Flag, ManifestView, Outcome
from kauditd.core.observed import HealthFacts
from kauditd.core.windows import Window
from kauditd.engine.bookkeeping import Bookkeeper
from kauditd.engine.commands import Commands
from kauditd.engine.guard import Guard
from kauditd.engine.loop import GATE_POLL_S, RESYNC_S
from kauditd.engine.reporting import Reporter
from kauditd.engine.snapshot import Snapshot, WatchStatus
from kauditd.engine.survey import Survey, Wanted
from kauditd.errors import ManifestRefused
from kauditd.sim.manifests import kubeadm_manifest
from tests.engine.fakes import START_UNIX_S, Chaos, Crash, FakeLedger, FakeMemory, FakeNode, FakeTable
from tests.engine.fakesenses import FakeLog, FakeSenses
from tests.engine.virtual import run

_T = TypeVar("_T")

MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
LOG_DIRECTORY = "/var/log/kubernetes/audit"
POLICY_DIRECTORY = "/etc/kubernetes/audit"
OLD, NEW = "v1.36.3", "v1.37.2"
WATCH = WatchStatus(mode="inotify")

NOTICE_S = 1.0
END_S = 5.0
START_S = 2.0
READY_S = 10.0


@lru_cache(maxsize=64)
def pod_digest(content: bytes) -> Digest:
    """Cached, for the kubelet looks twice a second."""
    return manifests.pod_digest(content)


@lru_cache(maxsize=64)
def read(content: bytes) -> ManifestView:
    """Cached like ``pod_digest``."""
    return manifests.read(content)


@lru_cache(maxsize=8)
def plain(version: str = OLD) -> bytes:
    """The manifest as kubeadm writes it, without anything of ours."""
    return kubeadm_manifest(version, address="10.0.0.11", port=6443)


@dataclass(slots=True)
class FakeKubelet:
    """Runs what the manifest says, some seconds later. ``fate`` tells what becomes of a Pod: see ``_start``."""

    node: FakeNode
    log: FakeLog
    started: float | None = START_UNIX_S - 3600
    process: ApiServerProcess | None = None
    pod: str = ""
    restarts: int = 0
    asleep: bool = False
    fate: Callable[[bytes], str] = lambda _content: "runs"
    kubeadm_pid: int | None = None
    _noticed: float | None = None
    _ended: float | None = None
    _ready: float = 0.0
    _dies: float | None = None
    _fate: str = "runs"
    _pid: int = 1000

    def boot(self) -> None:
        """The API server of the manifest serves since an hour."""
        self._start(self.node.content(MANIFEST), at=START_UNIX_S - 3500)
        self._ready = START_UNIX_S - 3000
        self.restarts = 0

    def tick(self) -> None:
        now = self.node.now
        if self.process is not None:
            self.log.serve(self.process, now)
        if self._dies is not None and now >= self._dies:
            self.process, self._dies, self._ended = None, None, now
        if self.started is None or self.asleep or MANIFEST not in self.node.files:
            return
        content = self.node.content(MANIFEST)
        try:
            pod = str(pod_digest(content))
        except ManifestRefused:
            return
        if self.process is None and self._ended is None:
            self._ended = now
        if pod == self.pod and self.process is not None:
            self._noticed = None
        elif self.process is not None:
            self._end_old(now)
        if self.process is None and self._ended is not None and now - self._ended >= START_S:
            self._start(content, at=now)

    def _end_old(self, now: float) -> None:
        if self._noticed is None:
            self._noticed = now
        if now - self._noticed >= NOTICE_S + END_S:
            self.process, self._noticed, self._ended, self._dies = None, None, now, None

    def _start(self, content: bytes, *, at: float) -> None:
        """A fate is ``runs``, ``never`` (no process), ``crashes`` (after 0.4 s), ``unready`` or ``bare`` (no flags)."""
        self.pod, self._fate, self._ended = str(pod_digest(content)), self.fate(content), None
        if self._fate == "never":
            self._ended = at
            return
        self._pid += 1
        self.restarts += 1
        flags = tuple(f for f in read(content).flags if self._fate != "bare" or not f.name.startswith("audit-"))
        argv = ("kube-apiserver", *(str(f) for f in flags))
        self.process = ApiServerProcess(pid=self._pid, started_unix_s=at, argv=argv, flags=flags)
        self.log.begin()
        self._ready = at + READY_S
        self._dies = at + 0.4 if self._fate == "crashes" else None

    @property
    def health(self) -> HealthFacts | None:
        if self.process is None:
            return None
        if self.node.now >= self._ready and self._fate != "unready":
            return HealthFacts(livez=200, readyz=200)
        return HealthFacts(livez=200, readyz=500, detail="/readyz answered 500")

    @property
    def table(self) -> FakeTable:
        servers = () if self.process is None else (self.process,)
        return FakeTable(api_servers=servers, kubelet_started_unix_s=self.started, kubeadm_pid=self.kubeadm_pid)


@dataclass(slots=True)
class World:
    """Everything of one scenario. ``crash`` kills the guard and starts another on the same node and memory."""

    chaos: Chaos = field(default_factory=Chaos)
    node: FakeNode = field(init=False)
    log: FakeLog = field(default_factory=FakeLog)
    ledger: FakeLedger = field(default_factory=FakeLedger)
    senses: FakeSenses = field(init=False)
    keeper: Bookkeeper = field(init=False)
    survey: Survey = field(init=False)
    memory: FakeMemory = field(init=False)
    kubelet: FakeKubelet = field(init=False)
    guard: Guard = field(init=False)
    reporter: Reporter = field(init=False)
    _since_cycle: float = 1e9
    _gate_since_unix_s: float | None = None

    def __post_init__(self) -> None:
        self.node, self.memory = FakeNode(self.chaos), FakeMemory(self.chaos)
        self.kubelet = FakeKubelet(self.node, self.log)
        self.senses = FakeSenses(self.node, self.log, self._table, self._health, self._table)
        self.node.put(MANIFEST, plain())
        self.settings("target:\n  kubelet_stable_s: 60\n")

    def settings(self, text: str) -> None:
        self.node.put(SETTINGS_FILE, text.encode())

    def start(self) -> None:
        self.keeper = Bookkeeper(self.ledger)
        self.guard = Guard(self.node, self.memory, SETTINGS_FILE, keeper=self.keeper)
        self.survey = Survey(self.senses, self._scan, self._now_s)
        self.reporter = Reporter(self.guard, started_unix_s=self.node.now)
        self._since_cycle = 1e9
        self.guard.start()

    def crash(self) -> None:
        """The process is killed, what was not synced is lost, and a new one starts."""
        self.memory.lose_unsynced()
        self.chaos.crash_at = self.chaos.crash_on = None
        self.start()

    def cycle(self) -> Snapshot:
        """One cycle as the loop makes it. What its survey takes passes for the node too."""
        self.guard.reload_if_touched(force=False)
        self.guard.cycle(run(self.survey.take(self._wanted(), patience_s=60.0), self._pass_time))
        self._since_cycle = 0.0
        return self.report()

    def report(self) -> Snapshot:
        shown = self.reporter.report(WATCH)
        opened = self.guard.space.changes.open()
        self._gate_since_unix_s = None if opened is None else opened.started_unix_s
        return shown

    def _wanted(self) -> Wanted:
        space, observed = self.guard.space, self.guard.space.observed
        return Wanted(
            view=None if observed is None else observed.view,
            asked=None if observed is None else observed.asked,
            shadows=() if observed is None else observed.shadows,
            gate_open=self._gate_since_unix_s is not None,
            canary_interval_s=space.wishes.settings.proof.canary_interval_s,
            manifest=space.path,
            gate_since_unix_s=self._gate_since_unix_s or 0.0,
            policy=space.wishes.policy,
        )

    def _pass_time(self, seconds: float) -> None:
        self.node.now += seconds

    def _now_s(self) -> float:
        return self.node.now

    def _table(self) -> FakeTable:
        return self.kubelet.table

    def _health(self) -> HealthFacts | None:
        return self.kubelet.health

    @staticmethod
    async def _scan(call: Callable[[], _T], /) -> _T:
        return call()

    def run(self, seconds: float, *, events: bool = True, step: float = 0.5) -> Snapshot:
        """Let time pass: the kubelet acts, the guard repairs on events and cycles when it is due."""
        end = self.node.now + seconds
        while self.node.now < end - 1e-6:
            self.node.now += step
            self._since_cycle += step
            self.kubelet.tick()
            if events:
                self.guard.repair_now()
            pause = GATE_POLL_S if self.guard.space.changes.open() is not None else RESYNC_S
            if self._since_cycle >= pause:
                self.cycle()
        return self.report()

    def run_until(self, done: Callable[[], bool], *, limit_s: float, what: str = "") -> float:
        """Let time pass until ``done``; the seconds it took."""
        began = self.node.now
        while not done():
            assert self.node.now - began < limit_s, f"not within {limit_s} s: {what}; {self.report().sentence}"
            self.run(0.5)
        return self.node.now - began

    def run_or_crash(self, seconds: float) -> bool:
        """``run``; true where the chaos killed the guard, which is then started again."""
        try:
            self.run(seconds)
        except Crash:
            self.crash()
            return True
        return False

    def kubeadm_moves_in(self, content: bytes) -> None:
        """Both renames at once, as the guard's first look after them sees it."""
        self.node.put(MANIFEST, content)

    @property
    def commands(self) -> Commands:
        return Commands(self.guard)

    @property
    def manifest(self) -> bytes:
        return self.node.content(MANIFEST)

    @property
    def changes(self) -> tuple[Change, ...]:
        return self.guard.space.changes.recent()

    @property
    def outcomes(self) -> list[tuple[str, Outcome]]:
        return [(c.cause, c.outcome) for c in self.changes]

    @property
    def windows(self) -> tuple[Window, ...]:
        return self.keeper.windows()

    @property
    def audited(self) -> bool:
        """Whether the running process carries the audit flags."""
        return self.kubelet.process is not None and self.kubelet.process.flag("audit-policy-file") is not None

    def replaced(self) -> int:
        return self.node.written.count("replace_manifest")


def started_world(settings: str = "target:\n  kubelet_stable_s: 60\n", *, version: str = OLD) -> World:
    """A healthy node that was never audited, with the guard started and no cycle done."""
    world = World()
    world.settings(settings)
    world.node.put(MANIFEST, plain(version))
    world.kubelet.boot()
    world.start()
    return world


def protected_world(settings: str = "target:\n  kubelet_stable_s: 60\n") -> World:
    """The same after the first change was proven."""
    return deepcopy(_protected_world(settings))


@lru_cache(maxsize=8)
def _protected_world(settings: str) -> World:
    world = started_world(settings)
    world.run_until(lambda: world.outcomes[-1:] == [("enable", Outcome.PROVEN)], limit_s=60, what="enabled")
    world.run(5)
    world.node.written.clear()
    world.memory.written.clear()
    return world


def has_flags(content: bytes) -> bool:
    """Whether a manifest asks for the audit trail."""
    return any(f.name == "audit-policy-file" for f in read(content).flags)


def codes(snapshot: Snapshot) -> set[str]:
    return {r.code for r in snapshot.reasons}


def flag_of(content: bytes, name: str) -> Flag | None:
    return next((f for f in read(content).flags if f.name == name), None)
