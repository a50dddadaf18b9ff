"""One container as a process of this machine: its command line, its log in CRI format, its end.

The process gets argv[0] ``kube-apiserver`` while the program is this Python, so PYTHONHOME and PYTHONPATH say where the
standard library and the packages are; Python cannot find its virtual environment through a bare argv[0].
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time_ns

from kauditd.sim.container import ENVIRONMENT_KEY
from kauditd.sim.journal import RUN_DIR

BOOTSTRAP_NAME = "kube-apiserver.py"
BOOTSTRAP = """\
# Starts the stand-in API server of a simulated node; written by that node at its start.
import os
import sys

from kauditd.sim.apiserver import main

code = main(sys.argv[1:], parent_pid=int(os.environ["KAUDITD_SIM_PARENT"]))
sys.stdout.flush()
sys.stderr.flush()
# Not sys.exit: taking the interpreter apart costs seconds of the node's time.
os._exit(code)
"""


def write_bootstrap(root: str) -> None:
    """Put the file in place that the container's first argument names."""
    Path(root, RUN_DIR, BOOTSTRAP_NAME).write_text(BOOTSTRAP, encoding="utf-8")


def interpreter() -> str:
    """The program that runs this code; a process with a foreign argv[0] cannot trust ``sys.executable``."""
    return str(Path("/proc/self/exe").resolve())


def python_environment() -> Mapping[str, str]:
    """An environment in which a Python with a foreign argv[0] finds what this one has."""
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}",
        "PYTHONPATH": os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path if _is_ours(entry)),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _is_ours(entry: str) -> bool:
    """Whether a path entry is a package directory; PYTHONHOME already brings the standard library's own."""
    library = f"lib/python{sys.version_info.major}.{sys.version_info.minor}"
    return not entry.endswith((".zip", library, f"{library}/lib-dynload"))


def cri_time() -> str:
    """RFC 3339 with nanoseconds, trailing zeros cut, as containerd writes it."""
    now_ns = time_ns()
    seconds = datetime.fromtimestamp(now_ns // 1_000_000_000, UTC)
    fraction = f"{now_ns % 1_000_000_000:09d}".rstrip("0")
    return f"{seconds:%Y-%m-%dT%H:%M:%S}{'.' if fraction else ''}{fraction}Z"


class ContainerProcess:
    """A started container. ``exit_code`` follows the shell's convention: 137 after SIGKILL."""

    def __init__(self, process: asyncio.subprocess.Process, log_path: Path) -> None:
        self._process = process
        self._log_path = log_path
        self._readers = [
            asyncio.ensure_future(self._copy(stream, name))
            for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr"))
            if stream is not None
        ]

    @property
    def pid(self) -> int:
        """The process id on the host."""
        return self._process.pid

    async def wait(self) -> int:
        """Wait for the end and for the last line of its log. Returns the exit code."""
        code = await self._process.wait()
        await asyncio.gather(*self._readers)
        return 128 - code if code < 0 else code

    async def terminate(self, grace_s: float) -> int:
        """SIGTERM, then SIGKILL after ``grace_s`` real seconds. Returns the exit code."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with suppress(ProcessLookupError):
            self._process.kill()

    async def _copy(self, stream: asyncio.StreamReader, name: str) -> None:
        with self._log_path.open("ab", buffering=0) as log:
            while line := await stream.readline():
                log.write(f"{cri_time()} {name} F ".encode() + line.rstrip(b"\n") + b"\n")


async def start_container(
    *, root: str, flags: tuple[str, ...], container_file: Path, log_path: Path
) -> ContainerProcess:
    """Start the stand-in API server with ``flags`` and the view in ``container_file``; its log goes to ``log_path``."""
    process = await asyncio.create_subprocess_exec(
        "kube-apiserver",
        f"{root}/{RUN_DIR}/{BOOTSTRAP_NAME}",
        *flags,
        executable=interpreter(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={
            **python_environment(),
            ENVIRONMENT_KEY: str(container_file),
            "KAUDITD_SIM_PARENT": str(os.getpid()),
            "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        },
        cwd="/",
        start_new_session=True,
    )
    return ContainerProcess(process, log_path)
