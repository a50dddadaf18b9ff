"""Directory watching on watchdog: a hint that something changed, never the truth about it.

What watchdog (7.1, and 6.x alike unless said) does not do is done here: it is blind once a watched directory is
renamed away, replaced, mounted over or unmounted; its emitter ends when the directory is deleted; a queue overflow
reaches no handler (7.1 logs a warning, 6.x says nothing); an unpaired rename is held for half a second, and
kubeadm's upgrade renames the manifest out before it renames the new one in (cmd/kubeadm/app/phases/upgrade/
staticpods.go). The caller re-lists every few seconds whatever this module says.
"""

import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from watchdog.utils import UnsupportedLibcError

from kauditd.core.layout import base_name, parent

OWN_TEMPORARY_PREFIX = ".kauditd."
"""Names of our own unfinished files; only the rename that publishes them is worth a wake-up."""

_EVENTS: tuple[type[FileSystemEvent], ...] = (
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
_LINK_HOPS = 40  # the kernel's own limit (ELOOP)
_TOUCHED_LIMIT = 64
_NOT_NOW = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ESTALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trail:
    """How a path resolves now: ``entries`` are the (directory, name) pairs whose change would change the answer."""

    entries: tuple[tuple[str, str], ...]
    real: str | None


def _trail(path: str) -> _Trail:
    """Follow ``path`` link by link. ``real`` is None where no directory is there; the last entry is then the gap."""
    entries: list[tuple[str, str]] = []
    current, todo, hops = "/", [p for p in reversed(path.split("/")) if p], 0
    while todo:
        name = todo.pop()
        if name in {".", ".."}:
            current = parent(current) if name == ".." else current
            continue
        entry = Path(current) / name
        if entry.is_symlink():
            entries.append((current, name))
            hops += 1
            try:
                target = str(entry.readlink())
            except OSError:
                return _Trail(entries=tuple(entries), real=None)
            current = "/" if target.startswith("/") else current
            todo.extend(p for p in reversed(target.split("/")) if p)
        elif hops > _LINK_HOPS or not entry.is_dir():
            return _Trail(entries=(*entries, (current, name)), real=None)
        else:
            current = str(entry)
        if hops > _LINK_HOPS:
            return _Trail(entries=tuple(entries), real=None)
    return _Trail(entries=(*entries, (parent(current), base_name(current))), real=current)


def _identity(path: str) -> tuple[int, int] | None:
    """Device and inode of what is at ``path`` now, None where nothing can be seen."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _kernel_watch_count() -> int | None:
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


@contextmanager
def _move_delay(delay_s: float) -> Iterator[None]:
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


class _Handler(FileSystemEventHandler):
    """Hears one watched directory. ``names`` are the entries of interest; None means all of them."""

    def __init__(self, directory: str, touch: Callable[[str], None]) -> None:
        self.names: frozenset[str] | None = frozenset()
        self._directory = directory
        self._touch = touch

    def dispatch(self, event: FileSystemEvent) -> None:
        for path in (os.fsdecode(event.dest_path), os.fsdecode(event.src_path)):
            if path and self._concerns(path):
                self._touch(path)
                return

    def _concerns(self, path: str) -> bool:
        if path == self._directory:
            return True
        name = base_name(path)
        return not name.startswith(OWN_TEMPORARY_PREFIX) if self.names is None else name in self.names


class _OverflowListener(logging.Handler):
    """Hears watchdog 7.1 say that the kernel dropped events: a log line is the only sign it gives."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(level=logging.WARNING)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.getMessage().lower():
            self._heard()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Armed:
    """One directory under watch, and which directory it was when the watch was set."""

    identity: tuple[int, int]
    watch: ObservedWatch
    handler: _Handler


class Watch:
    """Wakes a loop when something in ``directories`` (host paths, absolute) may have changed.

    ``wake(path)`` is called from a watchdog thread and must be cheap (``loop.call_soon_threadsafe``); it is called
    once and then not again until ``consume`` or ``check``, so a storm of writes is one wake-up per cycle of the
    reader. Call either *before* reading the files, never after.

    A directory may be missing, be a symbolic link, be replaced, renamed away or mounted over: the places that
    decide what its path means are watched too, and ``check`` sets right what went stale. All methods but the call
    to ``wake`` belong to one thread. Nothing here raises: where inotify cannot be had, ``mode`` is "polling".
    """

    def __init__(self, directories: Sequence[str], wake: Callable[[str], None], *, move_delay_s: float = 0.001) -> None:
        self._directories = tuple(dict.fromkeys(directories))
        self._wake = wake
        self._move_delay_s = move_delay_s
        self._observer: BaseObserver | None = None
        self._armed: dict[str, _Armed] = {}
        self._found: dict[str, tuple[str, tuple[int, int]]] = {}
        self._listener = _OverflowListener(self._overflow)
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._woken = False
        self._started = False
        self._fault = ""
        self._rearm_total = 0
        self._overflow_total = 0

    @property
    def mode(self) -> str:
        """ "inotify", or "polling" where only the caller's re-list notices changes (also before ``start``)."""
        return "polling" if self._observer is None else "inotify"

    @property
    def detail(self) -> str:
        """One sentence on what is not as it should be, with what to do; empty when all directories are watched."""
        if self._observer is None:
            return self._fault
        missing = [d for d in self._directories if d not in self._found]
        return f"not there or not readable yet: {', '.join(missing)}" if missing else ""

    @property
    def rearm_total(self) -> int:
        """How often a watch had to be set anew, or was set late, since ``start``."""
        return self._rearm_total

    @property
    def overflow_total(self) -> int:
        """How often the kernel's event queue overflowed (watchdog 6.x does not tell: stays 0 there)."""
        return self._overflow_total

    @property
    def armed(self) -> tuple[str, ...]:
        """Those of the directories, as named by the caller, that are watched now."""
        return tuple(d for d in self._directories if d in self._found)

    def start(self) -> None:
        """Set the watches. Do this before the first read of the files, or a change between the two is missed."""
        if self._started:
            return
        self._started = True
        logging.getLogger("watchdog.observers").addHandler(self._listener)
        self._arm()

    def stop(self) -> None:
        """Give all watches and threads back; ``start`` may follow."""
        logging.getLogger("watchdog.observers").removeHandler(self._listener)
        self._started = False
        self._close()

    def consume(self) -> tuple[str, ...]:
        """The paths touched since the last call (at most 64 are kept), and leave to ``wake`` again."""
        with self._lock:
            touched = tuple(sorted(self._touched))
            self._touched.clear()
            self._woken = False
        return touched

    def follow(self, directories: Sequence[str]) -> tuple[str, ...]:
        """Watch these directories from now on instead; returns those that are newly armed, to be read."""
        self._directories = tuple(dict.fromkeys(directories))
        self._found = {d: found for d, found in self._found.items() if d in self._directories}
        return self._arm() if self._started else ()

    def check(self) -> tuple[str, ...]:
        """Compare what is watched with what is there, and set it right; a few stat calls when nothing is wrong.

        Call at every tick before reading. Returns the directories armed or armed anew by this call: what
        happened in them before is unknown, so read them again. Implies ``consume``.
        """
        self.consume()
        if not self._started:
            return ()
        if self._observer is not None and not self._sound(self._observer):
            self._close()
        changed = self._arm()
        self._rearm_total += len(changed)
        return changed

    def _touch(self, path: str) -> None:
        with self._lock:
            if len(self._touched) < _TOUCHED_LIMIT:
                self._touched.add(path)
            if self._woken:
                return
            self._woken = True
        self._wake(path)

    def _overflow(self) -> None:
        self._overflow_total += 1
        for directory in self._directories:
            self._touch(directory)

    def _sound(self, observer: BaseObserver) -> bool:
        """Whether the threads that read and hand out events live, and the kernel still holds every watch."""
        reader = getattr(observer, "_inotify_fd", None)  # 7.x reads for all emitters in one thread kept there
        if not observer.is_alive() or (isinstance(reader, threading.Thread) and not reader.is_alive()):
            return False
        # A watch whose directory or emitter is gone is the next pass's business, not a reason to start over.
        expected = {
            armed.identity
            for path, armed in self._armed.items()
            if _identity(path) == armed.identity and _alive(observer, armed.watch)
        }
        held = _kernel_watch_count()
        return held is None or held >= len(expected)

    def _close(self) -> None:
        observer, self._observer = self._observer, None
        self._armed.clear()
        self._found.clear()
        if observer is not None:
            _discard(observer)

    def _arm(self) -> tuple[str, ...]:
        """Bring the watches in line with the file system; the caller's directories that are newly watched."""
        before = dict(self._found)
        fresh: set[str] = set()
        try:
            if self._observer is None:
                self._observer = _open_observer()
            # A directory made while its parent was being armed gave no event: look until nothing is new.
            for _ in range(4):
                new = self._settle(self._observer)
                if not new:
                    break
                fresh |= new
        except (OSError, RuntimeError, UnsupportedLibcError) as error:
            self._close()
            self._fault = _explain(error)
            return ()
        self._fault = ""
        return tuple(d for d, found in self._found.items() if found != before.get(d) or found[0] in fresh)

    def _settle(self, observer: BaseObserver) -> set[str]:
        """One pass: drop watches that are stale or no longer wanted, set those that are missing; returns the latter."""
        trails = {d: _trail(d) for d in self._directories}
        wanted: dict[str, frozenset[str] | None] = {}
        for trail in trails.values():
            for directory, name in trail.entries:
                wanted[directory] = (wanted.get(directory) or frozenset()) | {name}
        wanted.update({t.real: None for t in trails.values() if t.real is not None})
        for path, armed in list(self._armed.items()):
            if path not in wanted or _identity(path) != armed.identity or not _alive(observer, armed.watch):
                observer.unschedule(armed.watch)
                del self._armed[path]
        fresh = {path for path in wanted if path not in self._armed and self._set(observer, path)}
        for path, names in wanted.items():
            if path in self._armed:
                self._armed[path].handler.names = names
        self._found = {
            d: (t.real, self._armed[t.real].identity) for d, t in trails.items() if t.real and t.real in self._armed
        }
        return fresh

    def _set(self, observer: BaseObserver, path: str) -> bool:
        """Watch one directory; False where it is gone again or may not be read."""
        identity = _identity(path)
        # inotify_add_watch needs read permission, and watchdog takes its EACCES for success.
        if identity is None or not os.access(path, os.R_OK):
            return False
        handler = _Handler(path, self._touch)
        try:
            with _move_delay(self._move_delay_s):
                watch = observer.schedule(handler, path, event_filter=list(_EVENTS))
        except OSError as error:
            if error.errno in _NOT_NOW:
                return False
            raise
        self._armed[path] = _Armed(identity=identity, watch=watch, handler=handler)
        return True


def _alive(observer: BaseObserver, watch: ObservedWatch) -> bool:
    """Whether the threads behind one watch still run; an emitter ends with its directory or by an exception."""
    for emitter in observer.emitters:
        if emitter.watch == watch:
            reader = getattr(emitter, "_inotify", None)  # 6.x reads in a thread per emitter; 7.x keeps no thread here
            return emitter.is_alive() and (not isinstance(reader, threading.Thread) or reader.is_alive())
    return False


def _open_observer() -> BaseObserver:
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
        _discard(observer)
        raise
    return observer


def _discard(observer: BaseObserver) -> None:
    """Stop an observer in whatever state it is; its threads are daemons, so none is waited for long."""
    with suppress(OSError, RuntimeError):
        observer.stop()
    with suppress(RuntimeError):
        observer.join(timeout=2.0)


def _explain(error: Exception) -> str:
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
