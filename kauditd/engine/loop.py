"""The loop: what wakes the guard, how often it looks by itself, and what happens when a cycle fails.

File events only wake; every decision comes from reading the world again, at the latest after ``RESYNC_S``. Blocking
work runs in two threads: the worker owns the guard, the scanner reads the process table, so that a repair never
waits for a scan.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Protocol, TypeVar

from kauditd.core.drift import flags_agree
from kauditd.core.layout import POLICY_DIR, parent
from kauditd.core.matching import match_processes
from kauditd.core.model import ApiServerProcess, Outcome, Reason, Severity
from kauditd.core.observed import HealthFacts
from kauditd.engine.guard import Guard
from kauditd.engine.ports import ProcessTable
from kauditd.engine.reporting import Reporter
from kauditd.engine.snapshot import Snapshot, WatchStatus
from kauditd.engine.workspace import Surroundings
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

RELOAD_S = 60.0
"""The longest time after which settings and policy are read again whatever their identity says."""

_PROBE_CALM_S = 15.0
_PROBE_ANXIOUS_S = 3.0

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


Probe = Callable[[str, int], Awaitable[HealthFacts]]
ReadTable = Callable[[], ProcessTable]
MakeWatch = Callable[[Callable[[str], None]], Watching]


class Loop:
    """Drives one guard. ``publish`` receives every snapshot, in the event loop's thread."""

    def __init__(
        self,
        guard: Guard,
        reporter: Reporter,
        *,
        make_watch: MakeWatch,
        read_table: ReadTable,
        probe: Probe,
        publish: Callable[[Snapshot], None],
    ) -> None:
        self._guard = guard
        self._reporter = reporter
        self._read_table = read_table
        self._probe = probe
        self._publish = publish
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kauditd-worker")
        self._scanner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kauditd-scanner")
        self._touched = asyncio.Event()
        self._hurry = asyncio.Event()
        self._events = asyncio.get_running_loop()
        self._watch = make_watch(self._wake)
        self._failures = 0
        self._failure = ""
        self._gate_open = False
        self._reloaded_s = -RELOAD_S
        self._health: HealthFacts | None = None
        self._probed_s = -_PROBE_CALM_S
        self._probed_pid: int | None = None

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
        with self._surviving():
            await self._cycle()
            self._failures = 0
        with self._surviving():
            await self.report()

    async def _cycle(self) -> None:
        rearmed = await self._in_scanner(self._watch.check)
        if rearmed:
            logger.info("Watching again: %s", ", ".join(rearmed))
        await self._reload_if_touched()
        table = await self._in_scanner(self._read_table)
        surroundings = Surroundings(table=table, health=await self._ask_health(table))
        await self.in_worker(lambda: self._guard.cycle(surroundings))

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
        self._gate_open = any(c.outcome is Outcome.OPEN for c in snapshot.changes)
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

    async def _ask_health(self, table: ProcessTable) -> HealthFacts | None:
        """The answer of a probe, asked again when it is old, when the process changed, or inside a gate."""
        observed = self._guard.space.observed
        view = observed.view if observed is not None else None
        processes = match_processes(view, table.api_servers)
        if not processes:
            self._health = None
            return None
        pid, now_s = processes[0].pid, self._events.time()
        if (
            self._health is None
            or pid != self._probed_pid
            or now_s - self._probed_s >= self._probe_spacing_s(processes[0])
        ):
            address, port = self._guard.listening(processes[0])
            self._health = await self._probe(address, port)
            self._probed_s, self._probed_pid = now_s, pid
        return self._health

    def _probe_spacing_s(self, process: ApiServerProcess) -> float:
        """Asking costs a child process: often where an answer is waited for, seldom where all is well."""
        if self._gate_open:
            desired = self._guard.space.asked
            return 1.0 if desired is None or flags_agree(desired, process) else _PROBE_CALM_S
        return _PROBE_CALM_S if self._health is not None and self._health.ready else _PROBE_ANXIOUS_S
