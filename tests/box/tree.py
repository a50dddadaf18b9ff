"""The file tree of a bare Debian 12 with systemd: made once by mmdebstrap, kept outside the checkout.

Where packages come from is the machine's own apt configuration at run time; nothing of it stands here.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

RELEASE = "bookworm"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "procps",
    "python3-aiohttp",
    "python3-watchdog",
    "python3-ruamel.yaml",
    "python3-psutil",
    "python3-sdnotify",
)
OPTIONS = (
    "--mode=root",
    "--variant=minbase",
    '--aptopt=APT::Install-Recommends "false"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
)
PROGRAMS = ("systemd-nspawn", "mmdebstrap", "unshare", "nsenter", "apt-config")
BUILD_TIMEOUT_S = 600
SOURCES = Path("/etc/apt")


class CannotBoot(Exception):
    """Why no box can be had here, in one sentence."""


def require_box() -> None:
    """Raise CannotBoot where this machine lacks what a box needs."""
    if os.geteuid() != 0:
        raise CannotBoot("booting a container needs root")
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        hint = "apt-get install systemd-container mmdebstrap"
        raise CannotBoot(f"{', '.join(absent)} not installed ({hint})")
    if unified_cgroup() is None:
        raise CannotBoot("no cgroup2 hierarchy is mounted")


def unified_cgroup() -> Path | None:
    """The root of the cgroup2 hierarchy, alone or beside version 1."""
    for path in (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        if (path / "cgroup.controllers").exists() and os.access(path, os.W_OK):
            return path
    return None


def ready_tree() -> Path:
    """The tree, built first where this recipe has none yet (about a minute). Raises CannotBoot."""
    require_box()
    recipe = hashlib.sha256("\n".join([RELEASE, *PACKAGES, *OPTIONS]).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("CACHE") or Path.home() / ".cache/kauditd") / "box"
    cache.mkdir(parents=True, exist_ok=True)
    tree = cache / f"{RELEASE}-{recipe}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            _build(tree)
    return tree


def _build(tree: Path) -> None:
    new = tree.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    sources = new.with_suffix(".sources")
    words = [
        *("mmdebstrap", *OPTIONS, *_proxies(), f"--include={','.join(PACKAGES)}", RELEASE, str(new)),
        *_sources(sources),
    ]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise CannotBoot(f"mmdebstrap did not end within {BUILD_TIMEOUT_S} s") from error
    if done.returncode != 0:
        raise CannotBoot(f"mmdebstrap failed: {done.stderr[-500:]}")
    (new / "etc/hostname").unlink(missing_ok=True)  # else every box has the name of the machine
    new.rename(tree)


def _sources(directory: Path) -> list[str]:
    """Files with those entries of this machine's apt sources that are of the release, both formats."""
    directory.mkdir(exist_ok=True)
    stanzas, lines = [], []
    for path in sorted(SOURCES.glob("sources.list.d/*.sources")):
        stanzas += [text for text in re.split(r"\n\s*\n", path.read_text()) if _is_of_release(text)]
    for path in [SOURCES / "sources.list", *sorted(SOURCES.glob("sources.list.d/*.list"))]:
        if path.is_file():
            lines += [line for line in path.read_text().splitlines() if re.match(rf"deb\s.*\b{RELEASE}\b", line)]
    files = []
    for name, text in (("box.sources", "\n\n".join(stanzas)), ("box.list", "\n".join(lines))):
        if text:
            (directory / name).write_text(text + "\n")
            files.append(str(directory / name))
    if not files:
        raise CannotBoot(f"apt on this machine knows no mirror of Debian {RELEASE}")
    return files


def _is_of_release(stanza: str) -> bool:
    enabled = not re.search(r"(?mi)^Enabled:\s*(no|false|0)", stanza)
    return enabled and re.search(rf"(?mi)^Suites:.*\b{RELEASE}\b", stanza) is not None


def _proxies() -> list[str]:
    done = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True, timeout=30)
    lines = [line for line in done.stdout.splitlines() if re.match(r"Acquire::https?::Proxy\b", line)]
    return [f"--aptopt={line.rstrip(';')}" for line in lines]


def main() -> int:
    """``python -m tests.box.tree``: build the tree, or say why not. Exit code 1 where no box can be had."""
    try:
        print(ready_tree())
    except CannotBoot as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
