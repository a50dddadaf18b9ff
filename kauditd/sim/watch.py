"""Events of one directory without delay, on Linux's inotify; a fast poll where the kernel grants no more instances.

The watchdog package is not used here on purpose: it holds a rename away back for half a second to pair it, which on a
simulated node is ten seconds. The kubelet (fsnotify) gets each event at once.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from kauditd.sim.source import FileEvent

IN_MODIFY, IN_ATTRIB, IN_MOVED_FROM, IN_MOVED_TO = 0x2, 0x4, 0x40, 0x80
IN_CREATE, IN_DELETE, IN_DELETE_SELF, IN_MOVE_SELF, IN_IGNORED = 0x100, 0x200, 0x400, 0x800, 0x8000
CHANGED = IN_MODIFY | IN_ATTRIB | IN_MOVED_TO | IN_CREATE
GONE = IN_MOVED_FROM | IN_DELETE
SELF_GONE = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED
HEADER = struct.Struct("iIII")
POLL_S = 0.002

Callback = Callable[[str, FileEvent], None]


class DirectoryWatch:
    """Watches one directory for the running event loop; ``armed`` says whether events arrive now."""

    def __init__(self, directory: str, callback: Callback) -> None:
        self._directory = directory
        self._callback = callback
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        self._poller: asyncio.Task[None] | None = None
        self.armed = False
        if self._fd >= 0:
            asyncio.get_running_loop().add_reader(self._fd, self._drain)

    def arm(self) -> None:
        """Set the watch (again); the directory may be missing, then nothing happens."""
        if self.armed or not Path(self._directory).is_dir():
            return
        if self._fd < 0:
            self.armed = True
            self._poller = asyncio.ensure_future(self._poll())
            return
        mask = CHANGED | GONE | IN_DELETE_SELF | IN_MOVE_SELF
        watched = self._libc.inotify_add_watch(self._fd, os.fsencode(self._directory), ctypes.c_uint32(mask))
        self.armed = int(watched) >= 0

    def close(self) -> None:
        """Give everything back."""
        if self._poller is not None:
            self._poller.cancel()
        if self._fd >= 0:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            data = os.read(self._fd, 65536)
            offset = 0
            while offset < len(data):
                _, mask, _, length = HEADER.unpack_from(data, offset)
                raw = data[offset + HEADER.size : offset + HEADER.size + length]
                offset += HEADER.size + length
                self._dispatch(os.fsdecode(raw.rstrip(b"\0")), mask)

    def _dispatch(self, name: str, mask: int) -> None:
        if mask & SELF_GONE:
            self.armed = False
        elif name and mask & GONE:
            self._callback(name, FileEvent.GONE)
        elif name and mask & CHANGED:
            self._callback(name, FileEvent.CHANGED)

    async def _poll(self) -> None:
        known = _identities(self._directory)
        while True:
            await asyncio.sleep(POLL_S)
            current = _identities(self._directory)
            for name in known.keys() - current.keys():
                self._callback(name, FileEvent.GONE)
            for name, identity in current.items():
                if known.get(name) != identity:
                    self._callback(name, FileEvent.CHANGED)
            known = current


def _identities(directory: str) -> Mapping[str, tuple[int, int, int]]:
    found = {}
    with suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                found[entry.name] = (status.st_ino, status.st_ctime_ns, status.st_size)
    return found
