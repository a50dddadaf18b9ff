"""What the daemon does not load: half of its memory would be for things that it never does.

Measured on Debian 12 (Python 3.11, -I -S): 46 MB with everything, 37 MB with what is left out here. Called before
anything of aiohttp is imported; every step is skipped where the interpreter or aiohttp is not as expected, and then
the daemon is larger but not different.

- TLS: only the health probe needs it, and that runs in a child of its own (``effects.probing``). Without libssl and
  libcrypto the interpreter's own SHA-256 is used; where it has none (some FIPS builds) libcrypto stays.
- aiohttp's client: ``import aiohttp`` pulls it in, the server does not use it. The package object is made without
  running ``__init__``, so that ``aiohttp.web`` loads what it needs and no more.
- C extensions of aiohttp's family: the package ships them as pure Python, so what is measured is what is shipped.
"""

import importlib.util
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

_FAMILY = ("AIOHTTP", "MULTIDICT", "YARL", "FROZENLIST", "PROPCACHE")
_VERSION = re.compile(r'^__version__ = "([^"]+)"', re.MULTILINE)


def trim() -> None:
    """Leave out what is not needed. Has an effect only in a process that has imported none of it yet."""
    for name in _FAMILY:
        os.environ.setdefault(f"{name}_NO_EXTENSIONS", "1")
    if "ssl" in sys.modules or "aiohttp" in sys.modules:
        return
    _leave_out_tls()
    _leave_out_client()


def _leave_out_tls() -> None:
    """A None in ``sys.modules`` makes the import fail, as in an interpreter that was built without OpenSSL."""
    own_digest = any(importlib.util.find_spec(name) is not None for name in ("_sha256", "_sha2"))
    for name in ("_ssl", "ssl", *(("_hashlib",) if own_digest and "hashlib" not in sys.modules else ())):
        sys.modules[name] = None  # type: ignore[assignment]  # the documented way to make an import fail


def _leave_out_client() -> None:
    spec = importlib.util.find_spec("aiohttp")
    if spec is None or spec.origin is None:
        return
    with suppress(OSError):
        version = _VERSION.search(Path(spec.origin).read_text(encoding="utf-8"))
        if version is None:
            return
        package = importlib.util.module_from_spec(spec)
        package.__dict__["__version__"] = version.group(1)
        sys.modules["aiohttp"] = package
        try:
            importlib.import_module("aiohttp.web")
        except ImportError:
            for name in [n for n in sys.modules if n.partition(".")[0] == "aiohttp"]:
                del sys.modules[name]
