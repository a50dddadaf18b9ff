"""The same stage twice: a node and a memory made of values, and the real ones in a root of their own."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kauditd.core.layout import Layout
from kauditd.daemon.node import RealMemory, RealNode
from kauditd.engine.ports import Memory, Node
from tests.engine.fakes import FakeMemory, FakeNode

DIRECTORY = "/etc/kubernetes/manifests"


class Stage(Protocol):
    """What a contract test may do to the world behind the ports. Every path is logical."""

    node: Node

    def memory(self) -> Memory:
        """A memory as the next start of the program finds it."""
        ...

    def put(self, path: str, content: bytes) -> None:
        """Rename a finished file into place."""
        ...

    def write_in_place(self, path: str, content: bytes) -> None:
        """Write into the file that is there."""
        ...

    def remove(self, path: str) -> None:
        """Unlink."""
        ...

    def content(self, path: str) -> bytes:
        """What the file holds."""
        ...

    def between_read_and_rename(self, act: Callable[[], None]) -> None:
        """``act`` runs once in the next replacement, at the last moment at which it can still be noticed."""
        ...


class FakeStage:
    """Values only."""

    def __init__(self) -> None:
        self.node = FakeNode()
        self._memory = FakeMemory()

    def memory(self) -> FakeMemory:
        return self._memory

    def put(self, path: str, content: bytes) -> None:
        self.node.now += 0.01
        self.node.put(path, content)

    def write_in_place(self, path: str, content: bytes) -> None:
        self.node.now += 0.01
        self.node.write_in_place(path, content)

    def remove(self, path: str) -> None:
        self.node.remove(path)

    def content(self, path: str) -> bytes:
        return self.node.content(path)

    def between_read_and_rename(self, act: Callable[[], None]) -> None:
        def once() -> None:
            self.node.before_replace = lambda: None
            act()

        self.node.before_replace = once


class RealStage:
    """A root on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._layout = Layout(str(root))
        self._interfere: Callable[[], None] | None = None
        (root / DIRECTORY[1:]).mkdir(parents=True)
        (root / "var/lib").mkdir(parents=True)
        self.node = RealNode(self._layout, self._at)

    def memory(self) -> RealMemory:
        made = RealMemory(self._layout)
        made.prepare()
        return made

    def put(self, path: str, content: bytes) -> None:
        host = self._host(path)
        host.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._root / "staged"
        temporary.write_bytes(content)
        written = temporary.stat().st_mtime_ns - 20_000_000  # written some ticks of the kernel's clock ago
        os.utime(temporary, ns=(written, written))
        os.rename(temporary, host)

    def write_in_place(self, path: str, content: bytes) -> None:
        self._host(path).write_bytes(content)

    def remove(self, path: str) -> None:
        self._host(path).unlink()

    def content(self, path: str) -> bytes:
        return self._host(path).read_bytes()

    def between_read_and_rename(self, act: Callable[[], None]) -> None:
        self._interfere = act

    def _at(self, point: str) -> None:
        if point == "replace.temp-synced" and self._interfere is not None:
            act, self._interfere = self._interfere, None
            act()

    def _host(self, path: str) -> Path:
        return Path(self._layout.host(path))
