"""The policy profiles that the package ships, read through importlib.resources (a zip or a directory alike)."""

from importlib.resources import files

from kauditd.core.settings_table import PROFILE_NAMES
from kauditd.errors import FileFault, KauditError, quote

__all__ = ["PROFILE_NAMES", "read_profile"]


def read_profile(name: str) -> bytes:
    """The source text of profile ``name``, one of PROFILE_NAMES.

    Raises ``KauditError`` of kind not-found for any other name, ``FileFault`` where the installation is damaged.
    """
    if name not in PROFILE_NAMES:
        known = ", ".join(PROFILE_NAMES)
        raise KauditError(f"cannot read profile {quote(name)}: no such profile", kind="not-found", hint=f"use {known}")
    source = files("kauditd.data") / "policies" / f"{name}.yaml"
    try:
        return source.read_bytes()
    except OSError as exc:
        cause = exc.strerror or "unreadable"
        raise FileFault(
            f"cannot read profile {name}: {cause}", path=str(source), hint="install the kauditd package again"
        ) from exc
