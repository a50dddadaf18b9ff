"""watchdog's observer, threads and events, as far as they are used: all that depends on its versions stands here."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver, ObservedWatch

from kauditd.core.layout import base_name

OWN_TEMPORARY_PREFIX = ".kauditd."
"""Names of our own unfinished files; only the rename that publishes them is worth a wake-up."""

EVENTS: tuple[type[FileSystemEvent], ...] = (
    # Becomes the kernel's mask: IN_CREATE, IN_MOVE, IN_DELETE, IN_CLOSE_WRITE (and IN_DELETE_SELF, always). Reads
    # (IN_OPEN, IN_CLOSE_NOWRITE) and single writes (IN_MODIFY: the audit log grows by thousands a second) are not
    # asked for, so they cost nothing. A chmod, or a writer that never closes, is found by the re-list.
    FileCreatedEvent,
    FileMovedEvent,
    FileDeletedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,
)
_GROUPERS = (
    ("watchdog.observers.inotify_move_event_grouper", "InotifyMoveEventGrouper"),  # 7.x
    ("watchdog.observers.inotify_buffer", "InotifyBuffer"),  # 6.x
)


class Handler(FileSystemEventHandler):
    """Hears one watched directory. ``names`` are the entries of interest; None means all of them."""

    def __init__(self, directory: str, touch: Callable[[str], None]) -> None:
        self.names: frozenset[str] | None = frozenset()
        self._directory = directory
        self._touch = touch

    def dispatch(self, event: FileSystemEvent) -> None:
        """Called by watchdog for every event of the directory, in its dispatching thread."""
        for path in (os.fsdecode(event.dest_path), os.fsdecode(event.src_path)):
            if path and self._concerns(path):
                self._touch(path)
                return

    def _concerns(self, path: str) -> bool:
        if path == self._directory:
            return True
        name = base_name(path)
        return not name.startswith(OWN_TEMPORARY_PREFIX) if self.names is None else name in self.names


class OverflowListener(logging.Handler):
    """Hears watchdog 7.1 say that the kernel dropped events: a log line is the only sign it gives."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(level=logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        """Called in watchdog's reading thread."""
        if "overflow" in record.getMessage().lower():
            self._heard()


@contextmanager
def move_delay(delay_s: float) -> Iterator[None]:
    """Within this context watchdog builds its move groupers with ``delay_s``.

    They read the class attribute ``delay`` once, when an emitter starts, so it is put back at once and nobody else
    in the process meets a changed watchdog.
    """
    grouper: Any = None
    for module, name in _GROUPERS:
        with suppress(ImportError):
            grouper = getattr(import_module(module), name)
            break
    before = grouper.delay
    grouper.delay = delay_s
    try:
        yield
    finally:
        grouper.delay = before


def is_reading(observer: BaseObserver) -> bool:
    """Whether the threads that read from the kernel for everybody and hand out events still run."""
    reader = getattr(observer, "_inotify_fd", None)  # 7.x keeps its one reading thread here
    return observer.is_alive() and (not isinstance(reader, threading.Thread) or reader.is_alive())


def is_alive(observer: BaseObserver, watch: ObservedWatch) -> bool:
    """Whether the threads behind one watch still run; an emitter ends with its directory or by an exception."""
    for emitter in observer.emitters:
        if emitter.watch == watch:
            reader = getattr(emitter, "_inotify", None)  # 6.x reads in a thread per emitter; 7.x keeps no thread here
            return emitter.is_alive() and (not isinstance(reader, threading.Thread) or reader.is_alive())
    return False


def open_observer() -> BaseObserver:
    """A running observer on an inotify instance of its own. Raises OSError where the system has none to give."""
    from watchdog.observers.inotify import InotifyObserver  # refuses to load where libc has no inotify

    # Looked at first, because watchdog leaks its inotify descriptor when there is one left but not three, and this
    # is tried again at every tick.
    spare = os.pipe()
    try:
        os.close(os.dup(spare[0]))
    finally:
        os.close(spare[0])
        os.close(spare[1])
    observer = InotifyObserver()
    try:
        observer.start()
    except RuntimeError:
        discard(observer)
        raise
    return observer


def discard(observer: BaseObserver) -> None:
    """Stop an observer in whatever state it is; its threads are daemons, so none is waited for long."""
    with suppress(OSError, RuntimeError):
        observer.stop()
    with suppress(RuntimeError):
        observer.join(timeout=2.0)


def explain(error: Exception) -> str:
    """Why there is no inotify, in one sentence that says what to raise."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EMFILE:
        hint = "raise fs.inotify.max_user_instances, or LimitNOFILE= of the service"
    elif code == errno.ENOSPC:
        hint = "raise fs.inotify.max_user_watches"
    else:
        hint = "changes are still noticed by polling"
    cause = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot watch directories with inotify: {cause} ({hint})"


def kernel_watch_count() -> int | None:
    """How many inotify watches this process holds by the kernel's own count; None without a readable /proc.

    The one witness for a watch that the kernel took away (unmount, then the same file system mounted again)
    while path, device and inode look as before.
    """
    total = 0
    try:
        descriptors = list(Path("/proc/self/fd").iterdir())
    except OSError:
        return None
    for descriptor in descriptors:
        with suppress(OSError):
            if "inotify" in str(descriptor.readlink()):
                lines = Path(f"/proc/self/fdinfo/{descriptor.name}").read_text("utf-8", "replace").splitlines()
                total += sum(line.startswith("inotify wd:") for line in lines)
    return total
