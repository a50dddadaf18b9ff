"""A survey of an API server that audits, without a guard around it, in virtual time."""

from collections.abc import Callable
from typing import TypeVar

from kauditd.core.model import ApiServerProcess, Desired, Flag
from kauditd.core.observed import HealthFacts
from kauditd.core.trail import Trail
from kauditd.engine.proving import Prover, Subject
from kauditd.engine.survey import Survey, Wanted
from kauditd.engine.workspace import Surroundings
from tests.engine.fakes import START_UNIX_S, FakeNode, FakeTable
from tests.engine.fakesenses import FakeLog, FakeSenses
from tests.engine.virtual import run
from tests.engine.world import plain, read

FLAGS = (
    Flag(name="audit-log-path", value="/var/log/kubernetes/audit/audit.log"),
    Flag(name="audit-policy-file", value="/etc/kubernetes/audit/policy-0123456789ab.yaml"),
)
DESIRED = Desired(flags=FLAGS, mounts=())
READY = HealthFacts(livez=200, readyz=200)
UNREADY = HealthFacts(livez=200, readyz=500, detail="/readyz answered 500")

_T = TypeVar("_T")


def server(pid: int = 100, flags: tuple[Flag, ...] = FLAGS) -> ApiServerProcess:
    argv = ("kube-apiserver", *(str(f) for f in flags))
    return ApiServerProcess(pid=pid, started_unix_s=START_UNIX_S - 100 + pid / 10, argv=argv, flags=flags)


class Bench:
    """One API server (``process``), its health, and the survey on the fake senses of the scenarios."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self.log = FakeLog()
        self.process: ApiServerProcess | None = server()
        self.health: HealthFacts | None = READY
        self.senses = FakeSenses(self.node, self.log, self.table, lambda: self.health, self.table)
        self.survey = Survey(self.senses, self.scan, lambda: self.node.now)
        self.prover = Prover(self.senses, self.scan)
        self.gate_open = False
        self.asked: Desired | None = DESIRED

    def table(self) -> FakeTable:
        return FakeTable(api_servers=() if self.process is None else (self.process,))

    @staticmethod
    async def scan(call: Callable[[], _T], /) -> _T:
        return call()

    def wanted(self) -> Wanted:
        return Wanted(
            view=read(plain()),
            asked=self.asked,
            shadows=(),
            gate_open=self.gate_open,
            canary_interval_s=60.0,
            gate_since_unix_s=START_UNIX_S,
        )

    def take(self) -> Surroundings:
        return run(self.survey.take(self.wanted(), patience_s=60.0), self.pass_time)

    def take_every(self, spacing_s: float, seconds: float) -> Surroundings:
        """Surveys over some time; the last one."""
        end = self.node.now + seconds
        taken = self.take()
        while self.node.now + spacing_s < end + 1e-6:
            self.node.now += spacing_s
            taken = self.take()
        return taken

    def prove(self, **fields: object) -> Trail:
        assert self.process is not None
        subject = Subject(process=self.process, where=("10.0.0.11", 6443), desired=DESIRED, **fields)
        return run(self.prover.prove(subject), self.pass_time)

    def pass_time(self, seconds: float) -> None:
        self.node.now += seconds
