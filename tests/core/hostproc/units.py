"""Units for the tests: how people run an API server under systemd, and an independent model of systemd."""

import re
import shlex

from kauditd.core.hostproc import EnvironmentFile, UnitFile, UnitSource
from kauditd.core.model import LOG_VOLUME, POLICY_VOLUME, Desired, Flag, Mount

NAME = "kube-apiserver.service"
FRAGMENT = f"/etc/systemd/system/{NAME}"
OURS = f"/etc/systemd/system/{NAME}.d/90-kauditd.conf"
PROGRAM = "/usr/local/bin/kube-apiserver"
POLICY = f"/etc/kubernetes/audit/policy-{'a' * 12}.yaml"
LOG = "/var/log/kubernetes/audit/audit.log"

DESIRED = Desired(
    flags=(
        Flag(name="audit-log-maxage", value="30"),
        Flag(name="audit-log-path", value=LOG),
        Flag(name="audit-policy-file", value=POLICY),
    ),
    mounts=(
        Mount(
            name=LOG_VOLUME,
            host_path="/var/log/kubernetes/audit",
            mount_path="/var/log/kubernetes/audit",
            read_only=False,
        ),
        Mount(
            name=POLICY_VOLUME, host_path="/etc/kubernetes/audit", mount_path="/etc/kubernetes/audit", read_only=True
        ),
    ),
)
ASKED = {flag.name: flag.value for flag in DESIRED.flags}

BY_HAND = f"""\
[Unit]
Description=Kubernetes API Server
After=network.target

[Service]
ExecStart={PROGRAM} \\
  --allow-privileged=true \\
  --authorization-mode=Node,RBAC \\
  --etcd-servers=http://127.0.0.1:2379 \\
  # a comment in between
  --service-cluster-ip-range=10.32.0.0/24 \\
  --v=2
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
"""

FROM_VARIABLES = """\
[Unit]
After=etcd.service

[Service]
EnvironmentFile=-/etc/kubernetes/config
EnvironmentFile=-/etc/kubernetes/apiserver
User=kube
ExecStart=/usr/bin/kube-apiserver \\
            $KUBE_LOGTOSTDERR \\
            $KUBE_ETCD_SERVERS \\
            $KUBE_API_ARGS
Type=notify
"""


def source(
    text: str | bytes = BY_HAND,
    *drop_ins: tuple[str, str | bytes],
    files: dict[str, str | bytes | None] | None = None,
    load_state: str = "loaded",
    name: str = NAME,
    path: str = FRAGMENT,
) -> UnitSource:
    """A unit; a drop-in is its file name (or path) and its text; ``files`` are environment files by path."""
    return UnitSource(
        name=name,
        load_state=load_state,
        fragment=UnitFile(path=path, content=_bytes(text)),
        drop_ins=tuple(
            UnitFile(path=where if "/" in where else f"/etc/systemd/system/{name}.d/{where}", content=_bytes(content))
            for where, content in drop_ins
        ),
        environment_files=tuple(
            EnvironmentFile(pattern=where, path=where, content=None if content is None else _bytes(content))
            for where, content in (files or {}).items()
        ),
    )


def command(line: str, *more: str, files: dict[str, str | bytes | None] | None = None) -> UnitSource:
    """A unit whose service has this ``ExecStart=`` and these further lines."""
    return source("\n".join(["[Service]", f"ExecStart={line}", *more, ""]), files=files)


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8") if isinstance(text, str) else text


# The model: systemd's merging of a unit's files once more, by other means, for plain words only (no escapes, no
# specifiers). It shares no code with what it judges.


def model_command_line(unit: UnitSource) -> list[str]:
    """The command line that systemd would start."""
    commands: list[str] = []
    environment: dict[str, str] = {}
    from_files: dict[str, str] = {}
    for file in (unit.fragment, *unit.drop_ins):
        assert file is not None
        text = re.sub(r"(?m)^[ \t]*[#;].*\n", "", file.content.decode())
        text = re.sub(r"\\\n", " ", text)
        section = ""
        for line in text.splitlines():
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line.startswith("ExecStart="):
                value = line.partition("=")[2].strip()
                commands = [*commands, value] if value else []
            elif section == "[Service]" and line.startswith("Environment="):
                for word in shlex.split(line.partition("=")[2]):
                    name, _, value = word.partition("=")
                    environment[name] = value
    for file in unit.environment_files:
        for line in (file.content or b"").decode().splitlines():
            name, _, value = line.partition("=")
            from_files[name] = value.strip('"')
    (line,) = commands
    words: list[str] = []
    for word in shlex.split(line):
        variable = re.fullmatch(r"\$([A-Z_]+)", word)
        known = environment | from_files
        words += shlex.split(known.get(variable[1], "")) if variable else [word]
    return words


def model_flags(unit: UnitSource) -> dict[str, str]:
    """The flags in force, where all are written ``--name=value``."""
    pairs = [word[2:].partition("=") for word in model_command_line(unit)[1:] if word.startswith("--")]
    return {name: value for name, _, value in pairs}
