"""A backend without an engine, a server in a thread, and bare clients, shared by the tests of the API and the CLI."""

import asyncio
import contextlib
import json
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from kauditd.api.access import PeerReader, read_peer
from kauditd.api.app import Server
from kauditd.api.limits import Limits
from kauditd.core.model import (
    ApiServerProcess,
    Change,
    ChangeEvent,
    Digest,
    Drift,
    Flag,
    Outcome,
    Reason,
    Severity,
    Verdict,
)
from kauditd.core.trail import Trail, TrailState
from kauditd.core.windows import Coverage, SpanKind, Window, WindowCause, sum_up
from kauditd.engine.snapshot import (
    PlanStatus,
    PlanStep,
    PolicyStatus,
    ProofStatus,
    SettingsStatus,
    Snapshot,
    TargetStatus,
    WatchStatus,
)

NOW_UNIX_S = 1_795_525_212.0  # 2026-11-24 13:00:12 UTC
BEFORE = Digest("a" * 64)
AFTER = Digest("b" * 64)


def make_change(change_id: int = 1, *, outcome: Outcome = Outcome.PROVEN, reason: str = "") -> Change:
    """A change that took 42 seconds."""
    ended = outcome is not Outcome.OPEN
    return Change(
        id=change_id,
        cause="repair",
        target="/etc/kubernetes/manifests/kube-apiserver.yaml",
        summary="2 flags, 2 mounts",
        before=BEFORE,
        after=AFTER,
        started_unix_s=NOW_UNIX_S - 100,
        finished_unix_s=NOW_UNIX_S - 58 if ended else None,
        outcome=outcome,
        reason=reason,
        events=(
            ChangeEvent(at_unix_s=NOW_UNIX_S - 100, what="written", detail="2 flags"),
            ChangeEvent(at_unix_s=NOW_UNIX_S - 58, what="proven"),
        ),
    )


def make_window(window_id: int = 1, **fields: object) -> Window:
    """A window of 41 s, two hours ago, closed and repaired unless ``fields`` say otherwise."""
    at_unix_s = NOW_UNIX_S - 7200
    given = {
        "kind": SpanKind.UNAUDITED,
        "cause": WindowCause.UPGRADE_OVERWROTE,
        "start_unix_s": at_unix_s,
        "end_unix_s": at_unix_s + 41,
        "duration_s": 41.0,
        "detected_unix_s": at_unix_s + 3,
        "detection_delay_s": 3.0,
        "detected_by": "the process has no --audit-log-path",
        "repaired_by": "change 12, repair",
        "repaired_unix_s": at_unix_s + 4,
        "resumed_audit_id": "6f1c2d3e",
        "resumed_unix_s": at_unix_s + 41,
        **fields,
    }
    return Window(id=window_id, **given)


def make_coverage() -> Coverage:
    """A node that missed 41 s in thirty days, and 60 s more that nobody watched."""
    month = {SpanKind.PROVEN: 2_591_899.0, SpanKind.UNAUDITED: 41.0, SpanKind.UNKNOWN: 60.0, SpanKind.NO_SERVER: 95.0}
    return Coverage(
        since_unix_s=NOW_UNIX_S - 40 * 86_400,
        last_day=sum_up({SpanKind.PROVEN: 86_400.0}),
        last_30_days=sum_up(month),
        total=sum_up({**month, SpanKind.PROVEN: 3_455_899.0}),
        pending_s=12.0,
        unaudited_s_by_cause={"upgrade-overwrote": 41.0},
    )


def make_evidence(audit_id: str = "6f1c2d3e", *, age_s: float = 12.0) -> Trail:
    """A round that saw its event after 0.4 ms."""
    return Trail(
        taken_unix_s=NOW_UNIX_S - age_s,
        pid=4711,
        started_unix_s=NOW_UNIX_S - 3600,
        state=TrailState.PROVEN,
        text=f"event {audit_id} was in the log 0 ms after it was asked for",
        audit_id=audit_id,
        uri="/version",
        file="/var/log/kubernetes/audit/audit.log",
        offset_bytes=8192,
        latency_ms=0.4,
    )


def make_proof(evidence: Trail | None = None) -> ProofStatus:
    """What the engine tells after a round that saw its event."""
    seen = evidence or make_evidence()
    counters = "the counters and the log agree: 1204 lines"
    return ProofStatus(proven_unix_s=seen.taken_unix_s, what=seen.text, evidence=seen, counters=counters)


FAILED_PROOF = ProofStatus(
    proven_unix_s=None,
    what="the event of 77ab is not in the file 3.0 s after the answer",
    code="canary-lost",
    hint="kauditctl doctor",
    counters="not compared yet",
)


def make_snapshot(
    *, verdict: Verdict = Verdict.PROTECTED, changes: tuple[Change, ...] = (), sequence: int = 7
) -> Snapshot:
    """A node with every field filled in."""
    reasons = () if verdict is Verdict.PROTECTED else (
        Reason(code="policy-stale", severity=Severity.WARNING, text="the running policy is not the published one",
               hint="kauditctl apply", since_unix_s=NOW_UNIX_S - 180),
        Reason(code="log-silent", severity=Severity.CRITICAL, text="no event for 90 s"),
    )  # fmt: skip
    flag = Flag(name="audit-log-path", value="/var/log/kubernetes/audit/audit.log")
    return Snapshot(
        sequence=sequence,
        at_unix_s=NOW_UNIX_S - 2,
        started_unix_s=NOW_UNIX_S - 7300,
        version="0.1.0",
        verdict=verdict,
        since_unix_s=NOW_UNIX_S - 12,
        sentence="The API server writes audit events.",
        reasons=reasons,
        mode="enforce",
        paused_until_unix_s=None,
        disabled=False,
        contested=False,
        target=TargetStatus(kind="static-pod", path="/etc/kubernetes/manifests/kube-apiserver.yaml", present=True,
                            image="registry.example/kube-apiserver:v1.36.3", version="v1.36.3", digest=AFTER,
                            address="10.0.0.1", port=6443),
        process=ApiServerProcess(pid=4711, started_unix_s=NOW_UNIX_S - 3600, argv=("kube-apiserver", str(flag)),
                                 flags=(flag,)),
        policy=PolicyStatus(source="profile default", digest=AFTER,
                            path="/etc/kubernetes/audit/policy-bbbbbbbbbbbb.yaml",
                            text='apiVersion: "audit.k8s.io/v1"\nkind: "Policy"\n', rule_count=6),
        settings=SettingsStatus(path="/etc/kauditd/kauditd.yaml", loaded_unix_s=NOW_UNIX_S - 7300,
                                values={"mode": "enforce", "log.max_backups": 10}),
        drift=(Drift(code="flag-missing", subject="audit-log-path", severity=Severity.CRITICAL, text="not set",
                     repairable=True),),
        plan=PlanStatus(steps=(PlanStep(name="edit", do="add 2 flags", undo="restore", proof="canary"),),
                        diff="--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
                        holds=(Reason(code="kubelet-young", severity=Severity.INFO, text="up for 10 s"),)),
        watch=WatchStatus(mode="inotify", rearm_total=3),
        proof=make_proof(),
        changes=changes,
        counters={"cycles_total": 42, "canary_seconds": 0.25},
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class FakeBackend:
    """Answers from ``current`` and keeps a list of every write. ``outcome`` is how a started change ends."""

    current: Snapshot = field(default_factory=make_snapshot)
    calls: list[tuple[str, int, float | None]] = field(default_factory=list)
    outcome: Outcome = Outcome.PROVEN
    open_waits: int = 0
    reason: str = ""
    fault: Exception | None = None
    nothing_to_do: bool = False
    act_delay_s: float = 0.0
    ended: int = 0
    round: ProofStatus = field(default_factory=lambda: make_proof(make_evidence("9b2e4c1a", age_s=0)))

    def snapshot(self) -> Snapshot:
        if isinstance(self.fault, RuntimeError):
            raise self.fault
        return self.current

    def publish(self, **changes: object) -> None:
        self.current = replace(self.current, sequence=self.current.sequence + 1, **changes)

    async def _act(self, verb: str, peer_uid: int, duration_s: float | None = None) -> Change | None:
        self.calls.append((verb, peer_uid, duration_s))
        await asyncio.sleep(self.act_delay_s)
        self.ended += 1
        if self.fault:
            raise self.fault
        if self.nothing_to_do:
            return None
        change = make_change(len(self.current.changes) + 1, outcome=Outcome.OPEN)
        self.publish(changes=(*self.current.changes, change))
        return change

    async def apply(self, *, peer_uid: int) -> Change | None:
        return await self._act("apply", peer_uid)

    async def rollback(self, *, peer_uid: int) -> Change | None:
        return await self._act("rollback", peer_uid)

    async def disable(self, *, peer_uid: int) -> Change | None:
        return await self._act("disable", peer_uid)

    async def pause(self, *, peer_uid: int, duration_s: float | None) -> Snapshot:
        self.calls.append(("pause", peer_uid, duration_s))
        self.publish(paused_until_unix_s=NOW_UNIX_S + (duration_s or 0))
        return self.current

    async def resume(self, *, peer_uid: int) -> Snapshot:
        self.calls.append(("resume", peer_uid, None))
        self.publish(paused_until_unix_s=None)
        return self.current

    async def canary(self, *, peer_uid: int) -> Snapshot:
        self.calls.append(("canary", peer_uid, None))
        await asyncio.sleep(self.act_delay_s)
        self.ended += 1
        if self.fault:
            raise self.fault
        self.publish(proof=self.round)
        return self.current

    async def annotate(
        self, window_id: int, *, peer_uid: int, root_cause: str | None, prevention: str | None, owner: str | None
    ) -> Window | None:
        self.calls.append(("annotate", peer_uid, None))
        notes = {"root_cause": root_cause, "prevention": prevention, "owner": owner}
        given = {name: text for name, text in notes.items() if text is not None}
        noted = {w.id: replace(w, **given) if w.id == window_id else w for w in self.current.windows}
        self.publish(windows=tuple(noted.values()))
        return noted.get(window_id)

    async def wait_change(self, change_id: int, *, timeout_s: float) -> Change | None:
        known = {change.id: change for change in self.current.changes}
        change = known.get(change_id)
        if change is None or change.outcome is not Outcome.OPEN or timeout_s == 0:
            return change
        if self.open_waits:  # stays open for that many slices
            self.open_waits -= 1
            await asyncio.sleep(min(timeout_s, 0.05))
            return change
        ended = make_change(change_id, outcome=self.outcome, reason=self.reason)
        self.publish(changes=tuple(ended if c.id == change_id else c for c in self.current.changes))
        return ended

    async def wait_snapshot(self, after_sequence: int, *, timeout_s: float) -> Snapshot:
        for _tick in range(int(timeout_s / 0.01) + 1):
            if self.current.sequence > after_sequence:
                break
            await asyncio.sleep(0.01)
        return self.current


@contextlib.contextmanager
def serving(
    path: Path,
    backend: FakeBackend,
    *,
    group_id: int | None = None,
    limits: Limits | None = None,
    reader: PeerReader = read_peer,
) -> Iterator[Server]:
    """A real ``Server`` on ``path``, in a thread with a loop of its own."""
    loop = asyncio.new_event_loop()
    server = Server(backend, group_id=group_id, limits=limits, read_peer=reader, clock=lambda: NOW_UNIX_S)
    thread = threading.Thread(target=loop.run_forever, name="api server", daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(server.start(str(path)), loop).result(10)
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    def result(self) -> dict[str, object]:
        document = json.loads(self.body)
        assert document["status"] == self.status
        assert document["version"] == "0.1.0"
        assert set(document) == {"type", "status", "version", "result"}
        result = document["result"]
        assert isinstance(result, dict)
        return result


def dial(path: Path, *, timeout_s: float = 10) -> socket.socket:
    """A connected socket, whatever the length of the path."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout_s)
    directory = os.open(path.parent, os.O_PATH)
    try:
        for attempt in range(int(timeout_s / 0.005)):
            try:
                connection.connect(f"/proc/self/fd/{directory}/{path.name}")
                break
            except BlockingIOError:  # more are waiting than the backlog holds
                time.sleep(0.005)
                assert attempt + 2 < timeout_s / 0.005, "the backlog stays full"
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(directory)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """Everything until the other side closes or resets."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def parse(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *rest = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    assert int(headers["content-length"]) == len(body)
    return Answer(status=int(first.split()[1]), headers=headers, body=body)


def exchange(path: Path, raw: bytes, *, timeout_s: float = 10) -> Answer:
    """Sends bytes as they are and reads the reply to its end."""
    with dial(path, timeout_s=timeout_s) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(raw)
        return parse(read_all(connection))


def request(
    path: Path, method: str, target: str, *, body: bytes = b"", headers: dict[str, str] | None = None
) -> Answer:
    """An ordinary request."""
    fields = {"Host": "kauditd", **({"Content-Length": str(len(body))} if body else {}), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return exchange(path, f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)


def fork() -> int:
    """``os.fork`` beside the server's thread. The child touches no lock: it talks to a socket and ends by ``_exit``."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 warns of any thread
        return os.fork()


def as_user(uid: int, gid: int, groups: list[int], work: Callable[[], bytes]) -> bytes:
    """What ``work`` returns in a forked child under other credentials. Needs root."""
    reader, writer = os.pipe()
    child = fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.write(writer, work())
            code = 0
        except BaseException as exc:
            os.write(writer, f"{type(exc).__name__}: {exc}".encode())
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, data
    return data
