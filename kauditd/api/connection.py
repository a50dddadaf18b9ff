"""One connection: judged at accept, cut at its deadline, good for one request.

One request per connection is the rule that makes the others short: nothing can be smuggled behind a request, no idle
connection is kept, and one timer from accept bounds header drip, body drip and a client that does not read.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from aiohttp import web

from kauditd.api.access import Peer, PeerReader, Role
from kauditd.api.envelope import Rejected, denied, raw_refusal, wrap_error
from kauditd.api.limits import Limits
from kauditd.api.slots import Slots
from kauditd.errors import KauditError, quote

logger = logging.getLogger(__name__)

_LINGER_S = 1.0
_LINGER_MAX = 64
_GRACE_S = 0.25  # between the last bytes of a client and the start of their handler
_UNREAD_BODY_S = 0.5


class Doorway:
    """What all connections of one server share: the places, and who is inside or being turned away."""

    def __init__(self, *, judge: Callable[[Peer | None], Role], read_peer: PeerReader, limits: Limits) -> None:
        self.judge = judge
        self.read_peer = read_peer
        self.limits = limits
        self.slots = Slots(total=limits.connections, reserved=limits.admin_connections)
        self.inside: set[Connection] = set()
        self.turned_away: set[Connection] = set()
        self.denial = raw_refusal(denied())
        self.busy = raw_refusal(Rejected("cannot answer: too many connections", kind="unavailable", hint="try again"))
        self._busy_logged_s = float("-inf")

    def log_busy(self, now_s: float) -> None:
        """Says that connections are refused, at most once in five seconds: a flood must not fill the journal."""
        if now_s - self._busy_logged_s >= 5:
            self._busy_logged_s = now_s
            logger.warning("event=busy connections=%d", len(self.inside))


class Connection(asyncio.Protocol):
    """The peer at the door. aiohttp's protocol is made behind it, and only for those who may come in."""

    def __init__(self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, doorway: Doorway) -> None:
        self._manager = manager
        self._loop = loop
        self._doorway = doorway
        self._role: Role | None = None
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None
        self._has_spoken = False
        self._has_finished = False
        self._is_served = False
        self.waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Judges the peer before a byte is read."""
        stream = cast("asyncio.Transport", transport)
        self._transport = stream
        peer = self._doorway.read_peer(stream.get_extra_info("socket"))
        role = self._doorway.judge(peer)
        if role is Role.NOBODY:
            uid, gid = (peer.uid, peer.gid) if peer else (-1, -1)
            logger.warning("event=denied uid=%d gid=%d reason=not-in-group", uid, gid)
            self._turn_away(self._doorway.denial)
        elif not self._doorway.slots.take(role):
            self._doorway.log_busy(self._loop.time())
            self._turn_away(self._doorway.busy)
        else:
            self._role = role
            self._doorway.inside.add(self)
            self._exchange = Exchange(self._manager, loop=self._loop, limits=self._doorway.limits, connection=self)
            self._exchange.connection_made(transport)
            self._arm(self._doorway.limits.request_s)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, or swallows what a refused client still sends so that it can read the refusal."""
        self._has_spoken = True
        if self._exchange is not None:
            self._exchange.data_received(data)
        elif self._transport is not None:
            self._transport.close()

    def eof_received(self) -> bool:
        """Keeps the way back open for a client that closes its own side behind its request, as socat does.

        A client that is gone looks the same from here. So a long poll ends, and half a request gets no more time.
        """
        self._has_finished = True
        is_kept = self._exchange is not None and self._has_spoken and not self.waiting
        if is_kept and not self._is_served:
            self._arm(_GRACE_S)
        return is_kept

    def connection_lost(self, exc: BaseException | None) -> None:
        """Gives the place back."""
        if self._timer is not None:
            self._timer.cancel()
        self._doorway.turned_away.discard(self)
        if self._role is not None and self._exchange is not None:
            self._doorway.inside.discard(self)
            self._doorway.slots.give_back(self._role)
            self._exchange.connection_lost(exc)
        self._transport = None

    def pause_writing(self) -> None:
        """Passes the transport's back pressure on."""
        if self._exchange is not None:
            self._exchange.pause_writing()

    def resume_writing(self) -> None:
        """Passes the end of the back pressure on."""
        if self._exchange is not None:
            self._exchange.resume_writing()

    def begin(self) -> None:
        """Tells that a whole request is here and is being answered."""
        self._is_served = True
        if self._has_finished:
            self._arm(self._doorway.limits.request_s)

    def extend(self, seconds: float) -> None:
        """Moves the deadline for a long poll of ``seconds``."""
        self.waiting = True
        if self._has_finished:
            self.cut()
        else:
            self._arm(seconds + self._doorway.limits.request_s)

    def allow(self, seconds: float) -> None:
        """Moves the deadline for a write of ``seconds``, also for a client that has closed its own side."""
        self._arm(seconds + self._doorway.limits.request_s)

    def cut(self) -> None:
        """Ends the connection now; a handler at work on it is cancelled."""
        if self._transport is not None:
            self._transport.abort()

    def _arm(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, self.cut)

    def _turn_away(self, refusal: bytes) -> None:
        """Writes the refusal and lingers briefly, since closing at once could take the reply from the client."""
        if self._transport is None:
            return
        self._transport.write(refusal)
        if len(self._doorway.turned_away) >= _LINGER_MAX:
            self._transport.close()
            return
        self._doorway.turned_away.add(self)
        self._transport.write_eof()
        self._timer = self._loop.call_later(_LINGER_S, self.cut)


class Exchange(web.RequestHandler):
    """aiohttp's server protocol with our bounds and our answer to what is not HTTP."""

    __slots__ = ("connection",)

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, limits: Limits, connection: Connection
    ) -> None:
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=limits.request_s,
            tcp_keepalive=False,
            logger=logger,
            max_line_size=limits.line_bytes,
            max_field_size=limits.field_bytes,
            max_headers=limits.fields,
            lingering_time=_UNREAD_BODY_S,
            auto_decompress=False,
        )
        self.connection = connection

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to bytes that are not HTTP: our envelope, no echo, and no line in the journal for it."""
        if status < 500:
            logger.debug("Refused %s: %s", request.method, quote(message or ""))
            error: KauditError = Rejected("cannot read the request: malformed HTTP", status=status)
        else:
            logger.error("Cannot answer a request", exc_info=exc)
            error = KauditError("cannot answer: internal error")
        reply = web.Response(body=wrap_error(error), status=status, content_type="application/json")
        reply.headers["Server"] = "kauditd"
        reply.force_close()
        return reply

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Reads are of no interest to the journal; writes and denials have their ``event=`` lines already."""
        logger.debug("%s answered %d, begun at %s", request.method, response.status, time)
