"""The file system: reading what others wrote, replacing it safely, and keeping our own files.

Charter: every path is opened once and then used by descriptor, so that what was checked is what is used; links are
followed only where a function says so; every OSError leaves as ``errors.FileFault``. Calls block.
"""

from kauditd.effects.files.appending import append_line
from kauditd.effects.files.durable import (
    DURABLE_POINTS,
    Published,
    ensure_directory,
    free_bytes,
    probe_writable,
    prune,
    publish_immutable,
    remove_files,
    set_aside,
    write_durably,
)
from kauditd.effects.files.reading import identify, list_visible, read_manifest, read_small
from kauditd.effects.files.replacement import CRASH_POINTS, Replacement, replace, sweep

__all__ = [
    "CRASH_POINTS",
    "DURABLE_POINTS",
    "Published",
    "Replacement",
    "append_line",
    "ensure_directory",
    "free_bytes",
    "identify",
    "list_visible",
    "probe_writable",
    "prune",
    "publish_immutable",
    "read_manifest",
    "read_small",
    "remove_files",
    "replace",
    "set_aside",
    "sweep",
    "write_durably",
]
