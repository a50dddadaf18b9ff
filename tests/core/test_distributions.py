"""Distributions that are advised instead of edited, and the choice of the target."""

from collections.abc import Sequence
from io import StringIO
from typing import Literal

import pytest
from ruamel.yaml import YAML

from kauditd.core.distributions import (
    MARKS,
    MICROK8S_ARGUMENTS,
    Distribution,
    Facts,
    advice,
    choose_target,
    recognise,
)
from kauditd.core.model import Desired, Flag

POLICY = "/etc/kubernetes/audit/policy-aaaaaaaaaaaa.yaml"
DESIRED = Desired(
    flags=(Flag(name="audit-log-maxage", value="30"), Flag(name="audit-policy-file", value=POLICY)), mounts=()
)


def named(
    name: Literal["k3s", "rke2", "microk8s", "kubelite"], *, running: bool = True, arguments_file: str = ""
) -> Distribution:
    return Distribution(name=name, running=running, arguments_file=arguments_file)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["/usr/local/bin/k3s", "server", "--disable=traefik"], named("k3s")),
        (["/usr/local/bin/k3s server"], named("k3s")),
        (["/usr/local/bin/rke2 server"], named("rke2")),
        (
            ["/snap/microk8s/7229/kubelite", "--start-control-plane=true"],
            named("microk8s", arguments_file=MICROK8S_ARGUMENTS),
        ),
        (["/opt/kubelite", "--apiserver-args-file=/etc/args"], named("kubelite", arguments_file="/etc/args")),
        (["/opt/kubelite"], named("kubelite")),
        (["/usr/local/bin/k3s", "agent"], None),
        (["/usr/local/bin/k3s agent"], None),
        (["k3s-killall.sh", "server"], None),
        (["kube-apiserver", "--v=2"], None),
        (["", ""], None),
        ([], None),
    ],
)
def test_recognised_by_process(words: Sequence[str], found: Distribution | None) -> None:
    assert recognise(Facts(command_lines=[["/sbin/init"], words])) == found


@pytest.mark.parametrize("name", ["k3s", "rke2", "microk8s"])
def test_recognised_by_what_is_installed(name: Literal["k3s", "rke2", "microk8s"]) -> None:
    (path,) = [mark for mark in MARKS if name in mark]
    found = recognise(Facts(paths=frozenset([path])))

    assert found is not None
    assert (found.name, found.running) == (name, False)


def test_what_runs_goes_before_what_is_installed() -> None:
    found = recognise(Facts(command_lines=[["k3s", "server"]], paths=frozenset(MARKS)))

    assert found == named("k3s")
    assert recognise(Facts()) is None


def test_advice_for_k3s_is_yaml_that_sets_the_flags() -> None:
    first, *lines, last = advice(named("k3s"), DESIRED)

    assert "/etc/rancher/k3s/config.yaml" in first
    assert last.endswith("systemctl restart k3s")
    assert YAML(typ="safe").load(StringIO("\n".join(lines))) == {
        "kube-apiserver-arg": ["audit-log-maxage=30", f"audit-policy-file={POLICY}"]
    }


def test_advice_for_rke2_names_the_policy_by_its_own_key() -> None:
    first, *lines, last = advice(named("rke2"), DESIRED)

    assert "/etc/rancher/rke2/config.yaml" in first
    assert last.endswith("systemctl restart rke2-server")
    assert YAML(typ="safe").load(StringIO("\n".join(lines))) == {
        "audit-policy-file": POLICY,
        "kube-apiserver-arg": ["audit-log-maxage=30"],
    }
    without = advice(named("rke2"), Desired(flags=DESIRED.flags[:1], mounts=()))
    assert not any("audit-policy-file" in line for line in without)


@pytest.mark.parametrize(
    ("distribution", "file", "command"),
    [
        (named("microk8s"), MICROK8S_ARGUMENTS, "snap restart microk8s.daemon-kubelite"),
        (named("kubelite", arguments_file="/etc/args"), "/etc/args", "restart the service that runs kubelite"),
        (named("kubelite"), "--apiserver-args-file", "restart the service that runs kubelite"),
    ],
)
def test_advice_for_kubelite_is_lines_of_its_arguments_file(
    distribution: Distribution, file: str, command: str
) -> None:
    first, *lines, last = advice(distribution, DESIRED)

    assert file in first
    assert last.endswith(command)
    assert lines == ["--audit-log-maxage=30", f"--audit-policy-file={POLICY}"]


@pytest.mark.parametrize(
    ("setting", "manifest", "unit", "distribution", "kind"),
    [
        ("static-pod", False, True, named("k3s"), "static-pod"),
        ("systemd", True, False, None, "systemd"),
        ("auto", True, True, None, "static-pod"),
        ("auto", False, True, None, "systemd"),
        ("auto", False, False, None, "none"),
        ("auto", True, True, named("k3s"), "none"),
        ("auto", True, False, named("rke2", running=False), "static-pod"),
        ("auto", False, True, named("rke2", running=False), "systemd"),
        ("auto", False, False, named("rke2", running=False), "none"),
    ],
)
def test_the_choice_of_the_target(
    setting: Literal["auto", "static-pod", "systemd"],
    manifest: bool,
    unit: bool,
    distribution: Distribution | None,
    kind: str,
) -> None:
    choice = choose_target(setting, manifest_present=manifest, unit_present=unit, distribution=distribution)

    assert choice.kind == kind
    assert choice.reason
    if kind == "none" and distribution is not None:
        assert distribution.name in choice.reason
