"""``kubeadm upgrade``, as far as a watcher on the node can see it: the same file operations in the same order.

Upstream: kubeadm ``phases/upgrade/staticpods.go`` and ``util/apiclient/wait.go``; the order and the times were recorded
with kubeadm v1.37.2. kubeadm never looks at the flags of what it replaces: the file it moves in comes from its own
configuration, and all it waits for is that the mirror pod's hash changes and that the pod runs.
"""

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from kauditd.errors import KauditError, quote
from kauditd.sim.hosting import NODE_FILE
from kauditd.sim.kubelet import MANIFESTS_DIR, STATUS_FILE
from kauditd.sim.manifests import component_manifest, kubeadm_manifest
from kauditd.sim.pod import NotAPod, pods_equal
from kauditd.sim.process import interpreter, python_environment

COMPONENT = "kube-apiserver"
TMP_DIR = "etc/kubernetes/tmp"
STAGED_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
RENEWED = ("apiserver", "apiserver-kubelet-client", "front-proxy-client", "apiserver-etcd-client")
BEFORE_STAGING_S = 0.6  # staging directory made to manifests written in it
RENEWAL_S = 0.4  # four key pairs
BETWEEN_RENAMES_REAL_S = 0.0003  # manifest absent, a matter of the file system and not of the speed factor
ETCD_WAIT_S = 72.0  # kubeadm waits for the restarted etcd
MANIFEST_TIMEOUT_S = 300.0  # timeouts.upgradeManifests
POLL_S = 0.5


class UpgradeOutcome(StrEnum):
    """How a run ended; all but ``rolled-back`` are exit code 0."""

    UPGRADED = "upgraded"
    EQUAL = "equal"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeStep:
    """One file operation or wait, with its moment and the path it concerned."""

    at_unix_s: float
    what: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeResult:
    """What kubeadm would print and return, and when it did what."""

    outcome: UpgradeOutcome
    exit_code: int
    message: str
    backup_dir: str
    timeline: tuple[UpgradeStep, ...] = field(default=())

    def at(self, what: str) -> float:
        """When ``what`` happened, Unix seconds. Raises StopIteration where it did not."""
        return next(step.at_unix_s for step in self.timeline if step.what == what)


class UpgradeFailed(KauditError):
    """A step failed; what was moved is moved back."""


Observer = Callable[[UpgradeStep], None]


def write_manifest(root: str, version: str) -> Path:
    """``kubeadm init phase control-plane apiserver``: the default manifest, written in place, mode 0600."""
    facts = _facts(root)
    path = Path(root + MANIFESTS_DIR, f"{COMPONENT}.yaml")
    path.parent.mkdir(0o700, parents=True, exist_ok=True)
    _write_in_place(path, _manifest(facts, version))
    return path


def _manifest(facts: Mapping[str, object], version: str) -> bytes:
    return kubeadm_manifest(
        version,
        address=str(facts["address"]),
        port=int(str(facts["port"])),
        etcd_port=int(str(facts["etcd_port"])) or 2379,
    )


def upgrade(
    root: str,
    version: str,
    *,
    etcd_wait_s: float | None = ETCD_WAIT_S,
    renew: bool = True,
    staged: bytes | None = None,
    observer: Observer | None = None,
) -> UpgradeResult:
    """``kubeadm upgrade apply VERSION`` on a running simulated node. Blocks like the real one, in simulated time.

    ``etcd_wait_s=None`` is ``--etcd-upgrade=false``, ``renew=False`` is ``--certificate-renewal=false``. ``staged`` is
    what kubeadm-config makes kubeadm emit, its default manifest where None. ``observer`` is called after each step, in
    the middle of the run, as a watcher with perfect timing would be. Raises ``UpgradeFailed`` where ``root`` is no
    simulated node, or one whose API server was never up.
    """
    return _Upgrade(root, version, observer).run(etcd_wait_s=etcd_wait_s, renew=renew, staged=staged)


def start_upgrade(
    root: str, version: str, *, etcd_wait_s: float | None = ETCD_WAIT_S, renew: bool = True
) -> subprocess.Popen[str]:
    """The same in a process that looks like kubeadm; ``read_upgrade`` waits for it and gives the result."""
    words = ["upgrade", "apply", version, f"--root={root}", f"--certificate-renewal={str(renew).lower()}"]
    words.append("--etcd-upgrade=false" if etcd_wait_s is None else f"--etcd-wait={etcd_wait_s}")
    return subprocess.Popen(
        ["kubeadm", "-mkauditd.sim.upgrade", *words],
        executable=interpreter(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(python_environment()),
        cwd="/",
    )


def read_upgrade(process: subprocess.Popen[str], *, timeout_s: float) -> UpgradeResult:
    """Wait for ``start_upgrade``'s process. Raises ``UpgradeFailed`` where it says nothing or takes too long."""
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as exc:
        process.kill()
        process.communicate()
        raise UpgradeFailed(f"cannot finish the upgrade: it took longer than {timeout_s:.0f} s") from exc
    try:
        fields = json.loads(output)
    except json.JSONDecodeError as exc:
        raise UpgradeFailed(f"cannot read the upgrade's result: {quote(output)}") from exc
    timeline = tuple(UpgradeStep(**step) for step in fields.pop("timeline"))
    return UpgradeResult(**{**fields, "outcome": UpgradeOutcome(fields["outcome"])}, timeline=timeline)


def main(arguments: Sequence[str]) -> int:
    """``upgrade apply VERSION --root=ROOT``; prints the result as JSON. Exit code as kubeadm's."""
    parser = argparse.ArgumentParser(prog="kubeadm", description="kubeadm upgrade of a simulated node")
    parser.add_argument("verb", choices=["upgrade"])
    parser.add_argument("what", choices=["apply", "node"])
    parser.add_argument("version")
    parser.add_argument("--root", required=True)
    parser.add_argument("--certificate-renewal", default="true", choices=["true", "false"])
    parser.add_argument("--etcd-upgrade", default="true", choices=["true", "false"])
    parser.add_argument("--etcd-wait", type=float, default=ETCD_WAIT_S, help="simulated seconds")
    options = parser.parse_args(arguments)
    result = upgrade(
        options.root,
        options.version,
        etcd_wait_s=options.etcd_wait if options.etcd_upgrade == "true" else None,
        renew=options.certificate_renewal == "true",
    )
    print(json.dumps(asdict(result)))
    return result.exit_code


class _Upgrade:
    def __init__(self, root: str, version: str, observer: Observer | None) -> None:
        facts = _facts(root)
        self._root = Path(root)
        self._version = version
        self._observer = observer
        self._speed = float(str(facts["speed"]))
        self._plain = _manifest(facts, version)
        self._key = f"kube-system/{COMPONENT}-{facts['node_name']}"
        self._timeline: list[UpgradeStep] = []
        tmp = self._root / TMP_DIR
        stamp = _free_stamp(tmp)
        self._staging = tmp / f"kubeadm-upgraded-manifests{secrets.randbelow(10**9)}"
        self._backup = tmp / f"kubeadm-backup-manifests-{stamp}"
        self._etcd_backup = tmp / f"kubeadm-backup-etcd-{stamp}"
        self._live = Path(root + MANIFESTS_DIR, f"{COMPONENT}.yaml")

    def run(self, *, etcd_wait_s: float | None, renew: bool, staged: bytes | None) -> UpgradeResult:
        before = self._known_mirror_uid()
        for directory in (self._staging, self._backup, self._etcd_backup):
            directory.mkdir(0o700, parents=True)
        self._did("staging-made", self._staging)
        self._sleep(BEFORE_STAGING_S)
        self._write_staged(staged)
        candidate = self._staging / self._live.name
        try:
            if etcd_wait_s is not None and not self._equal(candidate):
                self._sleep(etcd_wait_s)
                self._did("etcd-restarted")
            if self._equal(candidate):
                self._did("equal", candidate)
                shutil.rmtree(self._staging)
                return self._result(UpgradeOutcome.EQUAL, f"{COMPONENT}: current and new manifests are equal")
            self._did("compared", candidate)
            if renew:
                self._renew()
            self._swap(candidate)
            self._wait_for_pod(before)
        except UpgradeFailed as exc:
            self._recover()
            return self._result(UpgradeOutcome.ROLLED_BACK, exc.message)
        shutil.rmtree(self._staging)
        return self._result(UpgradeOutcome.UPGRADED, f'component "{COMPONENT}" upgraded successfully')

    def _write_staged(self, staged: bytes | None) -> None:
        for component in STAGED_COMPONENTS:
            content = component_manifest(component, self._version)
            if component == COMPONENT:
                content = staged or self._plain
            _write_in_place(self._staging / f"{component}.yaml", content)
        self._did("staged", self._staging / self._live.name)

    def _equal(self, candidate: Path) -> bool:
        try:
            return pods_equal(self._live.read_bytes(), candidate.read_bytes())
        except (OSError, NotAPod) as exc:
            raise UpgradeFailed(f"couldn't upgrade control plane: {exc}") from exc

    def _renew(self) -> None:
        for name in RENEWED:
            self._sleep(RENEWAL_S / len(RENEWED))
            for suffix in ("key", "crt"):
                _write_in_place(self._root / f"etc/kubernetes/pki/{name}.{suffix}", secrets.token_bytes(64))
        self._did("renewed")

    def _swap(self, candidate: Path) -> None:
        """The two renames; in between there is no manifest."""
        try:
            self._live.rename(self._backup / self._live.name)
            self._did("moved-out", self._live)
            time.sleep(BETWEEN_RENAMES_REAL_S)
            candidate.rename(self._live)
        except OSError as exc:
            raise UpgradeFailed(f"couldn't upgrade control plane: {exc}") from exc
        self._did("moved-in", self._live)

    def _wait_for_pod(self, before: str) -> None:
        deadline = time.monotonic() + MANIFEST_TIMEOUT_S / self._speed
        while self._mirror_uid() == before or not self._pod().get("pid"):
            if time.monotonic() > deadline:
                raise UpgradeFailed(
                    "couldn't upgrade control plane. kubeadm has tried to recover everything into the earlier state. "
                    f"Errors faced: static Pod hash for component {COMPONENT} did not change after 5m0s: "
                    "context deadline exceeded"
                )
            self._sleep(POLL_S)
        self._did("pod-running")

    def _recover(self) -> None:
        saved = self._backup / self._live.name
        if saved.exists():
            saved.rename(self._live)
            self._did("rolled-back", self._live)

    def _known_mirror_uid(self) -> str:
        """The hash before the upgrade; kubeadm too asks until there is one."""
        deadline = time.monotonic() + MANIFEST_TIMEOUT_S / self._speed
        while not self._mirror_uid():
            if time.monotonic() > deadline:
                raise UpgradeFailed("couldn't read the mirror pod: the API server has never been up")
            self._sleep(POLL_S)
        return self._mirror_uid()

    def _mirror_uid(self) -> str:
        return str(self._pod().get("mirror_uid", ""))

    def _pod(self) -> Mapping[str, object]:
        try:
            pods = json.loads((self._root / STATUS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError as exc:
            raise UpgradeFailed("couldn't read the mirror pod: no kubelet has run on this simulated node") from exc
        found = pods.get(self._key, {})
        return found if isinstance(found, dict) else {}

    def _sleep(self, simulated_s: float) -> None:
        time.sleep(simulated_s / self._speed)

    def _did(self, what: str, path: Path | None = None) -> None:
        step = UpgradeStep(at_unix_s=time.time(), what=what, path="" if path is None else str(path))
        self._timeline.append(step)
        if self._observer is not None:
            self._observer(step)

    def _result(self, outcome: UpgradeOutcome, message: str) -> UpgradeResult:
        return UpgradeResult(
            outcome=outcome,
            exit_code=int(outcome is UpgradeOutcome.ROLLED_BACK),
            message=message,
            backup_dir=str(self._backup),
            timeline=tuple(self._timeline),
        )


def _free_stamp(tmp: Path) -> str:
    """The time in the names of the backups, moved on where a faster-than-life run was here in the same second."""
    moment = datetime.now(UTC)
    while (tmp / f"kubeadm-backup-manifests-{moment:%Y-%m-%d-%H-%M-%S}").exists():
        moment += timedelta(seconds=1)
    return f"{moment:%Y-%m-%d-%H-%M-%S}"


def _facts(root: str) -> Mapping[str, object]:
    try:
        facts = json.loads(Path(root, NODE_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise UpgradeFailed(f"cannot upgrade {root}: it is no simulated node", hint="start one there first") from exc
    return facts if isinstance(facts, dict) else {}


def _write_in_place(path: Path, content: bytes) -> None:
    """``os.WriteFile``: open with truncate, one write, no temporary file and no fsync."""
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
