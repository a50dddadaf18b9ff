"""One request to the daemon over its Unix socket, by hand: ``http.client`` would double the price of ``status``.

The daemon closes after each reply and always sends Content-Length, so a reply is complete exactly when the
connection ends and the body has that length; anything else means that the daemon died midway.
"""

import _socket
import errno
import time

from kauditd.cli.exits import DENIED, UNREACHABLE, Failure

TIMEOUT_S = 5.0

_RETRY_S = 0.005
_HEAD_BYTES = 64 * 1024
_REPLY_BYTES = 64 * 1024 * 1024
_SUN_PATH_BYTES = 107
_IS_IT_RUNNING = "is the daemon running? systemctl status kauditd"


class Reply:
    """A complete reply. ``verdict`` is the daemon's advice for the exit code, None where it gives none."""

    __slots__ = ("body", "status", "verdict")

    def __init__(self, *, status: int, verdict: int | None, body: bytes) -> None:
        self.status = status
        self.verdict = verdict
        self.body = body


def ask(
    path: str, target: str, *, method: str = "GET", body: bytes = b"", text: bool = False, timeout_s: float = TIMEOUT_S
) -> Reply:
    """Sends one request and reads the whole reply within ``timeout_s``. ``Failure`` where there is no daemon."""
    accept = "text/plain" if text else "application/json"
    head = f"{method} {target} HTTP/1.1\r\nHost: kauditd\r\nAccept: {accept}\r\nConnection: close\r\n"
    if method == "POST":
        head += f"Content-Length: {len(body)}\r\n"
    deadline_s = time.monotonic() + timeout_s
    try:
        raw = _exchange(path, f"{head}\r\n".encode("ascii") + body, deadline_s)
    except TimeoutError as error:
        raise Failure(
            f"cannot read the daemon's answer: nothing for {timeout_s:g} s", code=UNREACHABLE, hint=_IS_IT_RUNNING
        ) from error
    except OSError as error:
        raise _explain(path, error) from error
    return _parse(raw)


def _exchange(path: str, request: bytes, deadline_s: float) -> bytes:
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.settimeout(_left(deadline_s))
        _connect(connection, path, deadline_s)
        _send(connection, request)
        parts: list[bytes] = []
        size_bytes = 0
        while size_bytes <= _REPLY_BYTES:
            connection.settimeout(_left(deadline_s))
            try:
                part = connection.recv(65536)
            except ConnectionResetError:
                break
            if not part:
                break
            parts.append(part)
            size_bytes += len(part)
        return b"".join(parts)
    finally:
        connection.close()


def _send(connection: _socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        return  # a daemon that refuses at once has already answered


def _connect(connection: _socket.socket, path: str, deadline_s: float) -> None:
    """Connects; where more are waiting than the daemon's backlog holds (EAGAIN at once), tries again until the end."""
    while True:
        try:
            _connect_once(connection, path)
        except BlockingIOError:
            time.sleep(min(_RETRY_S, _left(deadline_s)))
        else:
            return


def _connect_once(connection: _socket.socket, path: str) -> None:
    if len(path.encode("utf-8", "surrogateescape")) <= _SUN_PATH_BYTES:
        connection.connect(path)
        return
    import os  # a millisecond that only a path too long for a socket address costs

    directory, _, name = path.rpartition("/")
    descriptor = os.open(directory or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection.connect(f"/proc/self/fd/{descriptor}/{name}")
    finally:
        os.close(descriptor)


def _left(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _explain(path: str, error: OSError) -> Failure:
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Failure(f"cannot reach the daemon at {path}: permission denied", code=DENIED, hint="try with sudo")
    cause = {
        errno.ENOENT: "no socket there",
        errno.ENOTDIR: "no socket there",
        errno.ECONNREFUSED: "nobody listens there",
    }.get(error.errno or 0, error.strerror or "unknown fault")
    return Failure(f"cannot reach the daemon at {path}: {cause}", code=UNREACHABLE, hint=_IS_IT_RUNNING)


def _parse(raw: bytes) -> Reply:
    head, found, body = raw.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    start = lines[0].split(b" ", 2)
    status = start[1] if len(start) > 1 and start[0].startswith(b"HTTP/1.") else b""
    if not found or len(head) > _HEAD_BYTES or not status.isdigit():
        raise _half_answer()
    length = verdict = None
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        value = value.strip()
        match name.lower():
            case b"content-length" if value.isdigit():
                length = int(value)
            case b"kauditd-exit" if value in {b"0", b"1"}:
                verdict = int(value)
            case _:
                pass
    if length != len(body):
        raise _half_answer()
    return Reply(status=int(status), verdict=verdict, body=body)


def _half_answer() -> Failure:
    return Failure("cannot read the daemon's answer: it ended midway", code=UNREACHABLE, hint=_IS_IT_RUNNING)
