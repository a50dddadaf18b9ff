"""The one shape of every JSON answer, and what an error becomes on the wire.

``{"type": "sync", "status": 200, "version": "0.1.0", "result": ...}``; for an error the type is ``error`` and the
result is ``{"kind", "message", "hint"}``. A kind has one HTTP status unless the error brings its own.
"""

from kauditd._version import VERSION
from kauditd.api.encode import Json, dump
from kauditd.errors import KauditError

EXIT_HEADER = "Kauditd-Exit"
"""0 for yes, 1 for no: what a command line that prints this answer should exit with."""

_STATUS_OF_KIND = {
    "bad-request": 400,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,
    "refused": 409,
    "unavailable": 503,
    "bad-settings": 422,
    "bad-policy": 422,
    "bad-manifest": 422,
}


class Rejected(KauditError):
    """A request that the API itself turns away; ``status`` is its HTTP status (0: the kind's own)."""

    def __init__(self, message: str, *, kind: str = "bad-request", status: int = 0, hint: str = "") -> None:
        super().__init__(message, kind=kind, hint=hint)
        self.status = status


def http_status(error: KauditError) -> int:
    """The HTTP status of an error; 500 for a kind that is our own fault."""
    own = error.status if isinstance(error, Rejected) else 0
    return own or _STATUS_OF_KIND.get(error.kind, 500)


def wrap(result: Json, *, status: int = 200) -> bytes:
    """The bytes of a successful answer."""
    return dump({"type": "sync", "status": status, "version": VERSION, "result": result})


def wrap_error(error: KauditError) -> bytes:
    """The bytes of an error; the message is ours and never holds a traceback."""
    result: Json = {"kind": error.kind, "message": error.message, "hint": error.hint}
    return dump({"type": "error", "status": http_status(error), "version": VERSION, "result": result})


def raw_refusal(error: KauditError) -> bytes:
    """A whole HTTP reply for a connection that gets no request handler at all."""
    body, status = wrap_error(error), http_status(error)
    reason = {403: "Forbidden", 503: "Service Unavailable"}.get(status, "Refused")
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body


def denied() -> Rejected:
    """What a stranger hears: nothing but no."""
    return Rejected("cannot answer: permission denied", kind="forbidden", hint="try with sudo")
