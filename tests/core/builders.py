"""Small worlds for the tests of the decisions: each builder gives a healthy default and takes what differs."""

from dataclasses import replace
from hashlib import sha256

from kauditd.core.drift import flags_agree
from kauditd.core.model import (
    ApiServerProcess,
    Change,
    Desired,
    Digest,
    Edit,
    Edited,
    EditRecord,
    Flag,
    ManifestFile,
    ManifestView,
    Reason,
    Severity,
)
from kauditd.core.observed import HealthFacts, LogDirectory, Observed, PolicyFile, PolicyFileState
from kauditd.core.trail import Trail, TrailState

NOW = 1_800_000_000.0
MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
POLICY = f"/etc/kubernetes/audit/policy-{'a' * 12}.yaml"
LOG = "/var/log/kubernetes/audit"
READY = HealthFacts(livez=200, readyz=200)
STARTING = HealthFacts(livez=200, readyz=500, detail="/readyz answered 500")
REFUSED = HealthFacts(livez=None, readyz=None, detail="connection refused")
OURS = (("audit-log-path", f"{LOG}/audit.log"), ("audit-policy-file", POLICY))


def flags(*pairs: tuple[str, str]) -> tuple[Flag, ...]:
    return tuple(Flag(name=name, value=value) for name, value in pairs)


DESIRED = Desired(flags=flags(*OURS), mounts=())
NOTHING = Desired(flags=(), mounts=())


def digest(text: bytes) -> Digest:
    return Digest(sha256(text).hexdigest())


def process(pid: int = 100, started: float = NOW - 3600, *pairs: tuple[str, str]) -> ApiServerProcess:
    """An API server; without ``pairs`` it carries no flag at all."""
    made = flags(*pairs)
    return ApiServerProcess(
        pid=pid, started_unix_s=started, argv=("kube-apiserver", *(str(f) for f in made)), flags=made
    )


def audited(pid: int = 100, started: float = NOW - 3600) -> ApiServerProcess:
    """An API server with all flags asked for."""
    return process(pid, started, *OURS)


def trail(of: ApiServerProcess, state: TrailState = TrailState.PROVEN, **values: object) -> Trail:
    """A round of proof of ``of``; where it saw an event, with the evidence."""
    told: dict[TrailState, dict[str, object]] = {
        TrailState.PROVEN: {
            "text": "event canary-1 was in the log 4 ms after it was asked for",
            "audit_id": "canary-1",
            "uri": "/kauditd-canary",
            "file": f"{LOG}/audit.log",
        },
        TrailState.UNPROVEN: {"code": "canary-lost", "text": "the event is not in the file", "hint": "look there"},
        TrailState.OPEN: {"text": "the API server answered 429, which may come from before its audit"},
    }
    head = {"taken_unix_s": NOW, "pid": of.pid, "started_unix_s": of.started_unix_s, "state": state}
    return Trail(**{**head, **told[state], **values})


def view(*pairs: tuple[str, str], version: str = "v1.36.3") -> ManifestView:
    return ManifestView(
        pod_name="kube-apiserver",
        namespace="kube-system",
        image=f"registry.example/kube-apiserver:{version}",
        version=version,
        address="10.0.0.1",
        port=6443,
        pod_digest=digest(b"pod"),
        flags=flags(*pairs),
        audit_flags=(),
        duplicates=(),
        log_host_path=None,
        policy_host_path=None,
        nonce=None,
    )


def edit(code: str = "flag-missing", subject: str = "audit-log-path", **values: object) -> Edit:
    known = {"line": 7, "before": None, "after": "x", "foreign": False, **values}
    return Edit(code=code, subject=subject, **known)


def edited(*edits: Edit, before: bytes = b"old\n", after: bytes = b"new\n") -> Edited:
    record = EditRecord(before=digest(before), after=digest(after), splices=())
    return Edited(text=after, edits=edits, record=record)


def manifest(content: bytes | None = b"old\n", **values: object) -> ManifestFile:
    return ManifestFile(path=MANIFEST, content=content, **values)


def policy_file(state: PolicyFileState = PolicyFileState.INTACT) -> PolicyFile:
    return PolicyFile(path=POLICY, digest=digest(b"policy"), state=state)


def log_directory(**values: object) -> LogDirectory:
    return LogDirectory(**{"path": LOG, "present": True, **values})


def observed(at: float = NOW, **values: object) -> Observed:
    """A healthy node whose API server carries the flags, unless ``values`` say otherwise.

    Where that server is ready, the round of proof saw its event; ``trail`` says otherwise.
    """
    healthy: dict[str, object] = {
        "manifest": manifest(),
        "view": view(*OURS),
        "edited": edited(),
        "processes": (audited(),),
        "kubelet_started_unix_s": NOW - 86400,
        "health": READY,
    }
    look = Observed(at_unix_s=at, **{**healthy, **values})
    proven = [p for p in look.processes if flags_agree(DESIRED, p)]
    if "trail" in values or not proven or look.health is None or not look.health.ready:
        return look
    return replace(look, trail=trail(max(proven, key=lambda p: p.started_unix_s)))


def reason(severity: Severity = Severity.WARNING, code: str = "watch-polling", text: str = "events are lost") -> Reason:
    return Reason(code=code, severity=severity, text=text)


def change(number: int = 4) -> Change:
    return Change(
        id=number,
        cause="repair",
        target=MANIFEST,
        summary="edit the manifest",
        before=digest(b"old\n"),
        after=digest(b"new\n"),
        started_unix_s=NOW,
    )
