"""A daemon in a throw-away root, for measuring it as a whole process."""

import os
import shutil
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


def install(directory: Path) -> Path:
    """A byte-compiled copy of the package, as the installed one is: compiling at start costs memory and time."""
    target = directory / "app"
    shutil.copytree(REPOSITORY / "kauditd", target / "kauditd", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(target)], env=clean_environment(target), check=True)
    return target


def clean_environment(app: Path) -> dict[str, str]:
    """The environment for programs of the installed copy."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COVERAGE"))}
    return {**kept, "PYTHONPATH": str(app)}


@contextmanager
def running(app: Path, root: Path) -> Iterator[Running]:
    """Start the daemon of ``app`` on a real kubeadm manifest in ``root``; end it by its pid."""
    manifests = root / "etc/kubernetes/manifests"
    manifests.mkdir(parents=True)
    (root / "etc/kubernetes/tmp").mkdir()
    plain = MANIFEST.read_bytes()
    live = manifests / "kube-apiserver.yaml"
    live.write_bytes(plain)
    live.chmod(0o600)
    log = (root / "daemon.log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-m", "kauditd", "--root", str(root)],
        cwd=app,
        env=clean_environment(app),
        stdout=log,
        stderr=log,
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
