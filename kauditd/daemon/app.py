"""The daemon's composition root: builds effects, engine and API, and runs them as named, guarded tasks.

If any task ends, all end: there is no half-alive daemon, and systemd starts a fresh one.
"""

import asyncio
import grp
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from kauditd.api.app import Server
from kauditd.core.layout import LOCK_FILE, STATE_DIR, Layout, parent
from kauditd.core.model import Outcome, Verdict
from kauditd.daemon.node import RealMemory, RealNode
from kauditd.daemon.senses import RealSenses
from kauditd.effects import files, store
from kauditd.effects.crashpoints import crash_point_hook
from kauditd.effects.ledger import LedgerFile
from kauditd.effects.systemd import Notifier, listen_fds, watchdog_interval_s
from kauditd.effects.watch import Watch
from kauditd.engine.bookkeeping import Bookkeeper
from kauditd.engine.commands import Commands
from kauditd.engine.guard import Guard
from kauditd.engine.loop import GATE_POLL_S, Loop, Watching
from kauditd.engine.reporting import Reporter
from kauditd.engine.service import Board, Service
from kauditd.engine.snapshot import Snapshot
from kauditd.errors import KauditError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    layout: Layout
    settings_file: str
    environ: Mapping[str, str]


class App:
    """One running daemon. Use inside a running event loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._notifier = Notifier()
        self._board = Board()
        self._sentence = ""
        self._locks = ExitStack()
        layout = options.layout
        node = RealNode(layout, crash_point_hook(options.environ))
        self._memory = RealMemory(layout)
        self._keeper = Bookkeeper(LedgerFile(layout.host(f"{STATE_DIR}/ledger.ndjson"), files=files))
        self._guard = Guard(node, self._memory, options.settings_file, keeper=self._keeper)
        self._loop = Loop(
            self._guard,
            Reporter(self._guard, started_unix_s=node.now_unix_s()),
            make_watch=self._make_watch,
            senses=RealSenses(layout),
            publish=self._publish,
        )

    async def run(self) -> None:
        """Until a signal ends it. Raises ``errors.KauditError`` where it cannot start."""
        # Before anybody is told that we are ready: an unhandled SIGHUP ends a process.
        stop, reload = _events_for(signal.SIGTERM, signal.SIGINT), _events_for(signal.SIGHUP)
        self._prepare()
        server: Server | None = None
        try:
            await self._loop.start()
            service = Service(self._loop, Commands(self._guard), self._board, self._keeper)
            server = Server(service, group_id=self._group_id())
            await server.start(self._where())
            self._notifier.ready()
            logger.info("Started; %s", self._sentence)
            await self._run_tasks(stop, reload)
        finally:
            self._notifier.stopping()
            if server is not None:
                await server.stop()
            self._close()

    async def run_once(self) -> bool:
        """One observe-decide-act-prove cycle, its gate included; whether the node is protected after it."""
        self._prepare()
        try:
            await self._loop.start()
            snapshot = self._board.newest()
            while any(c.outcome is Outcome.OPEN for c in snapshot.changes):
                await asyncio.sleep(GATE_POLL_S)
                await self._loop.cycle()
                snapshot = self._board.newest()
        finally:
            self._close()
        logger.info("%s", snapshot.sentence)
        return snapshot.verdict is Verdict.PROTECTED

    def _prepare(self) -> None:
        """Lock and state directory: after this nobody else writes on this node."""
        layout = self._options.layout
        lock_path = layout.host(LOCK_FILE)
        files.ensure_directory(parent(lock_path), 0o755)
        self._locks.enter_context(store.lock(lock_path))
        self._memory.prepare()

    def _close(self) -> None:
        self._loop.close()
        self._locks.close()

    async def _run_tasks(self, stop: asyncio.Event, reload: asyncio.Event) -> None:
        tasks: dict[str, Coroutine[None, None, None]] = {
            "repair": self._loop.repair_forever(),
            "cycle": self._loop.cycle_forever(),
            "reload": self._reload_forever(reload),
            "watchdog": self._ping_forever(),
            "weigh": self._loop.weigh_forever(),
        }
        running = {asyncio.create_task(work, name=name) for name, work in tasks.items()}
        stopping = asyncio.create_task(_until(stop), name="stop")
        done, _ = await asyncio.wait({*running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in {*running, stopping} - done:
            task.cancel()
        await asyncio.gather(*running, stopping, return_exceptions=True)
        for task in done - {stopping}:
            error = task.exception()
            raise KauditError(f"cannot go on: the task {task.get_name()} ended unexpectedly: {error!r}") from error

    async def _reload_forever(self, asked: asyncio.Event) -> None:
        while True:
            await asked.wait()
            asked.clear()
            self._notifier.reloading()
            await self._loop.reload()
            self._notifier.ready()

    async def _ping_forever(self) -> None:
        """A sign of life while cycles end well; a worker that hangs or keeps failing lets systemd restart us."""
        interval_s = watchdog_interval_s(self._options.environ)
        while True:
            await asyncio.sleep(5.0 if interval_s is None else interval_s / 2)
            await self._loop.in_worker(lambda: None)
            if self._loop.healthy:
                self._notifier.watchdog()

    def _publish(self, snapshot: Snapshot) -> None:
        self._board.post(snapshot)
        if snapshot.sentence != self._sentence:
            self._sentence = snapshot.sentence
            self._notifier.status(snapshot.sentence)
            logger.info("%s: %s", snapshot.verdict.capitalize(), snapshot.sentence)

    def _make_watch(self, wake: Callable[[str], None]) -> Watching:
        return _HostWatch(self._options.layout, wake)

    def _where(self) -> str | socket.socket:
        passed = listen_fds(self._options.environ)
        if passed:
            return passed[0]
        path = self._options.layout.host(self._guard.space.wishes.settings.api.socket)
        files.ensure_directory(parent(path), 0o755)
        return path

    def _group_id(self) -> int | None:
        name = self._guard.space.wishes.settings.api.group
        try:
            return grp.getgrnam(name).gr_gid
        except KeyError:
            logger.warning("There is no group %s: only root may ask", name)
            return None


class _HostWatch(Watch):
    """The watch, with logical directories in ``follow``."""

    def __init__(self, layout: Layout, wake: Callable[[str], None]) -> None:
        super().__init__((), wake)
        self._layout = layout

    def follow(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Watch these logical directories from now on."""
        return super().follow([self._layout.host(d) for d in directories])


def _events_for(*numbers: signal.Signals) -> asyncio.Event:
    """An event that is set by any of these signals, from now on."""
    event = asyncio.Event()
    for number in numbers:
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    return event


async def _until(event: asyncio.Event) -> None:
    await event.wait()
