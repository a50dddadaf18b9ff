"""Where the simulated kubelet runs: in a thread of this process, or in a process of its own that looks like a kubelet.

The process is started as ``kubelet -mkauditd.sim.hosting --root=ROOT``, so that whoever looks for a kubelet by argv[0]
finds one, and an argument names the root. It lives as long as its standard input stays open, so that it cannot outlive
whoever started it; a signal of the parent's death would be bound to the thread that made the process.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from kauditd.errors import KauditError
from kauditd.sim.journal import RUN_DIR, Journal
from kauditd.sim.kubelet import Kubelet, NodeConfig
from kauditd.sim.process import interpreter, python_environment

NODE_FILE = f"{RUN_DIR}/node.json"
OUTPUT_FILE = f"{RUN_DIR}/kubelet.out"
STOP_TIMEOUT_S = 10.0


class KubeletHost(Protocol):
    """Runs one kubelet. ``stop`` returns when it and every process that it started have ended."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    @property
    def failure(self) -> BaseException | None:
        """What ended the kubelet before it was asked to stop, None while all is well."""
        ...


class KubeletThread:
    """The kubelet in a thread: quickest to start, and no kubelet is to be seen in the process table."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._thread = threading.Thread(target=self._run, name="simulated-kubelet", daemon=True)
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def failure(self) -> BaseException | None:
        """What ended the kubelet, None while all is well."""
        return self._failure

    def start(self) -> None:
        """Start the thread; its event loop runs when this returns."""
        self._thread.start()
        self._started.wait(STOP_TIMEOUT_S)

    def stop(self) -> None:
        """Ask and wait."""
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._started.set()
        (self._failure,) = await asyncio.gather(run_kubelet(self._config, self._stop), return_exceptions=True)


class KubeletProcess:
    """The kubelet in a process of its own, as a daemon on the node expects to see one."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = False

    @property
    def failure(self) -> BaseException | None:
        """Set where the process has ended by itself; its output says why."""
        if self._process is None or self._stopping or self._process.poll() is None:
            return None
        output = Path(self._config.root, OUTPUT_FILE).read_text(encoding="utf-8", errors="replace")
        return KauditError(f"cannot keep the simulated kubelet running: it exited {self._process.returncode}: {output}")

    def start(self) -> None:
        """Start the process; its output goes to a file in the root."""
        with Path(self._config.root, OUTPUT_FILE).open("ab") as output:
            self._process = subprocess.Popen(
                ["kubelet", "-mkauditd.sim.hosting", f"--root={self._config.root}"],
                executable=interpreter(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=dict(python_environment()),
                cwd="/",
                start_new_session=True,
            )

    def stop(self) -> None:
        """Close its standard input and wait; by force after ten seconds."""
        self._stopping = True
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def run_kubelet(config: NodeConfig, stop: asyncio.Event) -> None:
    """One kubelet with its record, until ``stop`` is set."""
    journal = Journal(config.root, speed=config.speed)
    try:
        await Kubelet(config, journal).run(stop)
    finally:
        journal.close()


def load_config(root: str) -> NodeConfig:
    """The configuration that the node left in its root."""
    facts = json.loads(Path(root, NODE_FILE).read_text(encoding="utf-8"))
    facts.pop("port")
    return NodeConfig(**{**facts, "missing_images": frozenset(facts["missing_images"])})


async def _serve(config: NodeConfig) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)

    def look_at_input() -> None:
        if not os.read(0, 1):
            loop.remove_reader(0)
            stop.set()

    loop.add_reader(0, look_at_input)
    await run_kubelet(config, stop)


def main(arguments: Sequence[str]) -> int:
    """``--root=ROOT`` of a prepared node. Exit code 0 when asked to stop."""
    (word,) = arguments
    asyncio.run(_serve(load_config(word.removeprefix("--root="))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
