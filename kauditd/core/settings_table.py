"""Every settings key once: name, kind, default, bounds, unit and reason.

Parsing, defaults, the shipped ``kauditd.yaml`` and the documentation are all derived from ``TABLE``, so that they
cannot disagree.
"""

import re
from dataclasses import dataclass
from typing import Literal, assert_never

PROFILE_NAMES = ("default", "seed", "stig", "metadata")
SEED_MAX_AGE_DAYS = 1
"""What ``log.max_age_days`` is where ``policy.profile: seed`` is chosen and the key is not given."""

Kind = Literal["choice", "int", "path", "unit", "group"]
Value = str | int | float | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One key. ``low`` and ``high`` are inclusive; ``why_low`` says what the lower bound protects from."""

    key: str
    kind: Kind
    default: Value
    meaning: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    low: int = 0
    high: int = 0
    why_low: str = ""
    nullable: bool = False

    @property
    def section(self) -> str:
        """The part before the dot, "" for a key at the top level."""
        return self.key.rpartition(".")[0]

    @property
    def name(self) -> str:
        """The part behind the dot."""
        return self.key.rpartition(".")[2]

    @property
    def expected(self) -> str:
        """What a value must be, in words that finish "expected ..."."""
        match self.kind:
            case "choice":
                return "one of " + ", ".join(self.choices)
            case "int":
                return f"a whole number of {self.unit} from {self.low} to {self.high}"
            case "path":
                return "an absolute path"
            case "unit":
                return "the name of a systemd service unit, for example kube-apiserver.service"
            case "group":
                return "the name of a group"
            case _:
                assert_never(self.kind)


TABLE: tuple[Spec, ...] = (
    Spec(
        key="mode",
        kind="choice",
        default="enforce",
        choices=("enforce", "observe"),
        meaning="enforce keeps the audit trail on; observe reports what differs and writes nothing.",
    ),
    Spec(
        key="target.kind",
        kind="choice",
        default="auto",
        choices=("auto", "static-pod", "systemd"),
        meaning="How the API server runs: kubeadm's static pod, a systemd unit, or found out by looking (auto).",
    ),
    Spec(
        key="target.manifest",
        kind="path",
        default="/etc/kubernetes/manifests/kube-apiserver.yaml",
        meaning="The static pod manifest of the API server. Nothing else is ever kept in its directory.",
    ),
    Spec(
        key="target.unit",
        kind="unit",
        default="kube-apiserver.service",
        meaning="The unit of an API server that systemd runs.",
    ),
    Spec(
        key="target.kubelet_stable_s",
        kind="int",
        default=60,
        unit="seconds",
        low=0,
        high=3600,
        meaning="How long the kubelet must have been up before the manifest is edited. An edit four seconds after a "
        "kubelet restart took 160 seconds to take effect.",
    ),
    Spec(
        key="policy.profile",
        kind="choice",
        default="default",
        choices=PROFILE_NAMES,
        nullable=True,
        meaning="The audit policy: default (CIS 3.2.2), seed (12 rules, short retention), stig (everything, with "
        "bodies) or metadata (everything, no bodies). Unused where policy.file is given.",
    ),
    Spec(
        key="policy.file",
        kind="path",
        default=None,
        nullable=True,
        meaning="An audit policy of your own instead of a profile. It is checked and published before it is used, so "
        "it may be edited in place.",
    ),
    Spec(
        key="log.path",
        kind="path",
        default="/var/log/kubernetes/audit/audit.log",
        meaning="The audit log (--audit-log-path). Its directory is mounted read-write into the API server's "
        "container, so it should hold nothing else.",
    ),
    Spec(
        key="log.max_size_mib",
        kind="int",
        default=100,
        unit="MiB",
        low=1,
        high=102_400,
        why_low="0 means no rotation at all from Kubernetes 1.36, and 100 MiB before",
        meaning="Size at which the API server begins a new file (--audit-log-maxsize). CIS asks for at least 100.",
    ),
    Spec(
        key="log.max_age_days",
        kind="int",
        default=30,
        unit="days",
        low=1,
        high=36_500,
        why_low="0 keeps rotated files for ever and fails the CIS check",
        meaning="How long rotated files are kept (--audit-log-maxage). CIS and STIG ask for at least 30. With profile "
        f"seed the default is {SEED_MAX_AGE_DAYS}.",
    ),
    Spec(
        key="log.max_backups",
        kind="int",
        default=10,
        unit="files",
        low=1,
        high=100_000,
        why_low="0 keeps every rotated file until the disk is full",
        meaning="How many rotated files are kept (--audit-log-maxbackup). CIS asks for at least 10.",
    ),
    Spec(
        key="proof.canary_interval_s",
        kind="int",
        default=60,
        unit="seconds",
        low=5,
        high=3600,
        why_low="each canary is a request and a line in the log",
        meaning="Time between two proofs that an event reaches the file. A proof older than two intervals no longer "
        "counts as protected.",
    ),
    Spec(
        key="proof.gate_s",
        kind="int",
        default=120,
        unit="seconds",
        low=45,
        high=3600,
        why_low="a healthy restart takes 40 to 46 seconds, and a shorter gate would undo it",
        meaning="How long a change may take to prove itself, counted from the end of the old process; then it is "
        "undone.",
    ),
    Spec(
        key="proof.overlap_s",
        kind="int",
        default=300,
        unit="seconds",
        low=60,
        high=3600,
        why_low="thirty seconds of grace are normal while watches are open",
        meaning="How long the old process may go on serving after a change; then the change is taken back.",
    ),
    Spec(
        key="api.socket",
        kind="path",
        default="/run/kauditd/kauditd.sock",
        meaning="The Unix socket that kauditctl and monitoring talk to.",
    ),
    Spec(
        key="api.group",
        kind="group",
        default="kauditd",
        meaning="Members of this group may read over the socket. Only root may change anything.",
    ),
)

SECTIONS = tuple(dict.fromkeys(spec.section for spec in TABLE if spec.section))
"""Names of the sections in file order."""

_UNSAFE = re.compile(r"[^A-Za-z0-9._+@=,/-]")
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@-]{1,240}\.service")
_GROUP = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,30}")


def path_fault(path: str) -> str:
    """Why ``path`` cannot be used, or "".

    The path stands in a flag, in a manifest and perhaps in a unit file: the kubelet expands ``$(...)`` in a command
    (pkg/kubelet/container), Kubernetes refuses ``:`` in a mount path, systemd expands ``%``. So only letters, digits
    and ``._+@=,-`` are taken.
    """
    parts = path.split("/")[1:]
    unsafe = _UNSAFE.search(path)
    checks = (
        (not path.startswith("/"), "it is not absolute"),
        (bool(unsafe), f"it contains {unsafe.group()!a}" if unsafe else ""),
        (".." in parts or "." in parts, "it contains a . or .. component"),
        (path == "/" or path.endswith("/"), "it names a directory"),
        ("" in parts, "it contains //"),
        (len(path) > 1024 or any(len(part) > 200 for part in parts), "it is too long"),
    )
    return next((reason for bad, reason in checks if bad), "")


def text_fault(spec: Spec, text: str) -> str:
    """Why ``text`` is no value for the string key ``spec``, or ""."""
    match spec.kind:
        case "choice":
            return "" if text in spec.choices else "it is none of them"
        case "path":
            too_long = spec.key == "api.socket" and len(text) > 100
            return "a socket's path has at most 100 characters" if too_long else path_fault(text)
        case "unit":
            return "" if _UNIT.fullmatch(text) else "it is no unit name"
        case "group":
            return "" if _GROUP.fullmatch(text) else "it is no group name"
        case "int":
            return "it is a string"
        case _:
            assert_never(spec.kind)


def render_default_file() -> str:
    """The ``kauditd.yaml`` that the package ships: every key explained, every default shown and commented out.

    Commented out, so that what an operator did not choose keeps following the package (and the profile).
    """
    lines = [
        "# kauditd settings. A line that begins with #key: shows the default; remove the # to change it.",
        "# Unknown keys and wrong types are errors: the daemon then keeps the last good settings and says so.",
        "# kauditctl doctor checks this file.",
    ]
    section = ""
    for spec in TABLE:
        if spec.section != section:
            section = spec.section
            lines += ["", f"{section}:"]
        elif not section:
            lines.append("")
        indent = "  " if section else ""
        text = f"{spec.meaning} {_allowed(spec)}".rstrip()
        lines += _wrap(text, prefix=f"{indent}# ", width=110)
        shown = "null" if spec.default is None else spec.default
        lines.append(f"{indent}#{spec.name}: {shown}")
    return "\n".join(lines) + "\n"


def _allowed(spec: Spec) -> str:
    if spec.kind == "choice":
        return "One of: " + ", ".join(spec.choices) + "."
    if spec.kind != "int":
        return ""
    why = f" ({spec.why_low})" if spec.why_low else ""
    return f"From {spec.low} to {spec.high} {spec.unit}{why}."


def _wrap(text: str, *, prefix: str, width: int) -> list[str]:
    lines = [prefix.rstrip()]
    for word in text.split():
        if len(lines[-1]) + 1 + len(word) > width:
            lines.append(prefix.rstrip())
        lines[-1] += f" {word}"
    return lines
