"""Which credentials are found on a node, and which are passed over."""

import base64
import os
from pathlib import Path

import pytest

from kauditd.core.credentials import Material
from kauditd.core.layout import Layout
from kauditd.effects.credentials import AUTHORITY, KUBECONFIGS, Named, find_credentials
from kauditd.errors import KauditError

ADMIN, SUPER_ADMIN, KUBELET = KUBECONFIGS
PEM = "/var/lib/kubelet/pki/kubelet-client-current.pem"


class Disk:
    """A node's files below a root."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(str(root))

    def put(self, path: str, content: str = "PEM") -> str:
        """A file at a logical path; returns its host path."""
        host = Path(self.layout.host(path))
        host.parent.mkdir(parents=True, exist_ok=True)
        host.write_text(content)
        return str(host)

    def kubeconfig(self, path: str, user: str, *, authority: str = "") -> None:
        cluster = f"certificate-authority: {authority}" if authority else "server: https://10.0.0.1:6443"
        self.put(
            path,
            f"current-context: c\ncontexts:\n- name: c\n  context: {{user: u, cluster: k}}\n"
            f"clusters:\n- name: k\n  cluster:\n    {cluster}\nusers:\n- name: u\n  user:\n    {user}\n",
        )


@pytest.fixture(name="disk")
def _disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def inline(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_node_without_any(disk: Disk) -> None:
    assert find_credentials(disk.layout) is None


def test_admin_conf_comes_first(disk: Disk) -> None:
    for path in KUBECONFIGS:
        disk.kubeconfig(path, f"token: {path}")
    found = find_credentials(disk.layout)

    assert found is not None
    assert found.token == Material(text=ADMIN)
    assert found.source == f"{ADMIN}, user u"


def test_data_inside_the_file(disk: Disk) -> None:
    disk.kubeconfig(
        SUPER_ADMIN, f"client-certificate-data: {inline('CERT')}\n    client-key-data: {inline('SECRET-KEY')}"
    )
    found = find_credentials(disk.layout)

    assert found is not None
    assert (found.certificate, found.key) == (Material(text="CERT"), Material(text="SECRET-KEY"))
    assert "SECRET-KEY" not in repr(found)


def test_the_kubelets_file_names_a_link_that_rotation_moves(disk: Disk) -> None:
    disk.kubeconfig(KUBELET, f"client-certificate: {PEM}\n    client-key: {PEM}", authority="pki/ca.crt")
    real = Path(disk.put(PEM.replace("current", "2026-11-24")))
    Path(disk.layout.host(PEM)).symlink_to(real.name)
    authority = disk.put("/etc/kubernetes/pki/ca.crt")
    found = find_credentials(disk.layout)

    assert found is not None
    assert found.certificate == Material(path=disk.layout.host(PEM)), "the link, so that the next use reads the new one"
    assert found.authority == Material(path=authority)


@pytest.mark.parametrize("fault", ["garbage", "gone", "empty", "directory", "no user", "big", "fifo"])
def test_a_file_that_cannot_be_used_gives_way_to_the_next(disk: Disk, fault: str) -> None:
    disk.kubeconfig(KUBELET, "token: good")
    disk.kubeconfig(ADMIN, f"client-certificate: {PEM}\n    client-key: {PEM}")
    host = Path(disk.put(PEM))
    match fault:
        case "garbage":
            disk.put(ADMIN, "a: b: c")
        case "gone":
            host.unlink()
        case "empty":
            host.write_text("")
        case "directory":
            host.unlink()
            host.mkdir()
        case "big":
            host.write_text("x" * (1 << 20) + "x")
        case "fifo":
            host.unlink()
            os.mkfifo(host)
        case _:
            disk.kubeconfig(ADMIN, "username: u")
    found = find_credentials(disk.layout)

    assert found is not None
    assert found.token == Material(text="good")


def test_what_the_settings_name_is_taken_alone(disk: Disk) -> None:
    disk.kubeconfig(ADMIN, "token: other")
    certificate, key = disk.put("/etc/kauditd/client.crt"), disk.put("/etc/kauditd/client.key")
    found = find_credentials(disk.layout, Named(certificate="/etc/kauditd/client.crt", key="/etc/kauditd/client.key"))

    assert found is not None
    assert (found.certificate, found.key) == (Material(path=certificate), Material(path=key))
    assert found.token is None
    assert found.authority is None, "the default authority is not there"
    assert found.source == "the settings, /etc/kauditd/client.crt"


def test_one_file_may_hold_certificate_and_key(disk: Disk) -> None:
    both = disk.put("/etc/kauditd/client.pem")
    authority = disk.put(AUTHORITY)
    found = find_credentials(disk.layout, Named(certificate="/etc/kauditd/client.pem"))

    assert found is not None
    assert found.certificate == found.key == Material(path=both)
    assert found.authority == Material(path=authority)


def test_a_token_needs_its_authority(disk: Disk) -> None:
    token = disk.put("/etc/kauditd/token", "SECRET-WORD")
    named = Named(token="/etc/kauditd/token")
    with pytest.raises(KauditError, match=r"ca\.crt"):
        find_credentials(disk.layout, named)
    authority = disk.put(AUTHORITY)
    found = find_credentials(disk.layout, named)

    assert found is not None
    assert (found.token, found.authority) == (Material(path=token), Material(path=authority))
    assert "SECRET-WORD" not in repr(found)


@pytest.mark.parametrize(
    "named",
    [
        Named(),
        Named(key="/etc/kauditd/client.key"),
        Named(certificate="/etc/kauditd/missing.crt"),
        Named(token="/etc/kauditd/missing"),
        Named(certificate="/etc/kauditd/client.crt", authority="/etc/kauditd/missing.crt"),
    ],
    ids=str,
)
def test_settings_that_cannot_be_used_are_not_replaced_by_something_else(disk: Disk, named: Named) -> None:
    """Whoever names credentials wants these: to fall back on the administrator's would be a surprise."""
    disk.kubeconfig(ADMIN, "token: other")
    disk.put("/etc/kauditd/client.crt")
    with pytest.raises(KauditError) as caught:
        find_credentials(disk.layout, named)

    assert caught.value.message.startswith("cannot ")
