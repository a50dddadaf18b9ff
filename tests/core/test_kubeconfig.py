"""Kubeconfig files as kubeadm, kubelets and people write them."""

import base64
import json

import pytest

from kauditd.core.credentials import Material
from kauditd.core.kubeconfig import parse_kubeconfig
from kauditd.errors import KauditError

FILE = "/etc/kubernetes/admin.conf"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def kubeconfig(user: str, *, cluster: str = "certificate-authority: ca.crt", context: str = "user: me") -> bytes:
    """The shape of kubeadm's files: one cluster, one user, one context."""
    return f"""apiVersion: v1
clusters:
- cluster:
    {cluster}
    server: https://10.77.0.13:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    {context}
  name: me@kubernetes
current-context: me@kubernetes
kind: Config
preferences: {{}}
users:
- name: other
  user:
    token: wrong
- name: me
  user:
    {user}
""".encode()


def test_kubeadm_admin_conf_has_its_data_inside() -> None:
    text = kubeconfig(
        f"client-certificate-data: {encoded('CERT')}\n    client-key-data: {encoded('KEY')}",
        cluster=f"certificate-authority-data: {encoded('CA')}",
    )
    found = parse_kubeconfig(text, file=FILE)

    assert (found.certificate, found.key) == (Material(text="CERT"), Material(text="KEY"))
    assert found.authority == Material(text="CA")
    assert found.token is None
    assert found.server_name == "kubernetes"
    assert found.source == "/etc/kubernetes/admin.conf, user me"


def test_kubelet_conf_names_files() -> None:
    pem = "/var/lib/kubelet/pki/kubelet-client-current.pem"
    found = parse_kubeconfig(kubeconfig(f"client-certificate: {pem}\n    client-key: {pem}"), file=FILE)

    assert (found.certificate, found.key) == (Material(path=pem), Material(path=pem))
    assert found.authority == Material(path="/etc/kubernetes/ca.crt"), "a relative path starts at the file's directory"


def test_tokens() -> None:
    assert parse_kubeconfig(kubeconfig("token: abc"), file=FILE).token == Material(text="abc")
    both = parse_kubeconfig(kubeconfig("token: abc\n    tokenFile: /var/run/token"), file=FILE)
    assert both.token == Material(path="/var/run/token")


def test_data_wins_over_a_file_as_in_client_go() -> None:
    text = kubeconfig("token: t", cluster=f"certificate-authority: /x\n    certificate-authority-data: {encoded('CA')}")

    assert parse_kubeconfig(text, file=FILE).authority == Material(text="CA")


def test_the_servers_name_may_be_given() -> None:
    text = kubeconfig("token: t", cluster="tls-server-name: api.example")

    assert parse_kubeconfig(text, file=FILE).server_name == "api.example"
    assert parse_kubeconfig(text, file=FILE).authority is None


def test_json_is_read_too() -> None:
    value = {
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"user": "u", "cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://x"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }

    assert parse_kubeconfig(json.dumps(value).encode(), file=FILE).token == Material(text="t")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# nothing\n",
        b"- a list\n",
        b"just words\n",
        b"\xff\xfe\x00",
        b"a: b: c\n",
        b"apiVersion: v1\nkind: Config\n",
        b"current-context: x\ncontexts: words\n",
        b"current-context: x\ncontexts: [words]\n",
        b"current-context: x\ncontexts: [{name: x, context: words}]\n",
        kubeconfig("username: me\n    password: SECRET-WORD"),
        kubeconfig("exec: {command: SECRET-WORD}"),
        kubeconfig("token: null"),
        kubeconfig("client-certificate: /only/half.pem"),
        kubeconfig("client-key-data: SECRET-WORD!\n    client-certificate: /x"),
        kubeconfig("client-certificate-data: w6TDtg==\n    client-key: /x"),
        kubeconfig("token: SECRET-WORD", context="user: nobody"),
        kubeconfig("token: SECRET-WORD\n   bad indentation: ["),
    ],
)
def test_what_cannot_be_used_is_refused_without_a_word_of_it(text: bytes) -> None:
    with pytest.raises(KauditError) as caught:
        parse_kubeconfig(text, file=FILE)

    assert caught.value.message.startswith(f"cannot use {FILE}: ")
    assert "SECRET-WORD" not in repr(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
