"""Process controllers for the real etcd and kube-apiserver: loopback, free ports, everything inside one directory.

``ApiServer`` plays the part of the kubelet and the container runtime in one: it takes the command line from a static
pod manifest and lets the process see the host through the manifest's own mounts. A file that the manifest does not
mount cannot be opened, as in the container.
"""

import base64
import http.client
import io
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ruamel.yaml import YAML

HOST = "127.0.0.1"
START_LIMIT_S = 60.0
STOP_LIMIT_S = 20.0
POLL_S = 0.05
LOOPBACK = {"bind-address": HOST, "endpoint-reconciler-type": "none"}
"""Flags in which the process differs from the manifest: it serves loopback alone, and advertises nothing."""


def free_port() -> int:
    """A TCP port of loopback that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


class Server:
    """One child process with a log file, started by its command line and ended by its pid."""

    def __init__(self, *, name: str, log: Path) -> None:
        self.name = name
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} has not been started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def spawn(self, command: Sequence[str], *, directory: Path | None = None) -> None:
        """Start ``command``; ``directory`` is searched first, so that the program runs under its bare name.

        The kernel ends the process with the thread that started it: a killed test run leaves no server behind.
        """
        assert not self.running, f"{self.name} is already running"
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        path = os.environ["PATH"] if directory is None else f"{directory}:{os.environ['PATH']}"
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [*tied, *command],
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> None:
        """SIGTERM, then SIGKILL after the limit; waits for the end."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)

    def exit_code(self, limit_s: float = START_LIMIT_S) -> int:
        """Wait for a process that is expected to give up by itself."""
        assert self._process is not None
        return self._process.wait(limit_s)

    def last_words(self, limit: int = 2000) -> str:
        """The end of the process's own log, where a start that fails says why."""
        return self._log.read_text(errors="replace")[-limit:]

    def wait_until(self, ready: Callable[[], bool], *, what: str, limit_s: float = START_LIMIT_S) -> None:
        """Poll until ``ready``; an early end of the process or the limit fails with its last words."""
        deadline = time.monotonic() + limit_s
        while not ready():
            assert self.running, f"{self.name} ended before {what}: {self.last_words()}"
            assert time.monotonic() < deadline, f"{self.name}: no {what} within {limit_s} s: {self.last_words()}"
            time.sleep(POLL_S)


class Etcd(Server):
    """One member, with the server certificate that kubeadm made. Without fsync: its data lives as long as a test."""

    def __init__(self, *, binary: Path, node: Path, client_url: str) -> None:
        super().__init__(name="etcd", log=node / "etcd.log")
        self._binary = binary
        self._node = node
        self.client_url = client_url

    def start(self) -> None:
        pki = self._node / "etc/kubernetes/pki/etcd"
        peer_url = f"http://{HOST}:{free_port()}"
        self.spawn(
            [
                str(self._binary),
                f"--data-dir={self._node}/var/lib/etcd",
                f"--listen-client-urls={self.client_url}",
                f"--advertise-client-urls={self.client_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                f"--cert-file={pki}/server.crt",
                f"--key-file={pki}/server.key",
                f"--trusted-ca-file={pki}/ca.crt",
                "--client-cert-auth=true",
                "--unsafe-no-fsync=true",
                "--log-level=warn",
            ]
        )
        client = pki.parent / "apiserver-etcd-client"
        context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        context.load_cert_chain(f"{client}.crt", f"{client}.key")
        port = int(self.client_url.rpartition(":")[2])
        self.wait_until(lambda: request(port, "/health", context=context).status == 200, what="healthy answer")


class ApiServer(Server):
    """A kube-apiserver started from a static pod manifest whose paths all lie below ``node``."""

    def __init__(self, *, binary: Path, node: Path) -> None:
        super().__init__(name="kube-apiserver", log=node / "kube-apiserver.log")
        self.version = binary.parent.name
        self._directory = binary.parent
        self._node = node
        self.port = 0
        self._context = ssl.create_default_context(cafile=str(node / "etc/kubernetes/pki/ca.crt"))

    def start(self, manifest: bytes) -> None:
        """Start from ``manifest`` and return at once."""
        pod = Pod.parse(manifest)
        self.port = int(pod.flag("secure-port"))
        pod.make_directories(self._node)
        self.spawn([self.name, *pod.arguments(self._node, LOOPBACK)], directory=self._directory)

    def start_and_wait(self, manifest: bytes) -> None:
        """Start and wait for /readyz."""
        self.start(manifest)
        self.wait_until(self.ready, what="/readyz")

    def ready(self) -> bool:
        return self.request("/readyz").status == 200

    def request(self, path: str, *, headers: Mapping[str, str] | None = None) -> "Answer":
        """An anonymous GET over verified TLS."""
        return request(self.port, path, context=self._context, headers=headers)

    def request_as_admin(self, method: str, path: str, body: object = None, **headers: str) -> "Answer":
        """A request with the client certificate of ``system:masters`` that kubeadm put into super-admin.conf."""
        context = ssl.create_default_context(cafile=str(self._node / "etc/kubernetes/pki/ca.crt"))
        user = YAML(typ="safe").load((self._node / "etc/kubernetes/super-admin.conf").read_text())["users"][0]["user"]
        pair = self._node / "super-admin.pem"
        pair.write_bytes(b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")))
        context.load_cert_chain(pair)
        data = None if body is None else json.dumps(body).encode()
        given = {
            "Content-Type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return request(self.port, path, context=context, headers=given, method=method, body=data)

    def command_line(self) -> tuple[str, ...]:
        """What /proc says that is running; nothing between the end of one process and the start of the next."""
        try:
            words = Path(f"/proc/{self.pid}/cmdline").read_text().rstrip("\0").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            return ()
        return tuple(words) if words[0] == self.name else ()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; status 0 where nobody answered."""

    status: int
    body: bytes = b""


def request(
    port: int,
    path: str,
    *,
    context: ssl.SSLContext,
    headers: Mapping[str, str] | None = None,
    method: str = "GET",
    body: bytes | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = http.client.HTTPSConnection(HOST, port, context=context, timeout=10)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.read())
    except (OSError, http.client.HTTPException):
        return Answer(0)
    finally:
        connection.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """What the container runtime needs of a static pod manifest: the words of the command and the mounts."""

    command: tuple[str, ...]
    mounts: Mapping[str, str]
    writable: frozenset[str]

    @classmethod
    def parse(cls, manifest: bytes) -> "Pod":
        spec = YAML(typ="safe").load(io.BytesIO(manifest))["spec"]
        container = spec["containers"][0]
        host_paths = {volume["name"]: volume["hostPath"]["path"] for volume in spec["volumes"]}
        mounts = {mount["mountPath"]: host_paths[mount["name"]] for mount in container["volumeMounts"]}
        writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        return cls(command=tuple(container["command"]), mounts=mounts, writable=frozenset(writable))

    def flag(self, name: str) -> str:
        return next(word.partition("=")[2] for word in self.command if word.startswith(f"--{name}="))

    def make_directories(self, node: Path) -> None:
        """Create missing directories of the host, as the kubelet does for ``DirectoryOrCreate``."""
        for host_path in self.mounts.values():
            (node / host_path.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def host_path(self, path: str, node: Path, *, writing: bool = False) -> Path:
        """Where a path of the container is below ``node``; what no (writable) mount covers does not exist there."""
        covering = [m for m in self.mounts if PurePosixPath(path).is_relative_to(m)]
        mount = max(covering, key=len, default="")
        if not mount or (writing and mount not in self.writable):
            return node / "not-mounted" / path.lstrip("/")
        return node / self.mounts[mount].lstrip("/") / PurePosixPath(path).relative_to(mount)

    def arguments(self, node: Path, overrides: Mapping[str, str]) -> list[str]:
        """The words behind the program's name, paths seen from the host, some flags replaced or added."""
        words = []
        for word in self.command[1:]:
            name, _, value = word.partition("=")
            if name.removeprefix("--") in overrides:
                continue
            writing = name == "--audit-log-path"
            words.append(f"{name}={self.host_path(value, node, writing=writing)}" if value.startswith("/") else word)
        return words + [f"--{name}={value}" for name, value in overrides.items()]


@contextmanager
def stopping(server: Server) -> Iterator[Server]:
    """End the server whatever happens in between."""
    try:
        yield server
    finally:
        server.stop()
