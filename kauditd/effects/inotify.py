"""Whether the kernel would give this user one more inotify instance."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

_LIMIT_FILE = Path("/proc/sys/fs/inotify/max_user_instances")


def inotify_limit() -> int | None:
    """Instances that one user may have, None where the kernel does not say."""
    with suppress(OSError, ValueError):
        return int(_LIMIT_FILE.read_text(encoding="ascii"))
    return None


def inotify_obtainable() -> bool:
    """Open one instance and close it again."""
    descriptor = ctypes.CDLL(None, use_errno=True).inotify_init1(os.O_CLOEXEC)
    if descriptor < 0:
        return False
    os.close(descriptor)
    return True
