"""A thread of watchdog's ends by an exception: it says nothing, and its observer looks alive."""

import threading
from pathlib import Path

import pytest
from watchdog.observers import inotify_c
from watchdog.observers.api import EventEmitter

from kauditd.effects.watch import Watch
from tests.effects.watchfaults.witness import Witness, sees_writes, settle, until, watching


@pytest.fixture(name="deaths")
def _deaths(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the exceptions that end threads, instead of their tracebacks."""
    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type.__name__))
    return seen


def test_wake_raises_in_the_dispatching_thread(tmp_path: Path, deaths: list[str]) -> None:
    witness = Witness()
    broken = threading.Event()

    def wake(path: str) -> None:
        if broken.is_set():
            raise RuntimeError("the event loop is closed")
        witness(path)

    watch = Watch([str(tmp_path)], wake)
    watch.start()
    try:
        broken.set()
        (tmp_path / "file").write_text("x")
        assert until(lambda: deaths == ["RuntimeError"])
        broken.clear()

        assert watch.check() == (str(tmp_path),)
        assert watch.rearm_total == 1
        assert sees_writes(watch, witness, tmp_path)
    finally:
        watch.stop()


def test_emitter_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: list[str]) -> None:
    with watching(tmp_path) as (watch, witness):
        with monkeypatch.context() as patch:
            patch.setattr(EventEmitter, "queue_event", _raise)
            (tmp_path / "file").write_text("x")
            assert until(lambda: "KeyError" in deaths)

        assert watch.check() == (str(tmp_path),)
        assert sees_writes(watch, witness, tmp_path)


def test_reading_thread_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: list[str]) -> None:
    reader = getattr(inotify_c, "InotifyFD", None)
    if reader is None:
        pytest.skip("watchdog 6.x has no thread that reads for all directories")
    with watching(tmp_path) as (watch, witness):
        with monkeypatch.context() as patch:
            patch.setattr(reader, "handle_event", _raise)
            (tmp_path / "file").write_text("x")
            assert until(lambda: deaths == ["KeyError"])

        assert watch.check() == (str(tmp_path),)
        assert sees_writes(watch, witness, tmp_path)


def test_threads_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: list[str]) -> None:
    with watching(tmp_path) as (watch, witness):
        before = threading.active_count()
        for _ in range(5):
            with monkeypatch.context() as patch:
                patch.setattr(EventEmitter, "queue_event", _raise)
                (tmp_path / "file").write_text("x")
                assert until(lambda: threading.active_count() < before)
            settle(watch, witness, quiet_s=0.02)
            watch.check()
            assert until(lambda: threading.active_count() == before)
    assert set(deaths) == {"KeyError"}


def _raise(*_args: object) -> None:
    raise KeyError(-1)
