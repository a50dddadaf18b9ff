"""The stand-in API server process: start-up with real last words, serving, and the shutdown that makes upgrades slow.

Started by the simulated kubelet as ``kube-apiserver ROOT/run/sim/kube-apiserver.py FLAGS``, so that whoever looks for
an API server by argv[0] finds it, and an argument names a path inside the root. Flags are those of the manifest.
"""

import ctypes
import errno
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

from kauditd.errors import KauditError
from kauditd.sim import timing
from kauditd.sim.audit import AuditTrail, LogOptions
from kauditd.sim.container import ENVIRONMENT_KEY, Container, load_container
from kauditd.sim.flags import BadCommandLine, CommandLine, parse_command_line
from kauditd.sim.frontend import ApiFrontend, ApiServer
from kauditd.sim.lumberjack import RotationLimits
from kauditd.sim.policy import Policy, PolicyRefused, load_policy

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
LOG_MODES = ("batch", "blocking", "blocking-strict")
LOG_FORMATS = ("legacy", "json")
NEVER_NEGATIVE = ("maxage", "maxbackup", "maxsize")


class CommandFailed(KauditError):
    """The process ends with exit code 1 and klog's ``"command failed" err="MESSAGE"``."""


def klog(severity: str, source: str, text: str) -> None:
    """One line in klog's format on standard error."""
    now = datetime.now(UTC)
    print(f"{severity}{now:%m%d %H:%M:%S.%f} {1:>7} {source}] {text}", file=sys.stderr, flush=True)


def go_quote(text: str) -> str:
    """Go's ``%q`` for printable text."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'


def describe(exc: OSError, operation: str, path: str) -> str:
    """An ``fs.PathError`` as Go prints it: operation, path, strerror in lower case."""
    text = os.strerror(exc.errno or errno.EIO)
    return f"{operation} {path}: {text[0].lower()}{text[1:]}"


def validate_audit_options(line: CommandLine) -> None:
    """What ``AuditOptions.Validate`` refuses; nothing is checked while the log backend is off."""
    if not line.text("audit-log-path"):
        return
    problems = []
    mode, form = line.text("audit-log-mode", "blocking"), line.text("audit-log-format", "json")
    if mode not in LOG_MODES:
        allowed = ",".join(LOG_MODES)
        problems.append(f"invalid audit log mode {mode}, allowed modes are {go_quote(allowed)}")
    for suffix in NEVER_NEGATIVE:
        value = line.integer(f"audit-log-{suffix}", 0)
        if value < 0:
            problems.append(f"--audit-log-{suffix} {value} can't be a negative number")
    if form not in LOG_FORMATS:
        allowed = ",".join(LOG_FORMATS)
        problems.append(f"invalid audit log format {form}, allowed formats are {go_quote(allowed)}")
    version = line.text("audit-log-version", "audit.k8s.io/v1")
    if version != "audit.k8s.io/v1":
        problems.append(f"invalid audit log version {version}, allowed versions are {go_quote('audit.k8s.io/v1')}")
    if problems:
        raise CommandFailed(problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]")


def read_policy(line: CommandLine, container: Container) -> Policy | None:
    """The policy file, read once; its faults are the process's last words."""
    path = line.text("audit-policy-file")
    if not path:
        return None
    host, _ = container.locate(path)
    try:
        content = Path(host).read_bytes()
    except OSError as exc:
        quoted = go_quote(path)
        operation = "read" if exc.errno == errno.EISDIR else "open"
        raise CommandFailed(
            f"loading audit policy file: failed to read file path {quoted}: {describe(exc, operation, path)}"
        ) from exc
    try:
        policy = load_policy(content, minor=minor_of(container.version))
    except PolicyRefused as exc:
        raise CommandFailed(f"loading audit policy file: {exc.message}: from file {path}") from exc
    if policy.warnings:
        listed = ", ".join(policy.warnings)
        klog(
            "W",
            "reader.go:81",
            f"Audit policy contains errors, falling back to lenient decoding: strict decoding error: {listed}",
        )
    return policy


def open_log(line: CommandLine, container: Container) -> LogOptions | None:
    """``ensureLogFile``: directory 0700 and file 0600 are made at start, whether or not anything is ever written."""
    path = line.text("audit-log-path")
    if not path:
        return None
    host, read_only = ("-", False) if path == "-" else container.locate(path)
    if host != "-":
        ensure_log_file(path, host, read_only=read_only)
    unset = 0 if minor_of(container.version) < 36 else 100
    age_unset = 0 if minor_of(container.version) < 36 else 366
    size = line.integer("audit-log-maxsize", unset)
    truncates = line.boolean("audit-log-truncate-enabled", default=False)
    return LogOptions(
        path=host,
        limits=RotationLimits(
            max_size_mib=size,
            max_age_days=line.integer("audit-log-maxage", age_unset),
            max_backups=line.integer("audit-log-maxbackup", unset),
        ),
        rotates=size != 0 or minor_of(container.version) < 36,
        legacy=line.text("audit-log-format") == "legacy",
        strict=line.text("audit-log-mode") == "blocking-strict",
        max_event_bytes=line.integer("audit-log-truncate-max-event-size", 102400) if truncates else None,
    )


def ensure_log_file(path: str, host: str, *, read_only: bool) -> None:
    """Make directory and file. Raises ``CommandFailed`` with upstream's text, naming the path inside the container."""
    try:
        _create_log(Path(host), read_only=read_only)
    except OSError as exc:
        raise CommandFailed(f"ensureLogFile: {describe(exc, 'open', path)}") from exc


def _create_log(file: Path, *, read_only: bool) -> None:
    if file.is_dir():
        raise IsADirectoryError(errno.EISDIR, "")
    if read_only:
        raise OSError(errno.EROFS, "")
    file.parent.mkdir(0o700, parents=True, exist_ok=True)
    os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_RDWR | os.O_CLOEXEC, 0o600))


def minor_of(version: str) -> int:
    """``v1.36.3`` is 36; an image without a readable tag counts as the newest known."""
    parts = version.lstrip("v").split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 37


def listen_address(line: CommandLine, container: Container) -> tuple[str, int]:
    """A simulated node serves loopback only, whatever address it advertises."""
    advertised = line.text("advertise-address")
    host = advertised if advertised.startswith("127.") else container.address
    return host, line.integer("secure-port", 6443)


def serve(line: CommandLine, container: Container) -> int:
    """Validate, load, listen, and stay until SIGTERM. Returns the exit code."""
    klog("I", "options.go:261", f"external host was not specified, using {line.text('advertise-address')}")
    validate_audit_options(line)
    klog("I", "server.go:151", f"Version: {container.version}")
    klog("I", "server.go:153", '"Golang settings" GOGC="" GOMAXPROCS="" GOTRACEBACK=""')
    policy = read_policy(line, container)
    trail = AuditTrail(policy=policy, log=open_log(line, container))
    frontend = ApiFrontend(container=container, trail=trail, anonymous=line.boolean("anonymous-auth", default=True))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda _signal, _frame: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    data = files("kauditd.sim.data")
    with as_file(data / "test-only-cert.pem") as certificate, as_file(data / "test-only-key.pem") as key:
        tls.load_cert_chain(certificate, key)
    if stop.wait(max(0.0, (timing.LISTEN_S - frontend.age_s()) / container.speed)):
        return 0
    host, port = listen_address(line, container)
    try:
        server = ApiServer((host, port), frontend=frontend, tls=tls)
    except OSError as exc:
        text = os.strerror(exc.errno or errno.EIO).lower()
        raise CommandFailed(
            f"failed to create listener: failed to listen on {host}:{port}: listen tcp {host}:{port}: bind: {text}"
        ) from exc
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    klog("I", "secure_serving.go:211", f"Serving securely on [::]:{port}")
    stop.wait()
    return shut_down(server, frontend, grace_s=line.seconds("shutdown-watch-termination-grace-period"))


def shut_down(server: ApiServer, frontend: ApiFrontend, *, grace_s: float) -> int:
    """Close the port at once; end when no watch is open. Without the grace-period flag watches are never ended."""
    speed = frontend.container.speed
    frontend.stopping.set()
    server.shutdown()
    server.server_close()
    klog("I", "secure_serving.go:256", f"Stopped listening on [::]:{server.server_port}")
    began = time.monotonic()
    if grace_s > 0:
        time.sleep(min(grace_s, timing.SHUTDOWN_S * 0.8) / speed)
        frontend.end_watches.set()
    while frontend.watches:
        time.sleep(0.002)
    time.sleep(max(0.0, timing.SHUTDOWN_S / speed - (time.monotonic() - began)))
    return 0


def name_process(parent_pid: int) -> None:
    """Set the process name, and die with the kubelet that started us, even where that happened before this call."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_NAME, b"kube-apiserver", 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Sequence[str], *, parent_pid: int) -> int:
    """Run with the words that follow the bootstrap file. Returns the exit code; 1 with the real thing's last words."""
    name_process(parent_pid)
    container = load_container(Path(os.environ[ENVIRONMENT_KEY]))
    try:
        return serve(parse_command_line(arguments), container)
    except BadCommandLine as exc:
        print(exc.message, file=sys.stderr, flush=True)
    except CommandFailed as exc:
        klog("E", "run.go:72", f'"command failed" err={go_quote(exc.message)}')
    return 1
