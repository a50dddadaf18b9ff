"""Desired against observed: every difference as one ``Drift`` with a stable code."""

from kauditd.core.layout import POLICY_DIR, parent
from kauditd.core.model import ApiServerProcess, Desired, Drift, Edit, ManifestView, Severity
from kauditd.core.observed import LogDirectory, Observed, PolicyFile, PolicyFileState
from kauditd.errors import quote

MANIFEST_CODES = frozenset(
    {
        "flag-missing",
        "flag-differs",
        "flag-duplicate",
        "policy-stale",
        "mount-missing",
        "mount-readonly",
        "volume-missing",
        "nonce-missing",
        "nonce-stale",
    }
)
"""Drift that an edit of the manifest removes."""

FOREIGN_FLAGS = {
    "audit-log-format": ("json", "the trail can only be verified and searched as JSON"),
    "audit-log-truncate-enabled": ("false", "events above the size limit would be cut or dropped"),
    "audit-log-compress": ("false", "the API server's own compression is not atomic and cannot be sought in"),
}
"""Audit flags that are somebody else's and that weaken the trail: the value that does not, and why."""

_FALSE = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""What Go's strconv.ParseBool, which reads boolean flags, takes for false."""


def find_drift(desired: Desired, observed: Observed) -> tuple[Drift, ...]:
    """All differences, the ones that matter most first: file, process, surroundings."""
    found = [*_manifest_drift(observed), *_shadow_drift(observed)]
    if observed.view is not None:
        found += _foreign_flag_drift(desired, observed.view)
    if (process := observed.process) is not None:
        found += _process_drift(desired, observed, process)
    if observed.policy_file is not None:
        found += _policy_file_drift(observed.policy_file)
    if observed.log_directory is not None:
        found += _log_directory_drift(observed.log_directory)
    return tuple(found)


def flags_agree(desired: Desired, process: ApiServerProcess) -> bool:
    """Whether the running process carries every flag asked for, with that value in force."""
    return all(process.flag(f.name) == f.value for f in desired.flags)


def _manifest_drift(observed: Observed) -> list[Drift]:
    manifest = observed.manifest
    if manifest.missing:
        return [
            Drift(
                code="manifest-missing",
                subject=manifest.path,
                severity=Severity.WARNING,
                text=f"there is no manifest at {manifest.path}",
                hint="kauditd never creates one; it takes over when kubeadm writes it",
            )
        ]
    if manifest.content is None:
        return [
            Drift(
                code="manifest-unreadable",
                subject=manifest.path,
                severity=Severity.CRITICAL,
                text=f"cannot read {manifest.path}: {manifest.fault}",
                hint="make it a plain file of mode 0600 owned by root",
            )
        ]
    if observed.refusal is not None:
        refusal = observed.refusal
        place = f"{manifest.path}:{refusal.line}" if refusal.line else manifest.path
        return [
            Drift(
                code="manifest-refused",
                subject=refusal.code,
                severity=Severity.CRITICAL,
                text=f"{place}: {refusal.text}",
                hint=refusal.hint,
            )
        ]
    return [_edit_drift(e) for e in observed.edited.edits] if observed.edited is not None else []


def _edit_drift(edit: Edit) -> Drift:
    code = edit.code
    if code == "flag-differs" and edit.subject == "audit-policy-file" and _in_policy_directory(edit.before):
        code = "policy-stale"
    owner = "; the line is somebody else's and is edited in place" if edit.foreign else ""
    match code:
        case "flag-missing":
            text = f"the manifest lacks --{edit.subject}"
        case "flag-differs" | "policy-stale":
            text = f"the manifest has --{edit.subject} with another value{owner}"
        case "flag-duplicate":
            text = f"the manifest names --{edit.subject} more than once; the last one is in force{owner}"
        case "mount-missing" | "volume-missing":
            text = f"the manifest lacks the {code.partition('-')[0]} {edit.subject}"
        case "mount-readonly":
            text = f"the manifest mounts {edit.subject} read-only{owner}"
        case _:
            text = f"the manifest's {edit.code.partition('-')[0]} {edit.subject} is not as it must be{owner}"
    return Drift(
        code=code,
        subject=edit.subject,
        severity=Severity.CRITICAL,
        text=text,
        expected=edit.after,
        found=edit.before,
        repairable=True,
    )


def _in_policy_directory(value: str | None) -> bool:
    return value is not None and f"{POLICY_DIR}/policy-" in value


def _shadow_drift(observed: Observed) -> list[Drift]:
    return [
        Drift(
            code="shadow-manifest",
            subject=s.name,
            severity=Severity.CRITICAL,
            text=f"{parent(observed.manifest.path)}/{s.name} defines {s.pod} too; the kubelet may run it instead",
            hint="move it out of the directory at a planned time: removing it restarts the API server",
        )
        for s in observed.shadows
    ]


def _foreign_flag_drift(desired: Desired, view: ManifestView) -> list[Drift]:
    found = []
    for name, (good, why) in FOREIGN_FLAGS.items():
        value = view.flag(name)
        if value is None or desired.flag(name) is not None or ("false" if value in _FALSE else value) == good:
            continue
        found.append(
            Drift(
                code="flag-foreign",
                subject=name,
                severity=Severity.WARNING,
                text=f"--{name}={quote(value)} is set by somebody else: {why}",
                hint=f"remove it or set it to {good}; kauditd leaves it alone",
                expected=good,
                found=value,
            )
        )
    return found


def _process_drift(desired: Desired, observed: Observed, process: ApiServerProcess) -> list[Drift]:
    """The running process against the flags asked for, and whether the file agrees with it."""
    wrong = [f for f in desired.flags if process.flag(f.name) != f.value]
    if not wrong:
        return []
    names = ", ".join(f"--{f.name}" for f in wrong)
    compliant = observed.edited is not None and not observed.edited.edits
    text = (
        f"the manifest is right, but the running API server (pid {process.pid}) has other values for {names}"
        if compliant
        else f"the running API server (pid {process.pid}) lacks or differs in {names}"
    )
    return [
        Drift(
            code="process-differs",
            subject=str(process.pid),
            severity=Severity.CRITICAL,
            text=text,
            hint="look for a second manifest or a stopped kubelet: kauditctl doctor" if compliant else "",
            expected=" ".join(str(f) for f in wrong),
            found=" ".join(f"--{f.name}={process.flag(f.name)}" for f in wrong if process.flag(f.name)) or None,
        )
    ]


def _policy_file_drift(policy: PolicyFile) -> list[Drift]:
    if policy.state is PolicyFileState.INTACT:
        return []
    missing = policy.state is PolicyFileState.MISSING
    cause = "is missing; an API server started now would exit" if missing else "no longer matches its digest"
    return [
        Drift(
            code=f"policy-file-{policy.state}",
            subject=policy.path,
            severity=Severity.CRITICAL,
            text=f"the published policy {policy.path} {cause}",
            hint="kauditd writes it again; edit the source, never the published file",
            expected=policy.digest,
            repairable=True,
        )
    ]


def _log_directory_drift(directory: LogDirectory) -> list[Drift]:
    if not directory.present:
        return [
            Drift(
                code="log-directory-missing",
                subject=directory.path,
                severity=Severity.WARNING,
                text=f"the log directory {directory.path} does not exist yet",
                repairable=True,
            )
        ]
    if directory.fault:
        return [
            Drift(
                code="log-directory-unwritable",
                subject=directory.path,
                severity=Severity.CRITICAL,
                text=f"cannot write to the log directory {directory.path}: {directory.fault}",
                hint="make it writable for root; the API server does not start without its log",
            )
        ]
    return []
