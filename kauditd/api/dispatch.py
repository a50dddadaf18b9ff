"""From an aiohttp request to a handler's reply and back; the one place of the API that knows HTTP and logs.

Order of judgement, the same for every route: peer, headers, route, access class, framing, query, body. A request
is turned away by the first that fails, so a stranger learns nothing from any of the later ones.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from kauditd.api.access import Peer, PeerReader, Role, forbidden_header, role_of
from kauditd.api.backend import Backend
from kauditd.api.connection import Exchange
from kauditd.api.encode import encode
from kauditd.api.envelope import EXIT_HEADER, Rejected, denied, http_status, wrap, wrap_error
from kauditd.api.handlers import Call, Reply
from kauditd.api.inbound import check_framing, check_target, read_body, read_query
from kauditd.api.limits import Limits
from kauditd.api.metrics import CONTENT_TYPE
from kauditd.api.slots import Slots
from kauditd.api.table import Access, Row
from kauditd.api.views import ActionView
from kauditd.errors import KauditError, quote

logger = logging.getLogger(__name__)

_VERSIONS = {(1, 0), (1, 1)}  # aiohttp's Python parser takes any digits
_PATIENCE = 0.9  # of the request's time, so that an answer still fits in


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """A peer that passed the first check, with its role."""

    peer: Peer
    role: Role


class Dispatcher:
    """Serves the rows of the table from one backend."""

    def __init__(
        self,
        backend: Backend,
        *,
        group_id: int | None,
        daemon_uid: int,
        limits: Limits,
        read_peer: PeerReader,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._group_id = group_id
        self._daemon_uid = daemon_uid
        self._limits = limits
        self._read_peer = read_peer
        self._clock = clock
        self._waits = Slots(total=limits.waits, reserved=limits.admin_waits)
        self._mutations: set[asyncio.Task[Reply]] = set()

    def judge(self, peer: Peer | None) -> Role:
        """The role of a peer on this server."""
        return role_of(peer, group_id=self._group_id, daemon_uid=self._daemon_uid)

    async def settle(self, *, timeout_s: float) -> None:
        """Lets writes that are under way end; cancels those that do not within ``timeout_s``."""
        if self._mutations:
            _done, late = await asyncio.wait(self._mutations, timeout=timeout_s)
            for task in late:
                task.cancel()

    def endpoint(self, row: Row) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of one row. It rests on ``guard`` having run first."""

        async def serve(request: web.Request) -> web.StreamResponse:
            caller = self._identify(request)
            self._check_access(row, caller)
            call = await self._read_call(row, request, caller)
            if row.access is Access.WRITE:
                reply = await self._mutate(row, call, self._time_for(row, request))
            elif row.is_wait:
                reply = await self._wait(row, call, request, caller.role)
            else:
                reply = await row.handler(call)
            return _respond(row, reply)

        return serve

    async def refuse_expect(self, request: web.Request) -> web.StreamResponse:
        """Stands where aiohttp would send ``100 Continue`` before anybody was judged."""

        async def refuse(_request: web.Request) -> web.StreamResponse:
            raise Rejected("cannot meet Expect: not supported", status=417, hint="send the request at once")

        return await self.answer(request, refuse)

    async def answer(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Judges peer and headers, calls the handler, and turns every failure into an envelope."""
        if isinstance(request.protocol, Exchange):
            request.protocol.connection.begin()
        try:
            self._check_headers(request, self._identify(request))
            response = await handler(request)
        except KauditError as error:
            response = _respond_error(error)
        except web.HTTPException as error:
            response = _respond_error(_from_http(error))
            if isinstance(error, web.HTTPMethodNotAllowed):
                response.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        except Exception:
            logger.exception("Cannot answer %s %s", request.method, quote(request.path, limit=64))
            response = _respond_error(KauditError("cannot answer: internal error", hint="see: journalctl -u kauditd"))
        response.headers["Server"] = "kauditd"
        response.force_close()
        return response

    def _identify(self, request: web.Request) -> Caller:
        transport = request.transport
        peer = self._read_peer(transport.get_extra_info("socket")) if transport is not None else None
        role = self.judge(peer)
        if peer is None or role is Role.NOBODY:
            raise denied()
        return Caller(peer=peer, role=role)

    def _check_headers(self, request: web.Request, caller: Caller) -> None:
        reason = forbidden_header(request.headers, request.headers.getall("Host", []))
        if reason:
            _log_denial(caller, request.method, request.path, reason.replace(" ", "-").lower())
            raise Rejected(f"cannot serve a request with this {reason}", kind="forbidden", hint="use kauditctl")
        if request.version not in _VERSIONS:
            raise Rejected("cannot serve this HTTP version: not supported", hint="use HTTP/1.1")
        check_target(request.raw_path)

    def _check_access(self, row: Row, caller: Caller) -> None:
        if not row.access.allows(caller.role):
            _log_denial(caller, row.method, row.path, "root-only")
            raise Rejected(
                f"cannot {row.path.rpartition('/')[2]}: only root may", kind="forbidden", hint="try with sudo"
            )

    async def _read_call(self, row: Row, request: web.Request, caller: Caller) -> Call:
        check_framing(
            request.headers,
            length=request.content_length,
            takes_body=row.access is Access.WRITE,
            limit_bytes=self._limits.body_bytes,
        )
        query = read_query(request.query.items(), row.query)
        body = await self._read_body(row, request) if row.access is Access.WRITE else {}
        return Call(
            backend=self._backend,
            peer=caller.peer,
            query=query,
            body=body,
            item_id=int(request.match_info.get("id", "0")),
            wants_text=bool(row.result) and bool(row.text_type) and _prefers_text(request.headers.get("Accept", "")),
            now_unix_s=self._clock(),
        )

    async def _read_body(self, row: Row, request: web.Request) -> dict[str, float | str | None]:
        try:
            async with asyncio.timeout(self._limits.request_s * _PATIENCE):
                raw = await request.read()
        except TimeoutError as exc:
            raise Rejected("cannot read the body: too slow", status=408) from exc
        return read_body(raw, row.body, depth=self._limits.depth)

    async def _wait(self, row: Row, call: Call, request: web.Request, role: Role) -> Reply:
        if not self._waits.take(role):
            raise Rejected("cannot wait: too many are waiting", kind="unavailable", hint="ask without waiting")
        try:
            if isinstance(request.protocol, Exchange):
                request.protocol.connection.extend(call.number("timeout_s"))
            return await row.handler(call)
        finally:
            self._waits.give_back(role)

    def _time_for(self, row: Row, request: web.Request) -> float:
        """How long a write may keep its client waiting. A round of proof has more, and there is one at most."""
        if not row.is_round:
            return self._limits.request_s * _PATIENCE
        if any(task.get_name() == _task_name(row) for task in self._mutations):
            hint = "wait for it, or see: kauditctl status"
            raise Rejected("cannot start a round of proof: one is under way", kind="refused", hint=hint)
        if isinstance(request.protocol, Exchange):
            request.protocol.connection.allow(self._limits.round_s)
        return self._limits.round_s

    async def _mutate(self, row: Row, call: Call, time_s: float) -> Reply:
        """Runs a write as a task of its own: a client that goes away must not stop it half way.

        Where the engine takes longer than ``time_s``, the answer is the change that it has opened meanwhile.
        """
        before = _newest_id(self._backend)
        task = asyncio.create_task(self._carry_out(row, call), name=_task_name(row))
        self._mutations.add(task)
        task.add_done_callback(self._mutations.discard)
        done, _late = await asyncio.wait({task}, timeout=time_s)
        if done:
            return task.result()
        task.add_done_callback(_log_late_fault)
        started = next((change for change in self._backend.snapshot().changes if change.id > before), None)
        if started is None or row.result is not ActionView:
            raise Rejected(
                "cannot say yet how it ends: the work goes on",
                kind="unavailable",
                hint="see: kauditctl status" if row.is_round else "see: kauditctl history",
            )
        return Reply(result=ActionView(change=started))

    async def _carry_out(self, row: Row, call: Call) -> Reply:
        verb, uid = row.path.rpartition("/")[2], call.peer.uid
        try:
            reply = await row.handler(call)
        except KauditError as error:
            logger.warning("event=%s uid=%d outcome=%s", verb, uid, error.kind)
            raise
        except Exception:
            logger.warning("event=%s uid=%d outcome=internal", verb, uid)
            raise
        logger.info("event=%s uid=%d outcome=accepted", verb, uid)
        return reply


def _log_late_fault(task: asyncio.Task[Reply]) -> None:
    """Nobody waits for this task any more, so a bug in it is said here."""
    fault = None if task.cancelled() else task.exception()
    if fault is not None and not isinstance(fault, KauditError):
        logger.error("Cannot finish a request that went on without its client", exc_info=fault)


def _task_name(row: Row) -> str:
    return f"api {row.path}"


def _newest_id(backend: Backend) -> int:
    return max((change.id for change in backend.snapshot().changes), default=0)


def _respond(row: Row, reply: Reply) -> web.Response:
    if reply.text is not None:
        kind = CONTENT_TYPE if row.result is None else f"{row.text_type}; charset=utf-8"
        body = reply.text.encode("utf-8", "backslashreplace")
    else:
        kind = "application/json"
        body = wrap(encode(reply.result), status=reply.status)
    response = web.Response(body=body, status=reply.status, headers={"Content-Type": kind})
    if reply.healthy is not None:
        response.headers[EXIT_HEADER] = "0" if reply.healthy else "1"
    return response


def _respond_error(error: KauditError) -> web.Response:
    return web.Response(body=wrap_error(error), status=http_status(error), content_type="application/json")


def _from_http(error: web.HTTPException) -> KauditError:
    """What aiohttp itself refuses, in our words."""
    match error.status:
        case 404:
            return Rejected("cannot find this route: unknown", kind="not-found")
        case 405:
            return Rejected("cannot use this method here: not allowed", status=405)
        case 413:
            return Rejected("cannot read the body: too large", status=413)
        case status if status < 500:
            return Rejected("cannot serve the request: refused", status=status)
        case _:
            return KauditError("cannot answer: internal error")


def _prefers_text(accept: str) -> bool:
    return accept.partition(";")[0].strip().lower() == "text/plain"


def _log_denial(caller: Caller, method: str, path: str, reason: str) -> None:
    target = quote(f"{method} {path}", limit=64)
    logger.warning(
        'event=denied uid=%d gid=%d request="%s" reason=%s', caller.peer.uid, caller.peer.gid, target, reason
    )
