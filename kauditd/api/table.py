"""The one route table. What is not a row here cannot be reached, and no row lacks an access class.

A new route is a new row: path, method, who may use it, handler, the schema of its result, and every parameter it
takes. The OpenAPI document and the server's routes are both read from here.
"""

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from kauditd.api import handlers
from kauditd.api.access import Role
from kauditd.api.handlers import Call, Reply
from kauditd.api.inbound import Choice, Count, Seconds, Text
from kauditd.api.views import (
    ActionView,
    ChangesView,
    DriftView,
    HealthView,
    ProofView,
    StatusView,
    VersionView,
    WaitView,
    WindowsView,
)
from kauditd.core.model import Change, Verdict
from kauditd.core.windows import Window
from kauditd.engine.snapshot import PlanStatus, PolicyStatus

Handler = Callable[[Call], Awaitable[Reply]]

PAUSE_MAX_S = 30 * 86_400
NOTE_MAX_CHARACTERS = 1000
_LATEST_UNIX_S = 253_402_300_799  # the last second of the year 9999


class Access(enum.Enum):
    """Who may use a route; the value is what OpenAPI says about it."""

    READ = "members of the group and root"
    WRITE = "root only"

    def allows(self, role: Role) -> bool:
        """Whether a role passes. A role that is not named passes nothing."""
        return role is Role.ADMIN or (self is Access.READ and role is Role.READER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One route. ``text_type`` is the media type of a route that answers text: always, or on ``Accept: text/plain``
    where it has a ``result`` as well. ``is_wait`` marks a long poll, bounded by its ``timeout_s``. ``is_round`` marks a
    write that may take ``Limits.round_s`` and of which one is under way at most."""

    method: str
    path: str
    access: Access
    handler: Handler
    result: type | None
    summary: str
    query: tuple[Count | Choice, ...] = ()
    body: tuple[Seconds | Text, ...] = ()
    text_type: str = ""
    is_wait: bool = False
    is_round: bool = False
    statuses: tuple[int, ...] = (200,)


def _read(path: str, handler: Handler, result: type, summary: str, *, text_type: str = "") -> Row:
    return Row(
        method="GET",
        path=path,
        access=Access.READ,
        handler=handler,
        result=result,
        summary=summary,
        text_type=text_type,
    )


def _write(verb: str, handler: Handler, result: type, summary: str, *keys: Seconds | Text) -> Row:
    return Row(
        method="POST",
        path=f"/v1/{verb}",
        access=Access.WRITE,
        handler=handler,
        result=result,
        summary=summary,
        body=keys,
    )


def _wait(
    path: str, handler: Handler, result: type, summary: str, *, wait_s: int, query: tuple[Choice, ...] = ()
) -> Row:
    timeout = Count(name="timeout_s", text="Longest wait in seconds.", default=30, minimum=0, maximum=wait_s)
    return Row(
        method="GET",
        path=path,
        access=Access.READ,
        handler=handler,
        result=result,
        summary=summary,
        query=(*query, timeout),
        is_wait=True,
    )


def build_table(*, wait_s: int) -> tuple[Row, ...]:
    """Every route of the API. ``wait_s`` bounds the ``timeout_s`` of long polls."""
    colour = Choice(name="color", text="1 colours the text for a terminal.", default="0", words=("0", "1"))
    wanted = Choice(
        name="for", text="The verdict to wait for.", default="protected", words=tuple(word.value for word in Verdict)
    )
    detail = Choice(name="detail", text="1 gives every change its timeline.", default="0", words=("0", "1"))
    limit = Count(name="limit", text="How many changes at most.", default=100, minimum=1, maximum=1000)
    duration = Seconds(name="duration_s", text="How long to pause; null: until resume.", minimum=1, maximum=PAUSE_MAX_S)
    since = Count(name="since_unix_s", text="Leave out windows that had ended before.", default=0, minimum=0,
                  maximum=_LATEST_UNIX_S)  # fmt: skip
    shown = Count(name="limit", text="How many windows at most.", default=100, minimum=1, maximum=1000)
    notes = tuple(
        Text(name=name, text=f"{text} Null: as it is.", limit=NOTE_MAX_CHARACTERS)
        for name, text in (
            ("root_cause", "Why it happened."),
            ("prevention", "What keeps it from coming again."),
            ("owner", "Who sees to that."),
        )
    )
    return (
        Row(method="GET", path="/v1/status", access=Access.READ, handler=handlers.get_status, result=StatusView,
            summary="The verdict, its reasons and the facts behind it", query=(colour,), text_type="text/plain"),
        Row(method="GET", path="/v1/health", access=Access.READ, handler=handlers.get_health, result=HealthView,
            summary="200 where the node is protected, else 503", statuses=(200, 503)),
        _read("/v1/drift", handlers.get_drift, DriftView, "Every difference between desired and observed"),
        _read("/v1/plan", handlers.get_plan, PlanStatus, "What apply would do now, with holds and text diff"),
        Row(method="GET", path="/v1/changes", access=Access.READ, handler=handlers.list_changes, result=ChangesView,
            summary="Executed changes, the newest first", query=(limit, detail), text_type="text/plain"),
        _read("/v1/changes/{id}", handlers.get_change, Change, "One change with its timeline", text_type="text/plain"),
        _wait("/v1/changes/{id}/wait", handlers.wait_change, Change, "One change once it has ended", wait_s=wait_s),
        Row(method="GET", path="/v1/windows", access=Access.READ, handler=handlers.list_windows, result=WindowsView,
            summary="Spans without proven auditing, open ones first, and the coverage", query=(since, shown),
            text_type="text/plain"),
        _write("windows/{id}/annotate", handlers.annotate_window, Window, "Note root cause, prevention and owner",
               *notes),
        _read("/v1/proof", handlers.get_proof, ProofView, "The last evidence that events arrive, or what failed"),
        _read("/v1/policy", handlers.get_policy, PolicyStatus, "The published policy with its text",
              text_type="text/plain"),
        _read("/v1/version", handlers.get_version, VersionView, "The version of the daemon and of the API"),
        _wait("/v1/wait", handlers.wait_verdict, WaitView, "The status once the verdict is the one asked for",
              wait_s=wait_s, query=(wanted,)),
        Row(method="GET", path="/metrics", access=Access.READ, handler=handlers.get_metrics, result=None,
            summary="OpenMetrics 1.0 exposition", text_type="application/openmetrics-text"),
        _write("apply", handlers.apply, ActionView, "Carry out the plan now, ending a pause or a disable"),
        _write("rollback", handlers.rollback, ActionView, "Go back to the manifest before the last change"),
        _write("disable", handlers.disable, ActionView, "Take our lines out of the manifest and stay out"),
        _write("pause", handlers.pause, StatusView, "Write nothing for a while; observation goes on", duration),
        _write("resume", handlers.resume, StatusView, "End a pause"),
        Row(method="POST", path="/v1/canary", access=Access.WRITE, handler=handlers.canary, result=ProofView,
            summary="Prove now that events arrive; one round at a time", text_type="text/plain", is_round=True),
    )  # fmt: skip
