"""What the API needs of the engine, as a Protocol, so that its tests run on a fake."""

from typing import Protocol

from kauditd.core.model import Change
from kauditd.core.windows import Window
from kauditd.engine.snapshot import Snapshot


class Backend(Protocol):
    """The engine as seen from the socket. Refusals are raised as ``errors.Refused`` with a hint."""

    def snapshot(self) -> Snapshot:
        """The newest snapshot; never blocks."""
        ...

    async def apply(self, *, peer_uid: int) -> Change | None:
        """Carry out the plan now, ending a pause or a ``disable``. None where nothing differs."""
        ...

    async def rollback(self, *, peer_uid: int) -> Change | None:
        """Write the manifest that was live before the last change, then hold until ``apply`` or ``resume``."""
        ...

    async def disable(self, *, peer_uid: int) -> Change | None:
        """Remove our lines from the manifest and stay out of it until ``apply``."""
        ...

    async def pause(self, *, peer_uid: int, duration_s: float | None) -> Snapshot:
        """Write nothing for ``duration_s`` (None: until ``resume``); observation goes on."""
        ...

    async def resume(self, *, peer_uid: int) -> Snapshot:
        """End a pause."""
        ...

    async def canary(self, *, peer_uid: int) -> Snapshot:
        """A round of proof now, whether one is due or not, and the snapshot after it. Takes seconds where it fails."""
        ...

    async def annotate(
        self, window_id: int, *, peer_uid: int, root_cause: str | None, prevention: str | None, owner: str | None
    ) -> Window | None:
        """Set people's columns of a window, durably (None leaves one as it is); None where the id is unknown."""
        ...

    async def wait_change(self, change_id: int, *, timeout_s: float) -> Change | None:
        """The change once it is no longer open, or as it stands at the timeout; None where the id is unknown."""
        ...

    async def wait_snapshot(self, after_sequence: int, *, timeout_s: float) -> Snapshot:
        """The next snapshot with a greater sequence, or the newest at the timeout."""
        ...
