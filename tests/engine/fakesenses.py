"""What the survey asks of a world without a disk or a network: an API server that audits as its flags say, and its log.

Every switch of ``FakeLog`` is a fault that somebody can make on a real node.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from kauditd.core.canary import AUDITED_STATUSES, Canary, CanaryAnswer, Event, Found, Route
from kauditd.core.counters import Counters, CountersAnswer, Tally
from kauditd.core.credentials import Credentials
from kauditd.core.generations import FileKey, Position, Retention
from kauditd.core.kubeletwords import KubeletWords
from kauditd.core.model import ApiServerProcess, ManifestView
from kauditd.core.observed import EtcdFacts, HealthFacts, PodEvidence
from kauditd.core.proof import Held, LogFacts
from kauditd.core.question import Answers, Question
from tests.engine.fakes import FakeNode, FakeTable

NO_ANSWER = HealthFacts(livez=None, readyz=None, detail="connection refused")
PLENTY_BYTES = 100 << 30


@dataclass(frozen=True, slots=True)
class Written:
    """One event: when it reached its file, and which file that was."""

    at_unix_s: float
    inode: int
    canary: Canary


def audits(process: ApiServerProcess) -> bool:
    """Whether its command line makes it write a log."""
    return bool(process.flag("audit-log-path") and process.flag("audit-policy-file"))


@dataclass(slots=True)
class FakeLog:
    """The audit log of the world. ``hides`` are routes at level None; ``delay_s`` is how late an event arrives.

    ``lost`` and ``foreign`` are lines that vanished and lines that somebody else wrote.
    """

    written: list[Written] = field(default_factory=list)
    inode: int = 1
    in_container: bool = False
    free_bytes: int = PLENTY_BYTES
    hides: frozenset[Route] = frozenset()
    delay_s: float = 0.0
    drops: bool = False
    counted: int = 0
    lost: int = 0
    foreign: int = 0
    unreadable: bool = False
    newest_unix_s: float | None = None
    _deleted_under: int | None = None

    def delete_under(self, process: ApiServerProcess) -> None:
        """``rm audit.log``: the process goes on writing into a file without a name until it ends."""
        self._deleted_under = process.pid

    def is_deleted_under(self, process: ApiServerProcess) -> bool:
        return self._deleted_under == process.pid

    def begin(self) -> None:
        """A new API server starts to count; what it finds at the path it goes on writing."""
        self.counted = self.lost = self.foreign = 0

    def serve(self, process: ApiServerProcess, now: float) -> None:
        """The requests of everybody else: there are some all the time."""
        if audits(process) and not self.drops and not self.is_deleted_under(process):
            self.newest_unix_s = now

    def record(self, process: ApiServerProcess, canary: Canary, now: float) -> None:
        """What the API server does after an answer."""
        if canary.route in self.hides:
            return
        self.counted += 1
        if self.free_bytes < 1 << 20 or self.drops or self.is_deleted_under(process):
            self.lost += 1
            return
        self.written.append(Written(now + self.delay_s, self.inode, canary))


@dataclass(slots=True)
class FakeSenses:
    """Implements ``engine.senses.Senses``. The lists tell when a thing was asked for, in the node's time.

    ``silent``: the server accepts nothing. ``status``: what it answers to a canary. ``broken_child``: no child
    process can be had, so that no question is answered.
    """

    node: FakeNode
    log: FakeLog
    read: Callable[[], FakeTable]
    health: Callable[[], HealthFacts | None]
    serving: Callable[[], FakeTable]
    silent: bool = False
    status: int = 404
    broken_child: bool = False
    found_credentials: Credentials | None = None
    etcd: EtcdFacts = field(default_factory=lambda: EtcdFacts(reachable=1, total=1))
    pod_logs: PodEvidence = field(default_factory=lambda: PodEvidence(listed=False))
    words: tuple[KubeletWords, ...] = ()
    before_ask: Callable[[], None] = lambda: None
    asked_health: list[float] = field(default_factory=list)
    asked_canary: list[tuple[float, Canary]] = field(default_factory=list)
    asked_counters: list[float] = field(default_factory=list)
    asked_where: set[tuple[str, int]] = field(default_factory=set)
    asked_etcd: list[float] = field(default_factory=list)
    looked_at_pod: list[float] = field(default_factory=list)
    heard_kubelet: list[tuple[float, float]] = field(default_factory=list)
    searched: list[float] = field(default_factory=list)
    counted_from: list[Tally | None] = field(default_factory=list)
    _random: int = 0

    def now_unix_s(self) -> float:
        return self.node.now

    def random(self, count: int) -> bytes:
        self._random += 1
        return self._random.to_bytes(8, "big") * (count // 8)

    def read_table(self) -> FakeTable:
        return self.read()

    async def ask(self, question: Question) -> Answers:
        self.before_ask()
        now = self.node.now
        self.asked_where.add((question.address, question.port))
        if question.canary is not None:
            self.asked_canary.append((now, question.canary))
        elif question.health:
            self.asked_health.append(now)
        if question.counters:
            self.asked_counters.append(now)
        if self.broken_child:
            return Answers()
        return Answers(
            health=self._health() if question.health else None,
            canary=None if question.canary is None else self._answer(question.canary, now),
            counters=self._counters(now) if question.counters else None,
        )

    def credentials(self) -> Credentials | None:
        return self.found_credentials

    def inspect_log(self, process: ApiServerProcess, log_path: str, host_path: str | None) -> LogFacts:
        here = FileKey(device=1, inode=self.log.inode, size_bytes=0)
        held = Held.DELETED if self.log.is_deleted_under(process) else Held.OPEN
        return LogFacts(
            path=log_path,
            seen_path=log_path,
            host_path=host_path or log_path,
            seen=here if held is Held.OPEN else None,
            host=None if self.log.in_container or held is Held.DELETED else here,
            held=held,
            free_bytes=self.log.free_bytes,
        )

    def mark_log(self, path: str) -> Position | None:
        return None if self.log.unreadable else self._position(len(self.log.written))

    def find_event(self, path: str, canary: Canary, answer: CanaryAnswer, since: Position | None) -> Found | None:
        self.searched.append(self.node.now)
        if self.log.unreadable:
            return None
        for number, line in enumerate(self.log.written):
            if line.canary == canary and line.at_unix_s <= self.node.now:
                return Found(
                    event=Event(
                        audit_id=canary.audit_id,
                        uri=canary.uri,
                        stage="ResponseComplete",
                        level="Metadata",
                        code=answer.status,
                        received_unix_s=answer.asked_unix_s,
                        stage_unix_s=answer.answered_unix_s,
                    ),
                    file=path,
                    position=self._position(number),
                    length_bytes=400,
                    latency_s=max(0.0, self.node.now - answer.asked_unix_s),
                )
        return None

    def last_event_unix_s(self, path: str, host_path: str | None) -> float | None:
        return self.log.newest_unix_s

    def count_lines(self, path: str, tally: Tally | None, process: ApiServerProcess, retention: Retention) -> Tally:
        self.counted_from.append(tally)
        if self.log.unreadable:
            raise PermissionError(13, "Permission denied", path)
        lines = self.log.counted - self.log.lost + self.log.foreign
        return Tally(low=lines, high=lines, position=self._position(lines))

    def read_pod_logs(self, view: ManifestView, table: FakeTable) -> PodEvidence:
        self.looked_at_pod.append(self.node.now)
        return self.pod_logs

    async def read_kubelet_words(
        self, view: ManifestView, manifest: str, since_unix_s: float
    ) -> tuple[KubeletWords, ...]:
        self.heard_kubelet.append((self.node.now, since_unix_s))
        return self.words

    async def reach_etcd(self, view: ManifestView) -> EtcdFacts:
        self.asked_etcd.append(self.node.now)
        return self.etcd

    def _health(self) -> HealthFacts:
        return NO_ANSWER if self.silent else self.health() or NO_ANSWER

    def _answer(self, canary: Canary, now: float) -> CanaryAnswer:
        servers = self.serving().api_servers
        if self.silent or not servers:
            return CanaryAnswer(status=None, asked_unix_s=now, answered_unix_s=now, detail="connection refused")
        process = servers[0]
        # Other answers come from filters before the one that audits.
        if self.status in AUDITED_STATUSES and audits(process):
            self.log.record(process, canary, now)
        return CanaryAnswer(status=self.status, echoed_id=canary.audit_id, asked_unix_s=now, answered_unix_s=now)

    def _counters(self, now: float) -> CountersAnswer:
        return CountersAnswer(
            status=200, counters=Counters(events=self.log.counted), asked_unix_s=now, answered_unix_s=now
        )

    def _position(self, number: int) -> Position:
        return Position(device=1, inode=self.log.inode, offset_bytes=400 * number)
