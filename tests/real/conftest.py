"""The real components as fixtures: built once, certificates made once, one etcd and one node per test."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.real import build
from tests.real.cluster import HOST, ApiServer, Etcd, free_port, stopping
from tests.real.kubeadm import ADVERTISED, Kubeadm, configuration

DEFAULT_ETCD = "https://127.0.0.1:2379"  # where kubeadm's stacked etcd is


@pytest.fixture(scope="session", params=build.KUBERNETES_VERSIONS)
def release(request: pytest.FixtureRequest) -> build.Release:
    """The binaries of each Kubernetes minor; the first run builds them."""
    try:
        return build.kubernetes(request.param)
    except build.CannotBuild as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def etcd_binary() -> Path:
    try:
        return build.etcd()
    except build.CannotBuild as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="session")
def certificates(release: build.Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that holds what ``kubeadm init phase certs`` and ``kubeconfig super-admin`` of this release made."""
    root = tmp_path_factory.mktemp(f"pki-{release.version}-")
    cluster = {"apiServer": {"certSANs": [HOST]}}
    Kubeadm(release=release, root=root).write_certificates(configuration(release.version, cluster=cluster))
    return root


@pytest.fixture
def kubeadm(release: build.Release, node_root: Path) -> Kubeadm:
    """kubeadm of the release, writing into a fresh node."""
    return Kubeadm(release=release, root=node_root)


@pytest.fixture
def etcd_url() -> str:
    """Where the node's etcd listens."""
    return f"https://{HOST}:{free_port()}"


@pytest.fixture
def write_manifest(kubeadm: Kubeadm, etcd_url: str) -> Callable[..., bytes]:
    """What kubeadm writes, with this node's free ports on loopback: each call is another ``kubeadm``-run."""
    port = free_port()

    def write(cluster: Mapping[str, object] | None = None) -> bytes:
        text = kubeadm.write_manifest(configuration(kubeadm.release.version, port=port, cluster=cluster))
        return text.replace(ADVERTISED.encode(), HOST.encode()).replace(DEFAULT_ETCD.encode(), etcd_url.encode())

    return write


@pytest.fixture
def fresh_manifest(write_manifest: Callable[..., bytes]) -> bytes:
    """The manifest of a default configuration."""
    return write_manifest()


@pytest.fixture
def etcd(etcd_binary: Path, etcd_url: str, node_root: Path, certificates: Path) -> Iterator[Etcd]:
    """A running etcd with the node's certificates."""
    shutil.copytree(certificates / "etc/kubernetes", node_root / "etc/kubernetes", dirs_exist_ok=True)
    server = Etcd(binary=etcd_binary, node=node_root, client_url=etcd_url)
    with stopping(server):
        server.start()
        yield server


@pytest.fixture
def apiserver(release: build.Release, node_root: Path, etcd: Etcd) -> Iterator[ApiServer]:
    """The release's kube-apiserver, not started yet, ended after the test."""
    assert etcd.running
    server = ApiServer(binary=release.apiserver, node=node_root)
    with stopping(server):
        yield server
