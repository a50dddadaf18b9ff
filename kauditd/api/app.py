"""The application built from the route table, and the server that puts it on the Unix socket."""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from kauditd.api.access import PeerReader, read_peer
from kauditd.api.backend import Backend
from kauditd.api.connection import Connection, Doorway
from kauditd.api.dispatch import Dispatcher
from kauditd.api.limits import Limits
from kauditd.api.listener import BACKLOG, Listener, adopt, open_listener
from kauditd.api.table import build_table

Endpoint = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DISPATCHER = web.AppKey("dispatcher", Dispatcher)
_STOP_S = 1.0
_ID_PATTERN = "{id:[0-9]{1,15}}"


def create_app(
    backend: Backend,
    *,
    group_id: int | None,
    limits: Limits | None = None,
    read_peer: PeerReader = read_peer,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """The routes of ``table`` over ``backend``. ``group_id`` is the group that may read (None: only root may).

    Peers are judged on every request by ``read_peer``, so that the application is safe behind any server; bounds on
    connections and time are the ``Server``'s. ``clock`` gives Unix seconds for "12 s ago".
    """
    bounds = limits or Limits()
    dispatcher = Dispatcher(
        backend, group_id=group_id, daemon_uid=os.geteuid(), limits=bounds, read_peer=read_peer, clock=clock
    )

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await dispatcher.answer(request, handler)

    app = web.Application(middlewares=[guard], client_max_size=bounds.body_bytes)
    for row in build_table(wait_s=bounds.wait_s):
        path = row.path.replace("{id}", _ID_PATTERN)
        app.router.add_route(row.method, path, dispatcher.endpoint(row), expect_handler=dispatcher.refuse_expect)
    app[_DISPATCHER] = dispatcher
    return app


class Server:
    """The API on its socket: ``start`` once, ``stop`` once.

    Bounds of ``Limits`` are kept here: at most 32 connections with some kept for root, five seconds for a whole
    exchange, one request per connection.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        group_id: int | None,
        limits: Limits | None = None,
        read_peer: PeerReader = read_peer,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._group_id = group_id
        self._limits = limits or Limits()
        self._read_peer = read_peer
        self._app = create_app(backend, group_id=group_id, limits=self._limits, read_peer=read_peer, clock=clock)
        self._dispatcher = self._app[_DISPATCHER]
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._doorway: Doorway | None = None
        self._server: asyncio.Server | None = None

    async def start(self, where: str | socket.socket) -> None:
        """Serves on a path, which is bound with the right owner and mode, or on a socket that systemd opened.

        Errors: ``KauditError`` of kind conflict where another daemon answers there, ``FileFault`` where the
        operating system refuses.
        """
        if isinstance(where, str):
            listener = await asyncio.to_thread(open_listener, where, group_id=self._group_id)
        else:
            listener = adopt(where)
        self._listener = listener
        self._runner = web.AppRunner(self._app, handler_cancellation=True, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        manager = self._runner.server
        if manager is None:
            raise AssertionError("an application runner that is set up has a server")
        doorway = Doorway(judge=self._dispatcher.judge, read_peer=self._read_peer, limits=self._limits)
        self._doorway = doorway
        loop = asyncio.get_running_loop()
        # create_server, not create_unix_server: since Python 3.13 the latter unlinks the file of a socket on close,
        # which is wrong for one that systemd owns.
        self._server = await loop.create_server(
            lambda: Connection(manager, loop=loop, doorway=doorway), sock=listener.socket, backlog=BACKLOG
        )

    async def stop(self) -> None:
        """Stops listening, ends long polls, lets other requests end within a second, removes the socket's file."""
        if self._server is not None:
            self._server.close()
        if self._listener is not None:
            self._listener.close()
        if self._doorway is not None:
            for connection in [*self._doorway.turned_away, *self._doorway.inside]:
                if connection.waiting or connection in self._doorway.turned_away:
                    connection.cut()
        await self._dispatcher.settle(timeout_s=_STOP_S)
        if self._runner is not None:
            await self._runner.cleanup()
