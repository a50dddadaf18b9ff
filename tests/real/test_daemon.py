"""The daemon on a node with the real kubeadm's manifest and the real API server, from first edit to removal."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.real.cluster import ApiServer, Server, stopping
from tests.real.kubeadm import MANIFEST
from tests.real.kubelet import kubelet
from tests.tree import ROOT

pytestmark = [pytest.mark.real, pytest.mark.timeout(240, func_only=True)]

SETTINGS = "target:\n  kubelet_stable_s: 0\nproof:\n  canary_interval_s: 5\n"
AUDIT_FLAGS = ("audit-log-maxage", "audit-log-maxbackup", "audit-log-maxsize", "audit-log-path", "audit-policy-file")
RESTORE_LIMIT_S = 1.0  # promise P4, with file events
PROVEN_LIMIT_S = 90.0


def control(node: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``kauditctl`` as an operator calls it."""
    return subprocess.run(
        [sys.executable, "-m", "kauditd.cli.main", *words, "--root", str(node)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PROVEN_LIMIT_S + 30,
    )


def status(node: Path) -> dict[str, Any]:
    answer = json.loads(control(node, "status", "--format", "json").stdout)
    return dict(answer.get("result", answer))


def wait_protected(node: Path) -> None:
    done = control(node, "wait", "--for", "protected", "--timeout", f"{PROVEN_LIMIT_S:.0f}s")
    assert done.returncode == 0, done.stdout + done.stderr


@contextmanager
def daemon(node: Path) -> Iterator[Server]:
    """``kauditd --root`` with short intervals, running."""
    settings = node / "etc/kauditd/kauditd.yaml"
    settings.write_text(SETTINGS)
    settings.chmod(0o640)
    server = Server(name="kauditd", log=node / "kauditd.log")
    with stopping(server):
        server.spawn([sys.executable, "-m", "kauditd", "--root", str(node)])
        socket = node / "run/kauditd/kauditd.sock"
        server.wait_until(socket.exists, what="socket", limit_s=20)
        yield server


def overwrite(manifest: Path, content: bytes, *, aside: Path) -> None:
    """Replace the live manifest as ``kubeadm upgrade`` does: the old file moves out, then the staged one moves in."""
    staged = aside / "staged.yaml"
    staged.write_bytes(content)
    staged.chmod(0o600)
    manifest.rename(aside / "old.yaml")
    staged.rename(manifest)


def flags_of(text: str) -> set[str]:
    """The audit flags in a manifest or a command line."""
    words = {word.strip().removeprefix("- ") for word in text.splitlines()}
    return {word for word in words if word.startswith(tuple(f"--{name}=" for name in AUDIT_FLAGS))}


def running_flags(server: ApiServer, node: Path) -> set[str]:
    return flags_of("\n".join(word.replace(f"={node}/", "=/") for word in server.command_line()))


def wait_for(what: str, condition: Callable[[], bool], *, limit_s: float) -> float:
    """Poll; the seconds it took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s, f"no {what} within {limit_s} s"
        time.sleep(0.01)
    return time.monotonic() - started


def test_enabled_overwritten_by_kubeadm_and_disabled(
    apiserver: ApiServer, write_manifest: Callable[..., bytes], node_root: Path
) -> None:
    """Audit is turned on and proven, comes back after kubeadm's overwrite, and leaves kubeadm's bytes behind."""
    manifest = node_root / MANIFEST
    fresh = write_manifest()
    regenerated = write_manifest({"apiServer": {"extraArgs": [{"name": "profiling", "value": "false"}]}})
    manifest.write_bytes(fresh)
    manifest.chmod(0o600)
    with kubelet(server=apiserver, node=node_root, manifest=manifest) as supervisor:
        wait_for("API server", lambda: apiserver.running and apiserver.ready(), limit_s=60)
        assert not running_flags(apiserver, node_root)

        with daemon(node_root):
            wait_protected(node_root)
            assert len(flags_of(manifest.read_text())) == len(AUDIT_FLAGS)
            assert running_flags(apiserver, node_root) == flags_of(manifest.read_text())
            told = status(node_root)
            assert told["verdict"] == "protected"
            assert told["last_change"]["outcome"] == "proven"
            assert told["target"]["version"] == apiserver.version
            assert supervisor.starts == 2

            overwrite(manifest, regenerated, aside=node_root)
            wait_for("audit flags", lambda: bool(flags_of(_text(manifest))), limit_s=RESTORE_LIMIT_S)
            assert "--profiling=false" in manifest.read_text()
            wait_for("API server", lambda: "--profiling=false" in apiserver.command_line(), limit_s=60)
            wait_protected(node_root)
            assert running_flags(apiserver, node_root) == flags_of(manifest.read_text())
            # The wait of the real kubelet would make one restart of it; this one is fast and may see both files.
            assert supervisor.starts in {3, 4}

            done = control(node_root, "disable")
            assert done.returncode == 0, done.stdout + done.stderr
            assert hashlib.sha256(manifest.read_bytes()).digest() == hashlib.sha256(regenerated).digest()
            wait_for("API server", lambda: bool(apiserver.command_line()) and apiserver.ready(), limit_s=60)
            assert not running_flags(apiserver, node_root)
    assert os.listdir(manifest.parent) == [manifest.name]


def test_a_log_path_that_is_a_directory_is_undone(apiserver: ApiServer, fresh_manifest: bytes, node_root: Path) -> None:
    """The API server ends at once with such a path: the old manifest comes back, and the state is not tried again."""
    manifest = node_root / MANIFEST
    manifest.write_bytes(fresh_manifest)
    manifest.chmod(0o600)
    (node_root / "var/log/kubernetes/audit/audit.log").mkdir(parents=True)
    with kubelet(server=apiserver, node=node_root, manifest=manifest):
        wait_for("API server", lambda: apiserver.running and apiserver.ready(), limit_s=60)

        with daemon(node_root):
            wait_for("edit", lambda: bool(flags_of(_text(manifest))), limit_s=60)
            wait_for("undoing", lambda: _text(manifest).encode() == fresh_manifest, limit_s=150)
            wait_for("API server", lambda: bool(apiserver.command_line()) and apiserver.ready(), limit_s=60)
            wait_for("outcome", lambda: status(node_root)["last_change"]["outcome"] == "rolled-back", limit_s=60)
            told = status(node_root)

            assert told["verdict"] == "unprotected"
            time.sleep(6)  # longer than a resync: a bad target state is never tried twice
            assert manifest.read_bytes() == fresh_manifest


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
