"""A daemon in a throw-away root, for measuring it as a whole process."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFEST = REPOSITORY / "tests/data/manifests/v1.36.3/v1beta4/default.yaml"
START_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A daemon that has turned audit on in its root. ``plain`` and ``edited`` are the manifest's two forms."""

    root: Path
    process: "subprocess.Popen[bytes]"
    plain: bytes
    edited: bytes

    @property
    def manifest(self) -> Path:
        """The live manifest."""
        return self.root / "etc/kubernetes/manifests/kube-apiserver.yaml"

    @property
    def socket(self) -> Path:
        """The API's socket."""
        return self.root / "run/kauditd/kauditd.sock"


@contextmanager
def running(root: Path) -> Iterator[Running]:
    """Start a daemon on a real kubeadm manifest in ``root``; end it by its pid."""
    manifests = root / "etc/kubernetes/manifests"
    manifests.mkdir(parents=True)
    (root / "etc/kubernetes/tmp").mkdir()
    plain = MANIFEST.read_bytes()
    live = manifests / "kube-apiserver.yaml"
    live.write_bytes(plain)
    live.chmod(0o600)
    log = (root / "daemon.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "kauditd", "--root", str(root)], cwd=REPOSITORY, stdout=log, stderr=log
    )
    try:
        wait_until(lambda: live.read_bytes() != plain and (root / "run/kauditd/kauditd.sock").exists())
        yield Running(root=root, process=process, plain=plain, edited=live.read_bytes())
    except TimeoutError as exc:
        raise SystemExit(f"the daemon did not start:\n{(root / 'daemon.log').read_text()}") from exc
    finally:
        process.terminate()
        process.wait(timeout=10)
        log.close()


def wait_until(done: Callable[[], bool], *, timeout_s: float = START_S) -> None:
    """Poll a condition; TimeoutError when it stays false."""
    deadline_s = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline_s:
            raise TimeoutError
        time.sleep(0.02)
