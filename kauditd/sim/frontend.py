"""The HTTPS side of the stand-in API server: authentication, authorization, audit, and the few answers that matter.

The filters stand in upstream's order (apiserver ``pkg/server/config.go``): shutdown refusals before audit, audit
around authentication failures, audit before authorization.
"""

import json
import select
import socket
import ssl
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import ThreadingMixIn

from kauditd.sim import timing
from kauditd.sim.audit import AuditedRequest, AuditTrail
from kauditd.sim.container import Container, Identity
from kauditd.sim.requestinfo import RequestInfo, read_request_info

ANONYMOUS = Identity(username="system:anonymous", groups=("system:unauthenticated",))
PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
PUBLIC_REASON = (
    'RBAC: allowed by ClusterRoleBinding "system:public-info-viewer" of ClusterRole "system:public-info-viewer" '
    'to Group "system:unauthenticated"'
)
USER_AGENT_LIMIT = 1024


def failure(code: int, reason: str, message: str, details: Mapping[str, str] | None = None) -> dict[str, object]:
    """The part of a metav1.Status that also stands in an event's ``responseStatus``, in the struct's key order."""
    status: dict[str, object] = {"status": "Failure", "message": message, "reason": reason}
    if details is not None:
        status["details"] = dict(details)
    return {**status, "code": code}


class ApiFrontend:
    """State shared by all connections: how old the server is, whether it is stopping, which watches are open."""

    def __init__(self, *, container: Container, trail: AuditTrail, anonymous: bool) -> None:
        self.container = container
        self.trail = trail
        self.anonymous = anonymous
        self.stopping = threading.Event()
        self.end_watches = threading.Event()
        self._lock = threading.Lock()
        self._watches = 0

    def age_s(self) -> float:
        """Simulated seconds since the container was started."""
        return (time.monotonic() - self.container.started_monotonic_s) * self.container.speed

    @property
    def watches(self) -> int:
        """How many long-running requests are open."""
        with self._lock:
            return self._watches

    def count_watch(self, difference: int) -> None:
        """One watch opened (+1) or ended (-1)."""
        with self._lock:
            self._watches += difference

    def health(self, path: str) -> tuple[int, str]:
        """Status and body of /livez, /readyz and /healthz: the RBAC hook comes last at start, etcd may be down."""
        checks = {"ping": True, "log": True, "etcd": not Path(self.container.faults_dir, "etcd-down").exists()}
        checks["poststarthook/rbac/bootstrap-roles"] = self.age_s() >= timing.READY_S
        if path == "/readyz":
            checks["shutdown"] = not self.stopping.is_set()
        if all(checks.values()):
            return 200, "ok"
        rows = [f"[+]{name} ok" if good else f"[-]{name} failed: reason withheld" for name, good in checks.items()]
        return 500, "\n".join([*rows, f"{path.strip('/')} check failed", ""])


class ApiServer(ThreadingMixIn, HTTPServer):
    """One thread per connection; the TLS handshake happens in that thread, so that a silent client blocks nobody."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], *, frontend: ApiFrontend, tls: ssl.SSLContext) -> None:
        self.frontend = frontend
        self.tls = tls
        super().__init__(address, ApiHandler)

    def server_bind(self) -> None:
        """Bind without the reverse name lookup that HTTPServer makes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        """A broken connection is one line on standard error, as in Go's net/http."""
        del request
        print(f"http: TLS handshake error from {client_address}: {sys.exc_info()[1]}", file=sys.stderr, flush=True)


class ApiHandler(BaseHTTPRequestHandler):
    """One connection. Every method goes through ``_serve``."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True  # headers and body are two writes; without this an answer takes 40 ms
    server: ApiServer

    def setup(self) -> None:
        """Wrap the connection in TLS before anything is read."""
        self.request.settimeout(10)
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        """Flush and close; the peer may be gone."""
        with suppress(OSError):
            super().finish()
        with suppress(OSError):
            self.request.close()

    def _serve(self) -> None:
        frontend = self.server.frontend
        length = self.headers.get("Content-Length", "0")
        body = self.rfile.read(int(length)) if length.isdigit() else b""
        if frontend.stopping.is_set():
            # The shutdown filter answers before the audit filter: this is never audited.
            self.close_connection = True
            self._send_status(failure(503, "ServiceUnavailable", "apiserver is shutting down"), "")
            return
        info = read_request_info(self.command, self.path)
        request = AuditedRequest(
            audit_id=self.headers.get("Audit-ID") or str(uuid.uuid4()),
            uri=self.path,
            info=info,
            user={},
            source_ip=str(self.client_address[0]),
            user_agent=_cut(self.headers.get("User-Agent", "")),
            received=datetime.now(UTC),
            request_object=_json_or_none(body),
        )
        user = self._authenticate()
        if user is None:
            frontend.trail.evaluate(request)
            status = failure(401, "Unauthorized", "Unauthorized")
            frontend.trail.emit(request, "ResponseStarted", status)
            self._send_status(status, request.audit_id)
            return
        request.user = _user_fields(user)
        if not frontend.trail.receive(request):
            text = f'Internal Server Error: "{self.path}": failed to store audit event\n'
            self._send(500, text.encode(), "text/plain; charset=utf-8", request.audit_id)
            return
        self._answer(request, user)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """http.server looks for ``do_METHOD``; every method is served, as the filters do not care for it."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _authenticate(self) -> Identity | None:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.server.frontend.container.tokens.get(token.strip())
        return ANONYMOUS if self.server.frontend.anonymous else None

    def _answer(self, request: AuditedRequest, user: Identity) -> None:
        frontend = self.server.frontend
        info = request.info
        allowed, reason = self._authorize(info, user)
        request.annotations["authorization.k8s.io/decision"] = "allow" if allowed else "forbid"
        request.annotations["authorization.k8s.io/reason"] = reason
        if not allowed:
            status = _forbidden(info, user)
            request.response_object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}
            self._send_status(status, request.audit_id, before_end=lambda: self._complete(request, status))
            return
        if info.long_running:
            self._watch(request)
            return
        code, payload, kind = self._resource(info, request) if info.is_resource else self._special(info)
        outcome: dict[str, object] = {"code": code}
        if code >= 400 and info.is_resource:
            outcome = _not_found(info)
        frontend.trail.emit(request, "ResponseComplete", outcome)
        self._send(code, payload, kind, request.audit_id)

    def _complete(self, request: AuditedRequest, status: Mapping[str, object]) -> None:
        self.server.frontend.trail.emit(request, "ResponseComplete", status)

    def _authorize(self, info: RequestInfo, user: Identity) -> tuple[bool, str]:
        if {"system:masters", "system:nodes"} & set(user.groups):
            return True, ""
        frontend = self.server.frontend
        if frontend.age_s() < timing.AUTHORIZED_S or info.is_resource:
            return False, ""
        if info.path in PUBLIC_PATHS or info.path.startswith(("/livez/", "/readyz/")):
            return True, PUBLIC_REASON
        # On a real cluster /metrics needs a credential; on a simulated node reading the counters needs none.
        return info.path == "/metrics", ""

    def _special(self, info: RequestInfo) -> tuple[int, bytes, str]:
        frontend = self.server.frontend
        plain = "text/plain; charset=utf-8"
        if info.path == "/version":
            version = frontend.container.version
            major, minor = [*version.lstrip("v").split("."), "", ""][:2]
            body = json.dumps(
                {"major": major, "minor": minor, "gitVersion": version, "platform": "linux/amd64"}, indent=2
            )
            return 200, body.encode(), "application/json"
        if info.path == "/metrics":
            return 200, frontend.trail.metrics().encode(), "text/plain; version=0.0.4; charset=utf-8"
        if info.path.startswith(("/livez", "/readyz", "/healthz")):
            code, text = frontend.health("/" + info.path.split("/")[1])
            return code, text.encode(), plain
        return 404, b"404 page not found\n", plain

    def _resource(self, info: RequestInfo, request: AuditedRequest) -> tuple[int, bytes, str]:
        kind = "application/json"
        version = f"{info.group}/{info.version}" if info.group else info.version
        if info.verb == "list":
            answer: object = {"kind": "List", "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": []}
            code = 200
        elif info.verb in ("create", "update", "patch"):
            code, answer = (201 if info.verb == "create" else 200), request.request_object or {}
        elif info.verb == "deletecollection":
            code, answer = 200, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        else:
            code, answer = 404, {"kind": "Status", "apiVersion": "v1", "metadata": {}, **_not_found(info)}
        request.response_object = answer
        return code, json.dumps(answer).encode() + b"\n", kind

    def _watch(self, request: AuditedRequest) -> None:
        """Hold the request open until the client leaves or a stopping server ends it; no event for a killed one."""
        frontend = self.server.frontend
        frontend.count_watch(+1)
        try:
            self.send_response_only(200)
            self.send_header("Audit-Id", request.audit_id)
            self.send_header("Content-Type", "application/json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            frontend.trail.emit(request, "ResponseStarted", {"code": 200})
            while not frontend.end_watches.wait(0.005):
                readable, _, _ = select.select([self.connection], [], [], 0.02)
                if readable and not self.connection.recv(1):
                    break
            with suppress(OSError):
                self.wfile.write(b"0\r\n\r\n")
        except OSError:
            pass
        finally:
            self.close_connection = True
            frontend.trail.emit(request, "ResponseComplete", {"code": 200})
            frontend.count_watch(-1)

    def _send_status(self, status: Mapping[str, object], audit_id: str, *, before_end: object = None) -> None:
        if callable(before_end):
            before_end()
        code = status["code"]
        body = json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, **status}).encode() + b"\n"
        self._send(code if isinstance(code, int) else 500, body, "application/json", audit_id)

    def _send(self, code: int, body: bytes, kind: str, audit_id: str) -> None:
        self.send_response_only(code)
        if audit_id:
            self.send_header("Audit-Id", audit_id)
        self.send_header("Cache-Control", "no-cache, private")
        self.send_header("Content-Type", kind)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _user_fields(user: Identity) -> dict[str, object]:
    fields: dict[str, object] = {"username": user.username}
    if user.uid:
        fields["uid"] = user.uid
    return {**fields, "groups": list(user.groups)}


def _forbidden(info: RequestInfo, user: Identity) -> dict[str, object]:
    if not info.is_resource:
        message = f'forbidden: User "{user.username}" cannot {info.verb} path "{info.path}"'
        return failure(403, "Forbidden", message, {})
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    kind = f"{info.resource}.{info.group}" if info.group else info.resource
    subject = f'{kind} "{info.name}"' if info.name else kind
    scope = f'in the namespace "{info.namespace}"' if info.namespace else "at the cluster scope"
    message = (
        f'{subject} is forbidden: User "{user.username}" cannot {info.verb} resource "{resource}" '
        f'in API group "{info.group}" {scope}'
    )
    return failure(403, "Forbidden", message, _details(info))


def _not_found(info: RequestInfo) -> dict[str, object]:
    kind = f"{info.resource}.{info.group}" if info.group else info.resource
    return failure(404, "NotFound", f'{kind} "{info.name}" not found', _details(info))


def _details(info: RequestInfo) -> dict[str, str]:
    pairs = (("name", info.name), ("group", info.group), ("kind", info.resource))
    return {key: value for key, value in pairs if value}


def _json_or_none(body: bytes) -> object:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return None


def _cut(user_agent: str) -> str:
    return user_agent if len(user_agent) <= USER_AGENT_LIMIT else user_agent[:USER_AGENT_LIMIT] + "...TRUNCATED"
