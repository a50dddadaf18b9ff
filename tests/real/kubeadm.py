"""The real kubeadm, run for single phases into a directory that stands for a node's root."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.real.build import Release

MANIFEST = "etc/kubernetes/manifests/kube-apiserver.yaml"
CONFIGURATION = "kubeadm.yaml"
CA_DIRECTORIES = (
    "etc/ssl/certs",
    "etc/ca-certificates",
    "usr/share/ca-certificates",
    "usr/local/share/ca-certificates",
)
"""kubeadm mounts those that the node has; a Debian node has all four."""

ADVERTISED = "192.0.2.10"
"""kubeadm replaces a loopback address by that of the default route, so it is asked for a documentation address."""

RUN_LIMIT_S = 60


def configuration(version: str, *, port: int = 6443, cluster: Mapping[str, object] | None = None) -> str:
    """A v1beta4 configuration (JSON is YAML); ``cluster`` holds keys of the ClusterConfiguration."""
    api_version = "kubeadm.k8s.io/v1beta4"
    documents: list[Mapping[str, object]] = [
        {
            "apiVersion": api_version,
            "kind": "InitConfiguration",
            "localAPIEndpoint": {"advertiseAddress": ADVERTISED, "bindPort": port},
            "nodeRegistration": {"name": "cp1"},
        },
        {
            "apiVersion": api_version,
            "kind": "ClusterConfiguration",
            "kubernetesVersion": version,
            **(cluster or {}),
        },
    ]
    return "\n---\n".join(json.dumps(document, indent=1) for document in documents)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kubeadm:
    """One release's kubeadm with the directory it writes into."""

    release: Release
    root: Path

    def write_manifest(self, text: str) -> bytes:
        """The API server's manifest as ``kubeadm init`` writes it for the configuration ``text``.

        It is written in a directory of its own below the root, as the staged file of an upgrade is.
        """
        with tempfile.TemporaryDirectory(dir=self.root, prefix="staging-") as staging:
            replace(self, root=Path(staging))._phase("control-plane", "apiserver", text=text)
            return (Path(staging) / MANIFEST).read_bytes()

    def write_certificates(self, text: str) -> None:
        """Make the CAs, every certificate, and the kubeconfig of ``system:masters``."""
        self._phase("certs", "all", text=text)
        self._phase("kubeconfig", "super-admin", text=text)

    def _phase(self, *phase: str, text: str) -> None:
        for directory in (*CA_DIRECTORIES, "etc/kubernetes"):
            (self.root / directory).mkdir(parents=True, exist_ok=True)
        (self.root / CONFIGURATION).write_text(text)
        command = [*_as_root(), str(self.release.kubeadm), "init", "phase", *phase]
        done = subprocess.run(
            [*command, "--config", f"/{CONFIGURATION}", "--rootfs", str(self.root)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=RUN_LIMIT_S,
        )
        (self.root / CONFIGURATION).unlink()
        if done.returncode:
            pytest.fail(f"kubeadm init phase {' '.join(phase)} failed: {done.stdout}{done.stderr}")


def _as_root() -> list[str]:
    """What must stand before a command that changes its root directory: nothing for root, else a user namespace."""
    if os.geteuid() == 0:
        return []
    unshare = [shutil.which("unshare") or "unshare", "--user", "--map-root-user"]
    try:
        subprocess.run([*unshare, "true"], check=True, capture_output=True, timeout=10)
    except (OSError, subprocess.SubprocessError) as exc:
        pytest.skip(f"kubeadm --rootfs needs root or user namespaces: {exc}")
    return unshare
