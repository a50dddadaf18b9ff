"""Audit events and the log backend: the lines, their key order and escapes, the counters, and how events get lost.

Upstream: apiserver ``pkg/endpoints/filters/audit.go``, ``plugin/pkg/audit/log``, ``pkg/audit/metrics.go``.
"""

import json
import os
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from kauditd.sim.lumberjack import RotatingFile, RotationLimits
from kauditd.sim.policy import Policy
from kauditd.sim.requestinfo import RequestInfo

API_VERSION = "audit.k8s.io/v1"
ESCAPES = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})

EVENT_HELP = "Counter of audit events generated and sent to the audit backend."
ERROR_HELP = (
    "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error."
)
LEVEL_HELP = "Counter of policy levels for audit events (1 per request)."
REJECTED_HELP = "Counter of apiserver requests rejected due to an error in audit logging backend."


def timestamp(moment: datetime) -> str:
    """metav1.MicroTime: UTC, exactly six fractional digits."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def encode_json(value: object) -> str:
    """Go's ``encoding/json`` with HTML escaping; what is no UTF-8 becomes the escape of U+FFFD."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(ESCAPES)
    return "".join("\\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


@dataclass(slots=True, kw_only=True)
class AuditedRequest:
    """One request on its way through the filters; what is known grows with every stage."""

    audit_id: str
    uri: str
    info: RequestInfo
    user: Mapping[str, object]
    source_ip: str
    user_agent: str
    received: datetime
    level: str = "None"
    omitted: frozenset[str] = frozenset()
    request_object: object = None
    response_object: object = None
    annotations: dict[str, str] = field(default_factory=dict)

    def event(
        self, stage: str, *, status: Mapping[str, object] | None, at: datetime, bodies: bool
    ) -> dict[str, object]:
        """The event of one stage, keys in the order of the Go struct."""
        event: dict[str, object] = {
            "kind": "Event",
            "apiVersion": API_VERSION,
            "level": self.level,
            "auditID": self.audit_id,
            "stage": stage,
            "requestURI": self.uri,
            "verb": self.info.verb,
            "user": self.user,
            "sourceIPs": [self.source_ip],
        }
        if self.user_agent:
            event["userAgent"] = self.user_agent
        reference = self.info.object_ref()
        if reference is not None:
            event["objectRef"] = reference
        if status is not None:
            event["responseStatus"] = {"metadata": {}, **status}
        later = stage != "RequestReceived" and self.info.is_resource and bodies
        if later and self.level in ("Request", "RequestResponse") and self.request_object is not None:
            event["requestObject"] = self.request_object
        if later and self.level == "RequestResponse" and self.response_object is not None:
            event["responseObject"] = self.response_object
        event["requestReceivedTimestamp"] = timestamp(self.received)
        event["stageTimestamp"] = timestamp(at)
        if stage != "RequestReceived" and self.annotations:
            event["annotations"] = dict(sorted(self.annotations.items()))
        return event


def legacy_line(event: Mapping[str, object]) -> str:
    """The one-line form of ``--audit-log-format=legacy``, also printed for an event that was lost."""
    user = event["user"]
    reference = event.get("objectRef")
    status = event.get("responseStatus")
    name = user.get("username", "<none>") if isinstance(user, Mapping) else "<none>"
    groups = user.get("groups", ()) if isinstance(user, Mapping) else ()
    namespace = reference.get("namespace", "<none>") if isinstance(reference, Mapping) else "<none>"
    code = status.get("code", "<deferred>") if isinstance(status, Mapping) else "<deferred>"
    quoted = ",".join(f'\\"{group}\\"' for group in groups)
    addresses = event["sourceIPs"]
    address = addresses[0] if isinstance(addresses, list) else "<unknown>"
    return (
        f'{event["requestReceivedTimestamp"]} AUDIT: id="{event["auditID"]}" stage="{event["stage"]}" ip="{address}" '
        f'method="{event["verb"]}" user="{name}" groups="{quoted}" as="<self>" asgroups="<lookup>" '
        f'user-agent="{event.get("userAgent", "")}" namespace="{namespace}" uri="{event["requestURI"]}" '
        f'response="{code}"'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """The log backend's flags. ``path`` is the file on the host, "-" stands for standard output."""

    path: str
    limits: RotationLimits
    rotates: bool
    legacy: bool = False
    strict: bool = False
    max_event_bytes: int | None = None


class AuditTrail:
    """Policy, counters and the log. Without a policy or a log nothing is evaluated and no counter moves.

    Thread-safe: one lock stands for lumberjack's mutex, so that lines are ordered by the time of their write.
    """

    def __init__(self, *, policy: Policy | None, log: LogOptions | None) -> None:
        self._policy = policy
        self._log = log
        self._lock = threading.Lock()
        self._file = RotatingFile(log.path, log.limits) if log is not None and log.path != "-" else None
        self._plain_fd = -1
        if log is not None and log.path != "-" and not log.rotates:
            # Since 1.36 a maxsize of 0 means one append-only descriptor for the life of the process.
            self._plain_fd = os.open(log.path, os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC)
        self.events = 0
        self.rejected = 0
        self.levels: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    @property
    def active(self) -> bool:
        """Whether requests are evaluated at all: a policy and a backend are there."""
        return self._policy is not None and self._log is not None

    def receive(self, request: AuditedRequest) -> bool:
        """Evaluate the policy and write RequestReceived. False: strict mode refuses the request."""
        self.evaluate(request)
        delivered = self.emit(request, "RequestReceived", None)
        if delivered or self._log is None or not self._log.strict:
            return True
        with self._lock:
            self.rejected += 1
        return False

    def evaluate(self, request: AuditedRequest) -> None:
        """Find level and omitted stages; counts one request at its level."""
        if self._policy is None or self._log is None:
            return
        groups = request.user.get("groups", ())
        request.level, request.omitted = self._policy.decide(
            request.info,
            user=str(request.user.get("username", "")),
            groups=[str(group) for group in groups] if isinstance(groups, (list, tuple)) else (),
        )
        with self._lock:
            self.levels[request.level] += 1

    def emit(self, request: AuditedRequest, stage: str, status: Mapping[str, object] | None) -> bool:
        """One stage's event into the log. An omitted stage and level None count as success, as upstream."""
        if not self.active or request.level == "None" or stage in request.omitted:
            return True
        at = request.received if stage == "RequestReceived" else datetime.now(UTC)
        event = request.event(stage, status=status, at=at, bodies=True)
        with self._lock:
            self.events += 1
            return self._write(request, event, status=status, at=at)

    def _write(
        self, request: AuditedRequest, event: dict[str, object], *, status: Mapping[str, object] | None, at: datetime
    ) -> bool:
        log = self._log
        if log is None:
            return True
        line = self._line(event)
        if log.max_event_bytes is not None and len(line) > log.max_event_bytes:
            request.annotations["audit.k8s.io/truncated"] = "true"
            event = request.event(str(event["stage"]), status=status, at=at, bodies=False)
            line = self._line(event)
            if request.level == "Metadata" or len(line) > log.max_event_bytes:
                self.errors["truncate"] += 1
                return True
        try:
            self._append(line)
        except OSError as exc:
            self.errors["log"] += 1
            print(f"Error in audit plugin 'log' affecting 1 audit events: {exc}", file=sys.stderr)
            print(f"Impacted events:\n{legacy_line(event)}", file=sys.stderr, flush=True)
            return False
        return True

    def _line(self, event: Mapping[str, object]) -> bytes:
        text = legacy_line(event) if self._log is not None and self._log.legacy else encode_json(event)
        return text.encode("utf-8", "replace") + b"\n"

    def _append(self, line: bytes) -> None:
        if self._plain_fd >= 0:
            os.write(self._plain_fd, line)
        elif self._file is not None:
            self._file.write(line)
        else:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()

    def metrics(self) -> str:
        """The ``apiserver_audit_*`` families as ``/metrics`` shows them; errors appear with the first one."""
        with self._lock:
            families = (
                ("event_total", EVENT_HELP, {"": self.events}),
                ("error_total", ERROR_HELP, {f'{{plugin="{k}"}}': v for k, v in sorted(self.errors.items())}),
                ("level_total", LEVEL_HELP, {f'{{level="{k}"}}': v for k, v in sorted(self.levels.items())}),
                ("requests_rejected_total", REJECTED_HELP, {"": self.rejected}),
            )
        rows: list[str] = []
        for suffix, meaning, samples in families:
            name = f"apiserver_audit_{suffix}"
            if samples:
                rows += [f"# HELP {name} [ALPHA] {meaning}", f"# TYPE {name} counter"]
                rows += [f"{name}{labels} {value}" for labels, value in samples.items()]
        return "\n".join(rows) + "\n"
