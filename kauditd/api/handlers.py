"""One function per route: a call in, a reply out. They know neither HTTP nor each other and hold no state."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from kauditd._version import VERSION
from kauditd.api.access import Peer
from kauditd.api.backend import Backend
from kauditd.api.envelope import Rejected
from kauditd.api.metrics import metrics_text
from kauditd.api.render import change_text, changes_text, proof_text, status_text, windows_text
from kauditd.api.views import (
    API_LEVEL,
    ActionView,
    ChangesView,
    DriftView,
    HealthView,
    VersionView,
    WaitView,
    WindowsView,
    newest_first,
    proof_view,
    status_view,
)
from kauditd.core import windows as ledger_windows
from kauditd.core.model import Change, Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One vetted request. ``query`` and ``body`` hold exactly the keys that the route's row names."""

    backend: Backend
    peer: Peer
    query: Mapping[str, int | str]
    body: Mapping[str, float | str | None]
    item_id: int = 0
    wants_text: bool = False
    now_unix_s: float = 0.0

    def number(self, name: str) -> int:
        """A whole-number parameter of the route."""
        return int(self.query[name])

    def word(self, name: str) -> str:
        """A word parameter of the route."""
        return str(self.query[name])

    def seconds(self, name: str) -> float | None:
        """A body key of the route that is a number of seconds; None where it was left out."""
        value = self.body[name]
        return value if isinstance(value, float) else None

    def text(self, name: str) -> str | None:
        """A body key of the route that is a text; None where it was left out."""
        value = self.body[name]
        return value if isinstance(value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a handler answers: a value of the API, or finished text. ``healthy`` becomes the exit header."""

    result: object = None
    text: str | None = None
    status: int = 200
    healthy: bool | None = None


async def get_status(call: Call) -> Reply:
    """The verdict, its reasons and the facts behind it."""
    snapshot = call.backend.snapshot()
    view = status_view(snapshot)
    healthy = snapshot.verdict is Verdict.PROTECTED
    if call.wants_text:
        text = status_text(view, now_unix_s=call.now_unix_s, colour=call.word("color") == "1")
        return Reply(text=text, healthy=healthy)
    return Reply(result=view, healthy=healthy)


async def get_health(call: Call) -> Reply:
    """200 where the node is protected, else 503."""
    snapshot = call.backend.snapshot()
    healthy = snapshot.verdict is Verdict.PROTECTED
    view = HealthView(verdict=snapshot.verdict, sentence=snapshot.sentence)
    return Reply(result=view, status=200 if healthy else 503, healthy=healthy)


async def get_drift(call: Call) -> Reply:
    """Every difference between desired and observed."""
    return Reply(result=DriftView(drift=call.backend.snapshot().drift))


async def get_plan(call: Call) -> Reply:
    """What apply would do now, and what holds it back."""
    return Reply(result=call.backend.snapshot().plan)


async def get_proof(call: Call) -> Reply:
    """The last evidence that events arrive, or what the newest round found wrong."""
    view = proof_view(call.backend.snapshot())
    return Reply(result=view, healthy=view.proven)


async def get_policy(call: Call) -> Reply:
    """The published policy with its text, or the text alone."""
    policy = call.backend.snapshot().policy
    return Reply(text=policy.text) if call.wants_text else Reply(result=policy)


async def get_metrics(call: Call) -> Reply:
    """OpenMetrics 1.0 text."""
    return Reply(text=metrics_text(call.backend.snapshot()))


async def get_version(_call: Call) -> Reply:
    """The version of the daemon and of the API."""
    return Reply(result=VersionView(version=VERSION, api_level=API_LEVEL))


async def list_changes(call: Call) -> Reply:
    """The newest changes first."""
    changes = newest_first(call.backend.snapshot().changes)
    shown = changes[: call.number("limit")]
    if call.wants_text:
        return Reply(text=changes_text(shown, now_unix_s=call.now_unix_s, detailed=call.word("detail") == "1"))
    return Reply(result=ChangesView(total=len(changes), changes=shown))


async def get_change(call: Call) -> Reply:
    """One change with its timeline."""
    reply = _change_reply(await call.backend.wait_change(call.item_id, timeout_s=0), call.item_id)
    if call.wants_text and isinstance(reply.result, Change):
        return replace(reply, result=None, text=change_text(reply.result, now_unix_s=call.now_unix_s))
    return reply


async def wait_change(call: Call) -> Reply:
    """One change once it has ended, or as it stands at the timeout."""
    change = await call.backend.wait_change(call.item_id, timeout_s=call.number("timeout_s"))
    return _change_reply(change, call.item_id)


async def list_windows(call: Call) -> Reply:
    """Open windows first, then the newest; ``total`` counts all that ``since_unix_s`` lets through."""
    snapshot = call.backend.snapshot()
    found = ledger_windows.newest_first(snapshot.windows, since_unix_s=call.number("since_unix_s"))
    view = WindowsView(total=len(found), windows=found[: call.number("limit")], coverage=snapshot.coverage)
    return Reply(text=windows_text(view, now_unix_s=call.now_unix_s)) if call.wants_text else Reply(result=view)


async def annotate_window(call: Call) -> Reply:
    """Set people's columns of a window; a key that is left out or null leaves its column as it is."""
    window = await call.backend.annotate(
        call.item_id,
        peer_uid=call.peer.uid,
        root_cause=call.text("root_cause"),
        prevention=call.text("prevention"),
        owner=call.text("owner"),
    )
    if window is None:
        raise Rejected(
            f"cannot annotate window {call.item_id}: unknown", kind="not-found", hint="see: kauditctl windows"
        )
    return Reply(result=window)


async def wait_verdict(call: Call) -> Reply:
    """The status once the verdict is the one asked for, or as it stands at the timeout."""
    wanted = Verdict(call.word("for"))
    deadline_s = time.monotonic() + call.number("timeout_s")
    snapshot = call.backend.snapshot()
    while snapshot.verdict is not wanted and (left_s := deadline_s - time.monotonic()) > 0:
        snapshot = await call.backend.wait_snapshot(snapshot.sequence, timeout_s=left_s)
        await asyncio.sleep(0)
    reached = snapshot.verdict is wanted
    return Reply(result=WaitView(reached=reached, status=status_view(snapshot)), healthy=reached)


async def apply(call: Call) -> Reply:
    """Carry out the plan now."""
    return Reply(result=ActionView(change=await call.backend.apply(peer_uid=call.peer.uid)))


async def rollback(call: Call) -> Reply:
    """Go back to the manifest before the last change."""
    return Reply(result=ActionView(change=await call.backend.rollback(peer_uid=call.peer.uid)))


async def disable(call: Call) -> Reply:
    """Take our lines out and stay out."""
    return Reply(result=ActionView(change=await call.backend.disable(peer_uid=call.peer.uid)))


async def pause(call: Call) -> Reply:
    """Write nothing for a while."""
    snapshot = await call.backend.pause(peer_uid=call.peer.uid, duration_s=call.seconds("duration_s"))
    return Reply(result=status_view(snapshot))


async def resume(call: Call) -> Reply:
    """End a pause."""
    return Reply(result=status_view(await call.backend.resume(peer_uid=call.peer.uid)))


async def canary(call: Call) -> Reply:
    """A round of proof now; evidence from an earlier one does not answer it."""
    before = call.backend.snapshot().proof
    view = proof_view(await call.backend.canary(peer_uid=call.peer.uid), before=before)
    if call.wants_text:
        return Reply(text=proof_text(view), healthy=view.proven)
    return Reply(result=view, healthy=view.proven)


def _change_reply(change: Change | None, change_id: int) -> Reply:
    if change is None:
        raise Rejected(f"cannot show change {change_id}: unknown", kind="not-found", hint="see: kauditctl history")
    kept = change.outcome in {Outcome.PROVEN, Outcome.UNPROVEN}
    return Reply(result=change, healthy=None if change.outcome is Outcome.OPEN else kept)
