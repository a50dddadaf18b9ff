"""Builds the real components from their Go modules, once, into ``$CACHE/real/VERSION/`` outside the tree.

``python -m tests.real.build`` builds all of them with a line of progress each; ``--missing`` builds nothing, prints why
this machine cannot build (exit 1) or nothing (exit 0). What is there already is not built again, and two runs at once
wait for each other instead of building twice. Where modules come from is the machine's own Go configuration.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.tree import cache_dir

KUBERNETES_VERSIONS = tuple(os.environ.get("REAL_VERSIONS", "v1.36.3 v1.37.2").split())
ETCD_VERSION = "v3.7.0"  # kubeadm of these minors writes flags that older servers do not know
EQUAL = "equal"  # a program of ours around kubeadm's own comparison of manifests: oracle/equal.go
KUBERNETES_COMPONENTS = ("kubeadm", "kube-apiserver", EQUAL)
GO_MINIMUM = (1, 26)
BUILD_LIMIT_S = 25 * 60
ROOT_MODULE = "module real-components\n"


class CannotBuild(Exception):
    """A prerequisite is missing; the message says which, for a skip line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The binaries of one Kubernetes release."""

    version: str
    directory: Path

    @property
    def kubeadm(self) -> Path:
        return self.directory / "kubeadm"

    @property
    def apiserver(self) -> Path:
        return self.directory / "kube-apiserver"

    @property
    def equal(self) -> Path:
        return self.directory / EQUAL


def missing() -> str:
    """Why nothing can be built here, or "" where it can; where all is built already no Go is needed."""
    wanted = [_home(v) / c for v in KUBERNETES_VERSIONS for c in KUBERNETES_COMPONENTS] + [_home("etcd") / "etcd"]
    if all(path.exists() for path in wanted):
        return ""
    minimum = ".".join(map(str, GO_MINIMUM))
    if not shutil.which("go"):
        return f"go >= {minimum} is not installed"
    match = re.search(r"go(\d+)\.(\d+)", _go("version", directory=Path("/")))
    found = (int(match[1]), int(match[2])) if match else (0, 0)
    return "" if found >= GO_MINIMUM else f"go >= {minimum} is needed, found {'.'.join(map(str, found))}"


@cache
def kubernetes(version: str) -> Release:
    """The release's binaries, built if they are not there; ``CannotBuild`` where that is not possible."""
    directory = _home(version)
    for component in KUBERNETES_COMPONENTS:
        _ensure(directory / component, partial(_build_kubernetes, version, component))
    return Release(version=version, directory=directory)


@cache
def etcd() -> Path:
    """The etcd binary, built if it is not there; ``CannotBuild`` where that is not possible."""
    binary = _home("etcd") / "etcd"
    _ensure(binary, _build_etcd)
    return binary


def _home(version: str) -> Path:
    return cache_dir() / "real" / (f"etcd-{ETCD_VERSION}" if version == "etcd" else version)


def _ensure(binary: Path, build: Callable[[Path], Path]) -> None:
    """Build under a lock into a working directory; the finished binary appears under its name at once or not at all."""
    if binary.exists():
        return
    if reason := missing():
        raise CannotBuild(reason)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(cache_dir() / "real/.lock"):
        if binary.exists():  # the run that held the lock has built it
            return
        started = time.monotonic()
        _say(f"building {binary.parent.name}/{binary.name} from Go modules")
        with tempfile.TemporaryDirectory(dir=binary.parent, prefix=".build-") as work:
            build(Path(work)).replace(binary)
        _say(f"built {binary.parent.name}/{binary.name} in {time.monotonic() - started:.0f} s")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build_kubernetes(version: str, component: str, work: Path) -> Path:
    """``k8s.io/kubernetes`` replaces its staging modules by directories; here each is the published module instead."""
    staging = version.replace("v1.", "v0.", 1)
    downloaded = json.loads(_go("mod", "download", "-json", f"k8s.io/kubernetes@{version}", directory=work))
    origin = json.loads(_go("mod", "edit", "-json", downloaded["GoMod"], directory=work))
    lines = [ROOT_MODULE, f"go {origin['Go']}", f"require k8s.io/kubernetes {version}"]
    lines += [f"godebug {setting['Key']}={setting['Value']}" for setting in origin.get("Godebug") or ()]
    local = [r["Old"]["Path"] for r in origin["Replace"] if r["New"]["Path"].startswith("./staging/")]
    lines += [f"replace {path} => {path} {staging}" for path in local]
    (work / "go.mod").write_text("\n".join(lines) + "\n")
    if component == EQUAL:
        shutil.copy(Path(__file__).with_name("oracle") / "equal.go", work)
        return _compile(".", work, {})
    return _compile(f"k8s.io/kubernetes/cmd/{component}", work, _kubernetes_stamps(version))


def _kubernetes_stamps(version: str) -> dict[str, str]:
    """What a release build stamps in; without it kubeadm calls itself v0.0.0 and refuses every configuration."""
    major, minor = re.findall(r"\d+", version)[:2]
    values = {
        "gitVersion": version,
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "2026-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


def _build_etcd(work: Path) -> Path:
    module = "go.etcd.io/etcd/server/v3"
    minimum = ".".join(map(str, GO_MINIMUM))
    (work / "go.mod").write_text(f"{ROOT_MODULE}go {minimum}\nrequire {module} {ETCD_VERSION}\n")
    return _compile(module, work, {})


def _compile(package: str, work: Path, stamps: dict[str, str]) -> Path:
    flags = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])
    output = work / "binary"
    _go("build", "-mod=mod", "-buildvcs=false", "-ldflags", flags, "-o", str(output), package, directory=work)
    return output


def _go(*arguments: str, directory: Path) -> str:
    """Run go statically linking, without a workspace file or a different tool chain taking over."""
    environment = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
    try:
        done = subprocess.run(
            ["go", *arguments],
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_LIMIT_S,
        )
    except subprocess.TimeoutExpired as exc:
        raise CannotBuild(f"go {arguments[0]} took more than {BUILD_LIMIT_S} s") from exc
    if done.returncode:
        raise CannotBuild(f"go {arguments[0]} failed: {done.stderr.strip()[-400:]}")
    return done.stdout


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.__stderr__, flush=True)


def main(arguments: list[str]) -> int:
    """Build everything, or only say what is missing."""
    reason = missing()
    if reason or "--missing" in arguments:
        print(reason, end="\n" if reason else "")
        return int(bool(reason))
    try:
        etcd()
        for version in KUBERNETES_VERSIONS:
            kubernetes(version)
    except CannotBuild as exc:
        print(exc)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
