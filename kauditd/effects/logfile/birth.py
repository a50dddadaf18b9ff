"""When a file was made: what tells it from a later one that was given the same inode number (ext4 does so at once).

Python's ``os.stat`` does not show it on Linux, so the system call statx(2) is made through the C library.
"""

import ctypes
import struct
from functools import cache

_AT_EMPTY_PATH = 0x1000
_STATX_BTIME = 0x800
_BUFFER_BYTES = 256
_BTIME_OFFSET = 80


def born_ns(descriptor: int) -> int:
    """The time of birth of an open file in nanoseconds; 0 where the file system or the C library cannot tell."""
    statx = _statx()
    buffer = ctypes.create_string_buffer(_BUFFER_BYTES)
    if statx is None or statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_BTIME, buffer) != 0:
        return 0
    (mask,) = struct.unpack_from("=I", buffer.raw, 0)
    seconds, nanoseconds = struct.unpack_from("=qI", buffer.raw, _BTIME_OFFSET)
    return int(seconds * 1_000_000_000 + nanoseconds) if mask & _STATX_BTIME else 0


@cache
def _statx() -> "ctypes._NamedFuncPointer | None":
    try:
        function = ctypes.CDLL(None, use_errno=True).statx
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_char_p)
    function.restype = ctypes.c_int
    return function
