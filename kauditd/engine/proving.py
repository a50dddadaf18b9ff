"""One round of proof: a canary is sent, and its event is looked for in the file that the API server holds open."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from kauditd.core.canary import RANDOM_BYTES, CanaryAnswer, Found, Route, compose
from kauditd.core.model import ApiServerProcess, Desired, ManifestView
from kauditd.core.observed import HealthFacts, Shadow
from kauditd.core.proof import (
    CanaryFacts,
    Inconclusive,
    LogFacts,
    PolicyFacts,
    ProofFacts,
    ProofResult,
    Proven,
    Unproven,
    judge,
    routes_to_try,
)
from kauditd.core.question import Question
from kauditd.core.trail import Trail, TrailState
from kauditd.engine.senses import Senses

SEARCH_S = 3.0
"""How long an event is looked for after the answer; measured: 0.13 ms at most in blocking mode."""

ASK_S = 5.0
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5

_T = TypeVar("_T")


class Scan(Protocol):
    """Runs a blocking call in the scanner thread."""

    def __call__(self, call: Callable[[], _T], /) -> Awaitable[_T]:
        """The call's result."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose trail is to be proven, and what is known of it. ``where`` is address and port."""

    process: ApiServerProcess
    where: tuple[str, int]
    desired: Desired
    view: ManifestView | None = None
    shadows: tuple[Shadow, ...] = ()
    policy: PolicyFacts | None = None


class Prover:
    """Makes rounds. ``health`` is what the newest round's child was told by ``/livez`` and ``/readyz``."""

    def __init__(self, senses: Senses, scan: Scan) -> None:
        self._senses = senses
        self._scan = scan
        self.health: HealthFacts | None = None

    async def prove(self, subject: Subject) -> Trail:
        """One round, over other requests where the policy hides the first one."""
        taken = self._senses.now_unix_s()
        canaries: list[CanaryFacts] = []
        log: LogFacts | None = None
        result: ProofResult = Inconclusive(text="nothing was asked")
        for route in routes_to_try(subject.policy):
            if subject.process.flag("audit-log-path"):
                canary, log = await self._send(subject, route)
                canaries.append(canary)
            facts = ProofFacts(
                at_unix_s=self._senses.now_unix_s(),
                process=subject.process,
                desired=subject.desired,
                view=subject.view,
                log=log,
                canaries=tuple(canaries),
                shadows=subject.shadows,
                policy=subject.policy,
            )
            result = judge(facts)
            if not isinstance(result, Unproven) or result.fallback is None:
                break
        return trail_of(result, subject.process, taken)

    async def _send(self, subject: Subject, route: Route) -> tuple[CanaryFacts, LogFacts]:
        """Mark the log's end, ask, and look for the event from there."""
        senses = self._senses
        before = await self._inspect(subject)
        since = await self._scan(lambda: senses.mark_log(before.seen_path))
        canary = compose(senses.random(RANDOM_BYTES), route=route)
        address, port = subject.where
        answers = await senses.ask(Question(address=address, port=port, timeout_s=ASK_S, canary=canary))
        self.health = answers.health
        now = senses.now_unix_s()
        answer = answers.canary or CanaryAnswer(status=None, asked_unix_s=now, answered_unix_s=now, detail="no answer")
        log = await self._inspect(subject)
        found, searched_s = None, 0.0
        if answer.status is not None:
            found, searched_s = await self._search(lambda: senses.find_event(log.seen_path, canary, answer, since))
        return CanaryFacts(canary=canary, answer=answer, found=found, searched_s=searched_s), log

    async def _inspect(self, subject: Subject) -> LogFacts:
        path = subject.process.flag("audit-log-path") or ""
        host_path = subject.view.log_host_path if subject.view is not None else None
        return await self._scan(lambda: self._senses.inspect_log(subject.process, path, host_path))

    async def _search(self, look: Callable[[], Found | None]) -> tuple[Found | None, float]:
        """Look until it is there or ``SEARCH_S`` have passed, in growing steps."""
        events = asyncio.get_running_loop()
        began_s, pause_s = events.time(), _FIRST_PAUSE_S
        while True:
            found = await self._scan(look)
            searched_s = events.time() - began_s
            if found is not None or searched_s >= SEARCH_S:
                return found, searched_s
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def trail_of(result: ProofResult, process: ApiServerProcess, taken_unix_s: float) -> Trail:
    """A round's result as the value that travels."""
    trail = Trail(
        taken_unix_s=taken_unix_s, pid=process.pid, started_unix_s=process.started_unix_s, state=TrailState.OPEN
    )
    match result:
        case Proven(evidence=evidence):
            return replace(
                trail,
                state=TrailState.PROVEN,
                text=f"event {evidence.audit_id} was in the log {evidence.latency_ms:.0f} ms after it was asked for",
                audit_id=evidence.audit_id,
                uri=evidence.uri,
                file=evidence.file,
                offset_bytes=evidence.offset_bytes,
                latency_ms=evidence.latency_ms,
            )
        case Unproven(code=code, text=text, hint=hint):
            return replace(trail, state=TrailState.UNPROVEN, code=code, text=text, hint=hint)
        case Inconclusive(text=text):
            return replace(trail, text=text)
