"""Distributions that make the API server's command line themselves: recognised, advised, never edited.

k3s and kubelite (microk8s) run the API server inside a process of their own; RKE2 writes its static pod anew at every
start, under an explicit uid. In all of them an edit of what runs would be lost or wrong, and one file of theirs takes
the same flags. Also here: the choice of the target, which depends on it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from kauditd.core.layout import base_name
from kauditd.core.model import Desired

Name = Literal["k3s", "rke2", "microk8s", "kubelite"]
Kind = Literal["static-pod", "systemd", "none"]

MICROK8S_ARGUMENTS = "/var/snap/microk8s/current/args/kube-apiserver"
_SERVER_DIRECTORIES: tuple[tuple[Name, str], ...] = (
    ("rke2", "/var/lib/rancher/rke2/server"),
    ("k3s", "/var/lib/rancher/k3s/server"),
    ("microk8s", MICROK8S_ARGUMENTS),
)
MARKS = tuple(path for _, path in _SERVER_DIRECTORIES)
"""Paths whose presence means that a distribution's server is installed; an agent has neither of the first two."""

_ARGUMENTS_FLAG = "--apiserver-args-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a node shows: the argument vectors of its processes, and which of ``MARKS`` exist (logical paths)."""

    command_lines: Sequence[Sequence[str]] = ()
    paths: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A distribution whose server is on this node. ``running``: a process shows it, else only its files do.

    ``arguments_file`` is the file that kubelite reads the API server's flags from ("" for the others and where its
    command line does not say).
    """

    name: Name
    running: bool
    arguments_file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which target is taken, and why, as one sentence."""

    kind: Kind
    reason: str


def recognise(facts: Facts) -> Distribution | None:
    """The distribution that this node's facts show, a running one before one that is only installed; None for none."""
    for words in facts.command_lines:
        found = _of_process(words)
        if found is not None:
            return found
    for name, path in _SERVER_DIRECTORIES:
        if path in facts.paths:
            arguments = MICROK8S_ARGUMENTS if name == "microk8s" else ""
            return Distribution(name=name, running=False, arguments_file=arguments)
    return None


def advice(distribution: Distribution, desired: Desired) -> tuple[str, ...]:
    """What to put where, line by line, so that the distribution starts its API server with what is desired.

    The published policy and the log's directory have to be there before; the last line is the command that makes it
    take effect, and it restarts the API server.
    """
    match distribution.name:
        case "k3s":
            return (
                "add to /etc/rancher/k3s/config.yaml (continue the list if it is there already):",
                *_yaml_list(str(flag)[2:] for flag in desired.flags),
                "then run: systemctl restart k3s",
            )
        case "rke2":
            policy = desired.flag("audit-policy-file")
            # RKE2 mounts the policy for the key of its own; as a plain argument the pod would not see the file.
            return (
                "add to /etc/rancher/rke2/config.yaml (continue the list if it is there already):",
                *(() if policy is None else (f'audit-policy-file: "{policy}"',)),
                *_yaml_list(str(flag)[2:] for flag in desired.flags if flag.name != "audit-policy-file"),
                "then run: systemctl restart rke2-server",
            )
        case "microk8s":
            return (
                f"add to {MICROK8S_ARGUMENTS}:",
                *(str(flag) for flag in desired.flags),
                "then run: snap restart microk8s.daemon-kubelite",
            )
        case "kubelite":
            return (
                f"add to {distribution.arguments_file or 'the file that its ' + _ARGUMENTS_FLAG + ' names'}:",
                *(str(flag) for flag in desired.flags),
                "then restart the service that runs kubelite",
            )
        case _:
            assert_never(distribution.name)


def choose_target(
    setting: Literal["auto", "static-pod", "systemd"],
    *,
    manifest_present: bool,
    unit_present: bool,
    distribution: Distribution | None,
) -> Choice:
    """The target for ``target.kind``: what the setting names; else what runs; else what lies there, manifest first.

    A distribution that runs goes before files that somebody may have left behind; one that is merely installed goes
    after them. ``none`` means that there is nothing to edit here.
    """
    if setting != "auto":
        return Choice(kind=setting, reason=f"target.kind is {setting}")
    if distribution is not None and distribution.running:
        return Choice(kind="none", reason=f"{distribution.name} runs the API server and must be configured there")
    if manifest_present:
        return Choice(kind="static-pod", reason="the static pod manifest is there")
    if unit_present:
        return Choice(kind="systemd", reason="there is no static pod manifest, and the systemd unit is there")
    if distribution is not None:
        reason = f"{distribution.name} is installed, though it does not run, and must be configured there"
        return Choice(kind="none", reason=reason)
    return Choice(kind="none", reason="there is neither a static pod manifest nor a systemd unit of an API server")


def _of_process(words: Sequence[str]) -> Distribution | None:
    """The distribution whose server this is. k3s and RKE2 rewrite their title, so that it may be one word."""
    line = [word for text in words for word in text.split()]
    program = base_name(line[0]) if line else ""
    if program in {"k3s", "rke2"} and line[1:2] == ["server"]:
        return Distribution(name="k3s" if program == "k3s" else "rke2", running=True)
    if program != "kubelite":
        return None
    if any("/microk8s/" in word for word in line):
        return Distribution(name="microk8s", running=True, arguments_file=MICROK8S_ARGUMENTS)
    values = [word.partition("=")[2] for word in line if word.startswith(_ARGUMENTS_FLAG + "=")]
    return Distribution(name="kubelite", running=True, arguments_file=values[-1] if values else "")


def _yaml_list(values: Iterable[str]) -> tuple[str, ...]:
    return ("kube-apiserver-arg:", *(f'  - "{value}"' for value in values))
