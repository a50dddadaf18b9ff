"""A whole simulated node: directories, a manifest as kubeadm writes it, the kubelet, and a way to wait.

``python -m kauditd.sim.node --root DIR --speed 20`` runs one in the foreground until SIGTERM or Ctrl-C.
"""

import argparse
import http.client
import json
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Self

from kauditd.errors import Refused
from kauditd.sim.client import unverified_tls
from kauditd.sim.hosting import NODE_FILE, KubeletHost, KubeletProcess, KubeletThread
from kauditd.sim.journal import EVENTS_FILE, RUN_DIR, NodeEvent, read_events
from kauditd.sim.kubelet import MANIFESTS_DIR, STATUS_FILE, NodeConfig
from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.process import write_bootstrap

MANIFEST_NAME = "kube-apiserver.yaml"
DIRECTORIES = (
    RUN_DIR,
    f"{RUN_DIR}/faults",
    MANIFESTS_DIR.lstrip("/"),
    "etc/kubernetes/pki",
    "etc/kubernetes/tmp",
    "etc/kauditd",
    "var/log/pods",
    "var/lib/kauditd",
    "run/kauditd",
)


def free_port(address: str) -> int:
    """A port of ``address`` that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


class Node:
    """Start, watch and stop one simulated node. A context manager; ``stop`` leaves no process and no thread behind.

    A manifest that is already there is kept; else kubeadm's default one of ``version`` is written. The kubelet gets a
    process of its own, which the daemon looks for, or with ``own_process=False`` a thread, which starts quicker.
    """

    def __init__(
        self, config: NodeConfig, *, version: str = "v1.36.3", port: int = 0, own_process: bool = True
    ) -> None:
        self.config = replace(config, etcd_port=config.etcd_port or free_port(config.address))
        self.root = config.root
        self.port = port or free_port(config.address)
        self.manifest = Path(config.root + MANIFESTS_DIR, MANIFEST_NAME)
        self._version = version
        self._own_process = own_process
        self._host: KubeletHost | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def prepare(self) -> None:
        """Make the directories, the bootstrap file, ``node.json`` and, where none is there, the manifest."""
        for directory in DIRECTORIES:
            Path(self.root, directory).mkdir(parents=True, exist_ok=True)
        Path(self.root, "etc/kubernetes/tmp").chmod(0o700)
        write_bootstrap(self.root)
        facts = {**asdict(self.config), "missing_images": sorted(self.config.missing_images), "port": self.port}
        Path(self.root, NODE_FILE).write_text(json.dumps(facts), encoding="utf-8")
        if not self.manifest.exists():
            self.manifest.write_bytes(
                kubeadm_manifest(
                    self._version, address=self.config.address, port=self.port, etcd_port=self.config.etcd_port
                )
            )
            self.manifest.chmod(0o600)

    def start(self) -> None:
        """Start the kubelet; returns when it has read the manifests directory."""
        if self._host is not None:
            raise Refused("cannot start the simulated node: it runs already")
        self.prepare()
        before = len(self.events())
        self._host = KubeletProcess(self.config) if self._own_process else KubeletThread(self.config)
        self._host.start()
        self.wait_event("kubelet-start", after=before, timeout_s=10)

    def stop(self) -> None:
        """Stop the kubelet and every API server that it started."""
        host, self._host = self._host, None
        if host is None:
            return
        host.stop()
        shutil.rmtree(Path(self.root, RUN_DIR, "containers"), ignore_errors=True)
        if host.failure is not None:
            raise host.failure

    @property
    def failure(self) -> BaseException | None:
        """What ended the kubelet, None while all is well."""
        return None if self._host is None else self._host.failure

    def _mirrored(self) -> bool:
        """Whether the kubelet has seen the newest process's API and published its pod, as kubeadm reads it."""
        events = self.events()
        starts = [index for index, event in enumerate(events) if event.event == "process-start"]
        if not starts:
            return False
        seen = any(event.event == "mirror-pod" for event in events[starts[-1] :])
        return seen and self.status().get("mirror_uid") == events[starts[-1]].uid

    def _raise_failure(self) -> None:
        failure = self.failure
        if failure is not None:
            raise failure

    def real_s(self, simulated_s: float) -> float:
        """How long ``simulated_s`` lasts on this node."""
        return simulated_s / self.config.speed

    def sleep(self, simulated_s: float) -> None:
        """Let simulated time pass."""
        time.sleep(self.real_s(simulated_s))

    def events(self, name: str = "") -> list[NodeEvent]:
        """The record so far, all of it or one kind of event."""
        return [event for event in read_events(self.root) if not name or event.event == name]

    def wait_event(self, name: str, *, after: int = 0, timeout_s: float = 20.0) -> NodeEvent:
        """The first ``name`` behind the first ``after`` lines of the record. Raises TimeoutError after real seconds."""
        deadline = time.monotonic() + timeout_s
        while True:
            self._raise_failure()
            found = next((event for event in self.events()[after:] if event.event == name), None)
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {name} within {timeout_s} s; last events: {self.events()[-5:]}")
            time.sleep(0.005)

    def get(
        self, path: str, *, headers: Mapping[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, str]:
        """One request to the API server: status and body; status 0 while nothing listens."""
        connection = http.client.HTTPSConnection(self.config.address, self.port, timeout=10, context=unverified_tls())
        with closing(connection):
            try:
                connection.request(method, path, body=body, headers=dict(headers or {}))
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except (OSError, http.client.HTTPException):
                return 0, ""

    def wait_ready(self, *, timeout_s: float = 20.0) -> None:
        """Until /readyz answers 200 and the mirror pod is the running one. Raises TimeoutError after real seconds."""
        deadline = time.monotonic() + timeout_s
        while self.get("/readyz")[0] != 200 or not self._mirrored():
            self._raise_failure()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not ready within {timeout_s} s; last events: {self.events()[-5:]}")
            time.sleep(0.01)

    def status(self) -> Mapping[str, object]:
        """The API server's mirror pod as kubeadm would read it: ``mirror_uid`` and ``pid`` (0: no process)."""
        try:
            pods = json.loads(Path(self.root, STATUS_FILE).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        found = pods.get(f"kube-system/kube-apiserver-{self.config.node_name}", {})
        return found if isinstance(found, dict) else {}

    @property
    def pid(self) -> int:
        """The running API server's process id, 0 where none runs."""
        pid = self.status().get("pid", 0)
        return pid if isinstance(pid, int) else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a node in the foreground. Exit code 0 when it was asked to stop."""
    parser = argparse.ArgumentParser(prog="python -m kauditd.sim.node", description="A simulated control-plane node.")
    parser.add_argument("--root", required=True, help="directory that stands for / (made if missing)")
    parser.add_argument("--speed", type=float, default=20.0, help="simulated seconds per second (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the kubelet's jitter (default 1)")
    parser.add_argument("--version", default="v1.36.3", help="kubeadm version of the first manifest")
    parser.add_argument("--port", type=int, default=0, help="of the API server (default: a free one)")
    parser.add_argument("--watchers", type=int, default=1, help="watches held open by clients (default 1)")
    options = parser.parse_args(arguments)
    root = str(Path(options.root).resolve())
    config = NodeConfig(root=root, speed=options.speed, seed=options.seed, watchers=options.watchers)
    node = Node(config, version=options.version, port=options.port)
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: asked.set())
    with node:
        print(f"simulated node: {root}, API server https://{config.address}:{node.port}, record {root}/{EVENTS_FILE}")
        sys.stdout.flush()
        while not asked.wait(0.2) and node.failure is None:
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
