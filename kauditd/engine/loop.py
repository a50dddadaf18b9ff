"""The loop: what wakes the guard, how often it looks by itself, and what happens when a cycle fails.

File events only wake; every decision comes from reading the world again, at the latest after ``RESYNC_S``. Blocking
work runs in two threads: the worker owns the guard, the scanner reads the process table, so that a repair never
waits for a scan.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from kauditd.core.cmdline import listening
from kauditd.core.layout import POLICY_DIR, parent
from kauditd.core.model import Outcome, Reason, Severity
from kauditd.core.proof import Held
from kauditd.engine.balance import Balance
from kauditd.engine.guard import Guard
from kauditd.engine.reporting import Reporter
from kauditd.engine.senses import Senses
from kauditd.engine.snapshot import Snapshot, WatchStatus
from kauditd.engine.survey import PATIENCE_S, Survey, Wanted
from kauditd.errors import quote

logger = logging.getLogger(__name__)

RESYNC_S = 5.0
"""The longest time between two looks: what drift costs when every file event is lost."""

POLLING_S = 1.0
"""The same where inotify cannot be had."""

GATE_POLL_S = 0.5
"""The time between two looks while a change is inside its gate."""

SPACING_S = 0.25
"""The shortest time between two cycles, however many events arrive; repairs do not wait for it."""

ROUND_S = 20.0
"""How long somebody who asked for a round of proof waits for its end."""

RELOAD_S = 60.0
"""The longest time after which settings and policy are read again whatever their identity says."""

_T = TypeVar("_T")


class Watching(Protocol):
    """The watch on directories, see ``effects.watch``."""

    @property
    def mode(self) -> str:
        """``inotify`` or ``polling``."""
        ...

    @property
    def detail(self) -> str:
        """Why polling."""
        ...

    @property
    def rearm_total(self) -> int:
        """How often a watch had to be set again."""
        ...

    @property
    def overflow_total(self) -> int:
        """How often events were lost."""
        ...

    def start(self) -> None:
        """Begin to watch."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def consume(self) -> tuple[str, ...]:
        """Paths touched since the last call; leave to wake again."""
        ...

    def follow(self, directories: tuple[str, ...]) -> tuple[str, ...]:
        """Watch these directories from now on."""
        ...

    def check(self) -> tuple[str, ...]:
        """Compare what is watched with what is there; what was set again."""
        ...


MakeWatch = Callable[[Callable[[str], None]], Watching]


class Loop:
    """Drives one guard. ``publish`` receives every snapshot, in the event loop's thread."""

    def __init__(
        self,
        guard: Guard,
        reporter: Reporter,
        *,
        make_watch: MakeWatch,
        senses: Senses,
        publish: Callable[[Snapshot], None],
    ) -> None:
        self._guard = guard
        self._reporter = reporter
        self._senses = senses
        self._publish = publish
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kauditd-worker")
        self._scanner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kauditd-scanner")
        self._cycling = asyncio.Lock()
        self._touched = asyncio.Event()
        self._hurry = asyncio.Event()
        self._events = asyncio.get_running_loop()
        self._watch = make_watch(self._wake)
        self._failures = 0
        self._failure = ""
        self._gate_open = False
        self._gate_since_unix_s = 0.0
        self._reloaded_s = -RELOAD_S
        self._survey = Survey(senses, self._in_scanner, self._events.time)
        self._balance = Balance(senses, self._in_scanner)

    async def start(self) -> None:
        """Recover, set the watch, do the first cycle."""
        await self.in_worker(self._guard.start)
        await self._in_scanner(self._watch.start)
        await self._follow()
        await self.cycle()

    async def repair_forever(self) -> None:
        """Answer file events: repair at once, then ask for a cycle."""
        while True:
            await self._touched.wait()
            self._touched.clear()
            self._watch.consume()
            again_s = None
            with self._surviving():
                again_s = await self.in_worker(self._guard.repair_now)
            if again_s is not None:
                self._events.call_later(again_s, self._touched.set)
            self._hurry.set()

    async def cycle_forever(self) -> None:
        """Cycle by timer, sooner when something happened or a change is inside its gate."""
        while True:
            await asyncio.sleep(SPACING_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s() - SPACING_S):
                    await self._hurry.wait()
            self._hurry.clear()
            await self.cycle()

    async def cycle(self) -> None:
        """One whole cycle with its snapshot. Whatever fails in it is logged, counted and shown; the next one comes."""
        async with self._cycling:
            with self._surviving():
                await self._cycle()
                self._failures = 0
            with self._surviving():
                await self.report()

    async def _cycle(self, *, patience_s: float = PATIENCE_S) -> None:
        rearmed = await self._in_scanner(self._watch.check)
        if rearmed:
            logger.info("Watching again: %s", ", ".join(rearmed))
        await self._reload_if_touched()
        surroundings = await self._survey.take(self._wanted(), patience_s=patience_s)
        await self.in_worker(lambda: self._guard.cycle(surroundings))

    def _wanted(self) -> Wanted:
        """What the survey needs to know; the guard is not at work while this reads it."""
        observed = self._guard.space.observed
        return Wanted(
            view=None if observed is None else observed.view,
            asked=None if observed is None else observed.asked,
            shadows=() if observed is None else observed.shadows,
            gate_open=self._gate_open,
            canary_interval_s=self._guard.space.wishes.settings.proof.canary_interval_s,
            manifest=self._guard.space.path,
            gate_since_unix_s=self._gate_since_unix_s,
            policy=self._guard.space.wishes.policy,
        )

    async def prove_now(self) -> Snapshot:
        """A round of proof whether one is due or not, and the snapshot after it."""
        async with self._cycling:
            self._survey.forced = True
            with self._surviving():
                await self._cycle(patience_s=ROUND_S)
            self._survey.forced = False
            return await self.report()

    async def weigh_forever(self) -> None:
        """Compare the API server's counters with the lines of its log, beside the cycles since it takes seconds."""
        while True:
            await asyncio.sleep(self._guard.space.wishes.settings.proof.canary_interval_s)
            with self._surviving():
                await self._weigh()

    async def _weigh(self) -> None:
        observed = self._guard.space.observed
        process = None if observed is None else observed.process
        if observed is None or process is None or not observed.proven:
            return
        path = process.flag("audit-log-path") or ""
        host_path = None if observed.view is None else observed.view.log_host_path
        facts = await self._in_scanner(lambda: self._senses.inspect_log(process, path, host_path))
        if facts.held is not Held.OPEN:
            return  # lines that go elsewhere are the proof's finding; here they would only look lost
        result = await self._balance.weigh(process, listening(process.flags), facts.seen_path)
        await self.in_worker(lambda: self._guard.note_balance(process, result))

    async def reload(self) -> None:
        """Read settings and policy again whatever their identity says (SIGHUP)."""
        self._reloaded_s = -RELOAD_S
        with self._surviving():
            await self._reload_if_touched()
            await self.report()
        self._hurry.set()

    async def report(self) -> Snapshot:
        """Make and publish a snapshot of what is known now."""
        watch = WatchStatus(
            mode=self._watch.mode,
            detail=self._watch.detail,
            rearm_total=self._watch.rearm_total,
            overflow_total=self._watch.overflow_total,
            resync_found_drift_total=int(self._guard.space.counters.get("resync_found_drift_total", 0)),
        )
        snapshot = await self.in_worker(lambda: self._reporter.report(watch, self._troubles()))
        opened = next((c for c in snapshot.changes if c.outcome is Outcome.OPEN), None)
        self._gate_open = opened is not None
        self._gate_since_unix_s = 0.0 if opened is None else opened.started_unix_s
        self._publish(snapshot)
        return snapshot

    def hurry(self) -> None:
        """Ask for a cycle soon."""
        self._hurry.set()

    @property
    def healthy(self) -> bool:
        """Whether the last cycle ended without an unexpected failure."""
        return self._failures == 0

    def close(self) -> None:
        """Stop watch and threads; what is running ends first."""
        self._survey.close()
        self._watch.stop()
        self._scanner.shutdown(wait=True)
        self._worker.shutdown(wait=True)

    async def in_worker(self, call: Callable[[], _T]) -> _T:
        """Run ``call`` in the thread that owns the guard."""
        return await self._events.run_in_executor(self._worker, call)

    async def _in_scanner(self, call: Callable[[], _T]) -> _T:
        return await self._events.run_in_executor(self._scanner, call)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """A bug in one cycle must not end the guard. Only a cycle that ends well clears what is shown of it."""
        try:
            yield
        except Exception as exc:
            self._failures += 1
            self._failure = f"{type(exc).__name__}: {exc}"
            self._guard.space.count("cycle_failures_total")
            logger.exception("A cycle failed")

    def _troubles(self) -> list[Reason]:
        found = []
        if self._failures:
            found.append(
                Reason(
                    code="cycle-failed",
                    severity=Severity.CRITICAL,
                    text=f"{self._failures} looks in a row failed: {quote(self._failure)}",
                    hint="this is a bug in kauditd; journalctl -u kauditd has the whole story",
                )
            )
        if self._watch.mode == "polling":
            found.append(
                Reason(
                    code="watch-polling",
                    severity=Severity.INFO,
                    text=f"file events cannot be had, so the node is polled every {POLLING_S:.0f} s",
                    hint=self._watch.detail,
                )
            )
        return found

    def _pause_s(self) -> float:
        if self._gate_open:
            return GATE_POLL_S
        return POLLING_S if self._watch.mode == "polling" else RESYNC_S

    def _wake(self, _path: str) -> None:
        """Called from the watch's thread."""
        with suppress(RuntimeError):  # the loop is closed: there is nobody left to wake
            self._events.call_soon_threadsafe(self._touched.set)

    async def _reload_if_touched(self) -> None:
        now_s = self._events.time()
        due = now_s - self._reloaded_s >= RELOAD_S
        if await self.in_worker(lambda: self._guard.reload_if_touched(force=due)):
            await self._follow()
        if due:
            self._reloaded_s = now_s

    async def _follow(self) -> None:
        settings = self._guard.space.wishes.settings
        wanted = {parent(settings.target.manifest), parent(self._guard.space.wishes.file), POLICY_DIR}
        if settings.policy.file is not None:
            wanted.add(parent(settings.policy.file))
        await self._in_scanner(lambda: self._watch.follow(tuple(sorted(wanted))))
