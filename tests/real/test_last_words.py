"""The real kube-apiserver's last words about each fault, read as the gate reads them."""

import socket
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from kauditd.core.crilog import last_words
from kauditd.core.lastwords import LastWords, explain_last_words
from kauditd.core.lastwords_table import Blame
from tests.real import build
from tests.real.cluster import HOST, free_port

pytestmark = [pytest.mark.real, pytest.mark.serial]

HEADER = "apiVersion: audit.k8s.io/v1\nkind: Policy\n"
POLICIES = {
    "good": f"{HEADER}rules:\n- level: Metadata\n",
    "tab": f"{HEADER}\trules: []\n",
    "scalar": "hello\n",
    "level": f"{HEADER}rules:\n- level: Everything\n",
    "stage": f"{HEADER}omitStages: [Foo]\nrules:\n- level: Metadata\n",
    "none": f"{HEADER}rules: []\n",
    "empty": "",
    "kind": HEADER.replace("Policy", "Rules"),
    "old": f"{HEADER}rules:\n- level: Metadata\n".replace("/v1", "/v1alpha1"),
}


class Failing:
    """An API server that is started with a fault and ends by itself."""

    def __init__(self, release: build.Release, pki: Path, directory: Path) -> None:
        self._binary = release.apiserver
        self.directory = directory
        for name, text in POLICIES.items():
            (directory / f"{name}.yaml").write_text(text)
        self._flags = {
            "etcd-servers": "http://127.0.0.1:1",
            "service-account-issuer": "https://issuer.example",
            "service-account-key-file": f"{pki}/sa.key",
            "service-account-signing-key-file": f"{pki}/sa.key",
            "service-cluster-ip-range": "10.96.0.0/12",
            "bind-address": HOST,
            "secure-port": str(free_port()),
            "cert-dir": f"{directory}/certificates",
            "audit-policy-file": f"{directory}/good.yaml",
            "audit-log-path": f"{directory}/audit.log",
        }

    def words(self, flags: Mapping[str, str]) -> LastWords:
        given = {**self._flags, **{k: v.replace("DIR", str(self.directory)) for k, v in flags.items()}}
        command = [str(self._binary), *(f"--{name}={value}" for name, value in given.items())]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
        assert ended.returncode != 0
        return explain_last_words(last_words(ended.stderr.splitlines()))


@pytest.fixture
def failing(release: build.Release, certificates: Path, tmp_path: Path) -> Failing:
    return Failing(release, certificates / "etc/kubernetes/pki", tmp_path)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ({"audit-log-maxsizes": "1"}, "unknown-flag"),
        ({"audit-log-maxage": "thirty"}, "bad-flag-value"),
        ({"audit-log-compress": "maybe"}, "bad-flag-value"),
        ({"audit-log-mode": "fast"}, "bad-flag-value"),
        ({"audit-log-format": "xml"}, "bad-flag-value"),
        ({"audit-log-version": "v9"}, "bad-flag-value"),
        ({"audit-log-mode": "batch", "audit-log-batch-max-size": "0"}, "bad-flag-value"),
        ({"audit-log-maxage": "-1", "audit-log-maxbackup": "-2"}, "negative-value"),
        ({"audit-log-mode": "fast", "logging-format": "json"}, "bad-flag-value"),
        ({"audit-policy-file": "DIR/absent.yaml"}, "policy-missing"),
        ({"audit-policy-file": "DIR"}, "policy-is-directory"),
        ({"audit-policy-file": "DIR/tab.yaml"}, "policy-broken-yaml"),
        ({"audit-policy-file": "DIR/scalar.yaml"}, "policy-broken-yaml"),
        ({"audit-policy-file": "DIR/level.yaml"}, "policy-bad-level"),
        ({"audit-policy-file": "DIR/stage.yaml"}, "policy-refused"),
        ({"audit-policy-file": "DIR/none.yaml"}, "policy-no-rules"),
        ({"audit-policy-file": "DIR/empty.yaml"}, "policy-empty"),
        ({"audit-policy-file": "DIR/kind.yaml"}, "policy-old-version"),
        ({"audit-policy-file": "DIR/old.yaml"}, "policy-old-version"),
        ({"audit-log-path": "DIR"}, "log-is-directory"),
        ({"audit-log-path": "DIR/good.yaml/audit.log"}, "log-refused"),
        ({"audit-webhook-config-file": "DIR/absent.yaml"}, "file-missing"),
    ],
)
def test_fault_of_the_audit_settings(failing: Failing, flags: Mapping[str, str], code: str) -> None:
    words = failing.words(flags)
    assert (words.code, words.blames) == (code, Blame.AUDIT)


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        ({"colour": "red"}, "unknown-flag"),
        ({"etcd-servers": ""}, "flag-missing"),
        ({"feature-gates": "Foo=true"}, "bad-flag-value"),
        ({"enable-admission-plugins": "Foo"}, "bad-flag-value"),
        ({"bind-address": "203.0.113.7"}, "port-refused"),
        ({"client-ca-file": "DIR/absent.crt"}, "certificate-missing"),
        ({"etcd-certfile": "DIR/absent.crt", "etcd-keyfile": "DIR/absent.key"}, "certificate-missing"),
        ({"tls-cert-file": "DIR/good.yaml", "tls-private-key-file": "DIR/good.yaml"}, "certificate-refused"),
        ({"client-ca-file": "DIR/good.yaml"}, "certificate-refused"),
        ({"encryption-provider-config": "DIR/absent.yaml"}, "file-missing"),
    ],
)
def test_fault_of_another_kind(failing: Failing, flags: Mapping[str, str], code: str) -> None:
    words = failing.words(flags)
    assert (words.code, words.blames) == (code, Blame.OTHER)


def test_port_in_use(failing: Failing) -> None:
    with closing(socket.socket()) as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        words = failing.words({"secure-port": str(port)})
    assert words.code == "port-in-use"
    assert f"{HOST}:{port}" in words.sentence


@pytest.mark.slow
def test_dead_etcd(failing: Failing) -> None:
    """It gives up after 20 s."""
    words = failing.words({})
    assert (words.code, words.blames) == ("etcd-unreachable", Blame.ETCD)
