"""The node's clocks."""

import time
from pathlib import Path

from kauditd.errors import FileFault, quote

_BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"


class SystemClock:
    """Wall clock for what is shown and stored, monotonic clock for every duration and deadline."""

    def now_unix_s(self) -> float:
        """Seconds since 1970 on the wall clock; may jump in either direction."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds on a clock that never goes back; meaningless across a restart of the process."""
        return time.monotonic()


def boot_id() -> str:
    """The kernel's random id of this boot (36 characters): monotonic times compare only where it is equal.

    Raises FileFault where /proc does not show it.
    """
    try:
        return Path(_BOOT_ID_FILE).read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFault(
            f"cannot read the boot id {_BOOT_ID_FILE}: {quote(str(error))}",
            path=_BOOT_ID_FILE,
            hint="mount /proc for the service",
        ) from error
