"""Which of the node's API servers belongs to this target.

A control-plane host may also see API servers inside containers of its own (nested test clusters): they answer on
another address or port. A side that names neither is a wildcard, so that an odd manifest never hides its process.
"""

from collections.abc import Sequence

from kauditd.core.model import ApiServerProcess, ManifestView

_NAMES = ("advertise-address", "secure-port")


def match_processes(view: ManifestView | None, processes: Sequence[ApiServerProcess]) -> tuple[ApiServerProcess, ...]:
    """The processes that may be this target's, in order of start; all of them where nothing is known of the target."""
    mine = [p for p in processes if view is None or all(_agree(view.flag(n), p.flag(n)) for n in _NAMES)]
    return tuple(sorted(mine, key=lambda p: (p.started_unix_s, p.pid)))


def _agree(one: str | None, other: str | None) -> bool:
    return one is None or other is None or one == other
