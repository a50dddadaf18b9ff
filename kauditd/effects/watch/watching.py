"""The watch: which directories are wanted, which are under watch, and one wake-up per cycle of the reader."""

import errno
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from watchdog.observers.api import BaseObserver, ObservedWatch
from watchdog.utils import UnsupportedLibcError

from kauditd.effects.watch.observer import (
    EVENTS,
    Handler,
    OverflowListener,
    discard,
    explain,
    is_alive,
    is_reading,
    kernel_watch_count,
    move_delay,
    open_observer,
)
from kauditd.effects.watch.trail import identify, resolve

_TOUCHED_LIMIT = 64
_NOT_NOW = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP, errno.ESTALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Armed:
    """One directory under watch, and which directory it was when the watch was set."""

    identity: tuple[int, int]
    watch: ObservedWatch
    handler: Handler


class Watch:
    """Wakes a loop when something in ``directories`` (host paths, absolute) may have changed.

    ``wake(path)`` is called from a watchdog thread and must be cheap (``loop.call_soon_threadsafe``); it is called
    once and then not again until ``consume`` or ``check``, so a storm of writes is one wake-up per cycle of the
    reader. Call either *before* reading the files, never after.

    A directory may be missing, be a symbolic link, be replaced, renamed away or mounted over: the places that
    decide what its path means are watched too, and ``check`` sets right what went stale. Methods may be called from
    any thread but from within ``wake`` only ``consume``: the others wait for the thread that calls it. Nothing here
    raises: where inotify cannot be had, ``mode`` is "polling".

    ``move_delay_s``: how long a rename out of a directory is held so that one into it may join it. A millisecond
    is enough for kubeadm's pair to be one wake-up, behind the moment in which there is no manifest.
    """

    def __init__(self, directories: Sequence[str], wake: Callable[[str], None], *, move_delay_s: float = 0.001) -> None:
        self._directories = tuple(dict.fromkeys(directories))
        self._wake = wake
        self._move_delay_s = move_delay_s
        self._observer: BaseObserver | None = None
        self._armed: dict[str, _Armed] = {}
        self._found: dict[str, tuple[str, tuple[int, int]]] = {}
        self._listener = OverflowListener(self._overflow)
        self._arming = threading.Lock()
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._woken = False
        self._started = False
        self._fault = ""
        self._rearm_total = 0
        self._overflow_total = 0

    @property
    def mode(self) -> str:
        """Either "inotify" or "polling": then only the caller's re-list notices changes (so it is before ``start``)."""
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
        with self._arming:
            if not self._started:
                self._started = True
                logging.getLogger("watchdog.observers").addHandler(self._listener)
                self._arm()

    def stop(self) -> None:
        """Give all watches and threads back; ``start`` may follow."""
        with self._arming:
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
        with self._arming:
            self._directories = tuple(dict.fromkeys(directories))
            self._found = {d: found for d, found in self._found.items() if d in self._directories}
            return self._arm() if self._started else ()

    def check(self) -> tuple[str, ...]:
        """Compare what is watched with what is there, and set it right; a few stat calls when nothing is wrong.

        Call at every tick before reading. Returns the directories armed or armed anew by this call: what
        happened in them before is unknown, so read them again. Implies ``consume``.
        """
        self.consume()
        with self._arming:
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
        if not is_reading(observer):
            return False
        # A watch whose directory or emitter is gone is the next pass's business, not a reason to start over.
        expected = {
            armed.identity
            for path, armed in self._armed.items()
            if identify(path) == armed.identity and is_alive(observer, armed.watch)
        }
        held = kernel_watch_count()
        return held is None or held >= len(expected)

    def _close(self) -> None:
        observer, self._observer = self._observer, None
        self._armed.clear()
        self._found.clear()
        if observer is not None:
            discard(observer)

    def _arm(self) -> tuple[str, ...]:
        """Bring the watches in line with the file system; the caller's directories that are newly watched."""
        before = dict(self._found)
        fresh: set[str] = set()
        try:
            if self._observer is None:
                self._observer = open_observer()
            # A directory made while its parent was being armed gave no event: look until nothing is new.
            for _ in range(4):
                new = self._settle(self._observer)
                if not new:
                    break
                fresh |= new
        except (OSError, RuntimeError, UnsupportedLibcError) as error:
            self._close()
            self._fault = explain(error)
            return ()
        self._fault = ""
        return tuple(d for d, found in self._found.items() if found != before.get(d) or found[0] in fresh)

    def _settle(self, observer: BaseObserver) -> set[str]:
        """One pass: drop watches that are stale or no longer wanted, set those that are missing; returns the latter."""
        trails = {d: resolve(d) for d in self._directories}
        wanted: dict[str, frozenset[str] | None] = {}
        for trail in trails.values():
            for directory, name in trail.entries:
                wanted[directory] = (wanted.get(directory) or frozenset()) | {name}
        wanted.update({t.real: None for t in trails.values() if t.real is not None})
        for path, armed in list(self._armed.items()):
            if path not in wanted or identify(path) != armed.identity or not is_alive(observer, armed.watch):
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
        identity = identify(path)
        # inotify_add_watch needs read permission, and watchdog takes its EACCES for success.
        if identity is None or not os.access(path, os.R_OK):
            return False
        handler = Handler(path, self._touch)
        try:
            with move_delay(self._move_delay_s):
                watch = observer.schedule(handler, path, event_filter=list(EVENTS))
        except OSError as error:
            if error.errno in _NOT_NOW:
                return False
            raise
        self._armed[path] = _Armed(identity=identity, watch=watch, handler=handler)
        return True
