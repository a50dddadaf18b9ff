"""The engine as the API sees it: the newest snapshot, commands in the worker thread, waiting without polling."""

import asyncio
from collections.abc import Callable

from kauditd.core.model import Change, Outcome
from kauditd.core.windows import Window
from kauditd.engine.bookkeeping import Bookkeeper
from kauditd.engine.commands import Commands
from kauditd.engine.loop import Loop
from kauditd.engine.snapshot import Snapshot
from kauditd.errors import Refused


class Board:
    """Holds the newest snapshot and wakes whoever waits for a newer one. One event loop."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._news = asyncio.Event()

    def post(self, snapshot: Snapshot) -> None:
        """Publish."""
        self._snapshot = snapshot
        self._news.set()
        self._news = asyncio.Event()

    def newest(self) -> Snapshot:
        """The newest snapshot. Raises ``errors.Refused`` before the first one."""
        if self._snapshot is None:
            raise Refused("cannot show the status: kauditd has just started", kind="unavailable", hint="try again")
        return self._snapshot

    async def wait_beyond(self, sequence: int, *, timeout_s: float) -> Snapshot:
        """A snapshot newer than ``sequence``, or the newest at the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.newest().sequence <= sequence:
                    await self._news.wait()
        except TimeoutError:
            pass
        return self.newest()


class Service:
    """Implements ``api.backend.Backend`` over one loop. ``bookkeeper`` is None where no ledger is kept."""

    def __init__(self, loop: Loop, commands: Commands, board: Board, bookkeeper: Bookkeeper | None = None) -> None:
        self._loop = loop
        self._commands = commands
        self._board = board
        self._bookkeeper = bookkeeper

    def snapshot(self) -> Snapshot:
        """The newest snapshot."""
        return self._board.newest()

    async def apply(self, *, peer_uid: int) -> Change | None:
        """See ``Commands.apply``."""
        del peer_uid  # the API has logged who asked
        return await self._change(self._commands.apply)

    async def rollback(self, *, peer_uid: int) -> Change | None:
        """See ``Commands.rollback``."""
        del peer_uid
        return await self._change(self._commands.rollback)

    async def disable(self, *, peer_uid: int) -> Change | None:
        """See ``Commands.disable``."""
        del peer_uid
        return await self._change(self._commands.disable)

    async def pause(self, *, peer_uid: int, duration_s: float | None) -> Snapshot:
        """See ``Commands.pause``."""
        del peer_uid
        await self._loop.in_worker(lambda: self._commands.pause(duration_s))
        return await self._loop.report()

    async def resume(self, *, peer_uid: int) -> Snapshot:
        """See ``Commands.resume``."""
        del peer_uid
        await self._loop.in_worker(self._commands.resume)
        self._loop.hurry()
        return await self._loop.report()

    async def canary(self, *, peer_uid: int) -> Snapshot:
        """See ``Loop.prove_now``."""
        del peer_uid
        return await self._loop.prove_now()

    async def annotate(
        self, window_id: int, *, peer_uid: int, root_cause: str | None, prevention: str | None, owner: str | None
    ) -> Window | None:
        """See ``Bookkeeper.annotate``."""
        del peer_uid
        keeper = self._bookkeeper
        if keeper is None:
            raise Refused("cannot annotate: no ledger is kept here", kind="unavailable", hint="see: kauditctl status")
        window = await self._loop.in_worker(
            lambda: keeper.annotate(window_id, root_cause=root_cause, prevention=prevention, owner=owner)
        )
        await self._loop.report()
        return window

    async def wait_change(self, change_id: int, *, timeout_s: float) -> Change | None:
        """The change once it is no longer open, or as it stands at the timeout."""
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        while True:
            snapshot = self._board.newest()
            change = next((c for c in snapshot.changes if c.id == change_id), None)
            left_s = deadline_s - asyncio.get_running_loop().time()
            if change is None or change.outcome is not Outcome.OPEN or left_s <= 0:
                return change
            await self._board.wait_beyond(snapshot.sequence, timeout_s=left_s)

    async def wait_snapshot(self, after_sequence: int, *, timeout_s: float) -> Snapshot:
        """The next snapshot, or the newest at the timeout."""
        return await self._board.wait_beyond(after_sequence, timeout_s=timeout_s)

    async def _change(self, command: Callable[[], Change | None]) -> Change | None:
        """Run a command; the snapshot shows its effect before the answer goes out."""
        try:
            return await self._loop.in_worker(command)
        finally:
            await self._loop.report()
            self._loop.hurry()
