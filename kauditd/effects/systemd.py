"""The service manager's two protocols: sd_notify (through sdnotify) and the hand-over of listening sockets.

Both do nothing where systemd did not start us, so that no caller asks first.
"""

import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from sdnotify import SystemdNotifier

_STATUS_LIMIT_BYTES = 512
_SEND_TIMEOUT_S = 0.5
_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START


class _Sender(Protocol):
    """sdnotify's untyped object, as far as it is used here."""

    socket: socket.socket | None

    def notify(self, state: str) -> None:
        """Send one datagram, swallowing every error."""
        ...


class Notifier:
    """Tells systemd where the service stands. A lost message is never an error: systemd's timeouts speak for it.

    Without ``NOTIFY_SOCKET`` every call does nothing. The unit needs ``Type=notify`` (``notify-reload`` where
    ``reloading`` is used). The socket is the one that the environment named when the object was made.
    """

    def __init__(self) -> None:
        self._sender: _Sender | None = None
        # sdnotify would make a socket and forget to close it where there is nobody to talk to.
        if os.environ.get("NOTIFY_SOCKET"):
            self._sender = cast("Callable[[], _Sender]", SystemdNotifier)()
            if self._sender.socket is not None:
                # A service manager that does not read must not hang the loop; sdnotify drops what takes longer.
                self._sender.socket.settimeout(_SEND_TIMEOUT_S)

    def close(self) -> None:
        """Give the socket back; what is said afterwards is lost. At the latest the end of the process does it."""
        sender, self._sender = self._sender, None
        if sender is not None and sender.socket is not None:
            sender.socket.close()

    def _send(self, state: str) -> None:
        if self._sender is not None:
            self._sender.notify(state)

    def ready(self) -> None:
        """Start-up, or a reload announced by ``reloading``, is complete."""
        self._send("READY=1")

    def status(self, sentence: str) -> None:
        """The line that ``systemctl status`` shows. Line breaks become spaces; cut at 512 bytes."""
        self._send(f"STATUS={_one_line(sentence)}")

    def watchdog(self) -> None:
        """A sign of life, due at least every ``watchdog_interval_s``."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """Settings are being read again; ``Type=notify-reload`` asks for the monotonic time with it (sd_notify(3))."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")


def watchdog_interval_s(environ: Mapping[str, str]) -> float | None:
    """How often systemd wants a sign of life: half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises.

    None where no watchdog is asked for, where it is meant for another process (WATCHDOG_PID), or where the value
    is no positive number.
    """
    timeout_us = _number(environ.get("WATCHDOG_USEC"))
    if not timeout_us or not _meant_for_us(environ.get("WATCHDOG_PID")):
        return None
    return timeout_us / 2_000_000


def listen_fds(environ: Mapping[str, str]) -> tuple[socket.socket, ...]:
    """The listening sockets that systemd passed to this process (sd_listen_fds(3)), in the unit's order.

    Empty where there are none or where LISTEN_PID names another process. The sockets are made non-inheritable and
    non-blocking; the environment is left alone. Call once: each descriptor then belongs to its socket object.
    A descriptor that is no listening socket (a FIFO in the same unit) is left open and out of the answer.
    """
    count = _number(environ.get("LISTEN_FDS"))
    if not count or environ.get("LISTEN_PID") is None or not _meant_for_us(environ.get("LISTEN_PID")):
        return ()
    passed: list[socket.socket] = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + count):
        try:
            found = socket.socket(fileno=descriptor)
        except OSError as error:
            if error.errno == errno.EBADF:
                # Descriptors are passed without gaps: behind the first that is not there the count is nonsense.
                break
            continue
        if not _listens(found):
            found.detach()
            continue
        found.set_inheritable(inheritable=False)
        found.settimeout(0)
        passed.append(found)
    return tuple(passed)


def _listens(candidate: socket.socket) -> bool:
    try:
        return candidate.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    except OSError:
        return False


def _number(text: str | None) -> int | None:
    """A non-negative decimal number, else None."""
    return int(text) if text and text.isascii() and text.isdecimal() and len(text) <= 20 else None


def _meant_for_us(pid: str | None) -> bool:
    return pid is None or _number(pid) == os.getpid()


def _one_line(sentence: str) -> str:
    """One printable line of at most 512 bytes that still ends on a whole character.

    sdnotify encodes as Latin-1 and drops a message that does not fit; systemd reads UTF-8. Hence the detour: each
    byte of the UTF-8 form becomes one Latin-1 character.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in sentence).split())
    encoded = line.encode("utf-8", "replace")[:_STATUS_LIMIT_BYTES]
    return encoded.decode("utf-8", "ignore").encode("utf-8").decode("latin-1")
