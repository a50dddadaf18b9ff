"""An event loop whose clock jumps to the next timer, but never while a thread is at work for it."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        if self.loop.at_work:
            return super().select(0.05)  # a thread that ends wakes the loop
        ready = super().select(0)
        if ready:
            return ready
        assert timeout is not None, "nothing is left to happen"
        self.loop.now += timeout
        self.loop.passed(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """``now`` is its time in seconds, from 0; ``passed`` is told of every jump."""

    def __init__(self, passed: Callable[[float], None] = lambda _seconds: None) -> None:
        self.now = 0.0
        self.passed = passed
        self.at_work = 0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> "asyncio.Future[Any]":
        future = super().run_in_executor(executor, func, *args)
        self.at_work += 1
        future.add_done_callback(self._ended)
        return future

    def _ended(self, _future: object) -> None:
        self.at_work -= 1


def run(work: Coroutine[Any, Any, _T], passed: Callable[[float], None] = lambda _seconds: None) -> _T:
    """Run ``work`` to its end in virtual time; ``passed`` is told of every jump of the clock."""
    loop = VirtualLoop(passed)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()
