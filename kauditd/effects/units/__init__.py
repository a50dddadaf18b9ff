"""Units of the service manager: their files, their state, and the two verbs that a changed unit needs.

Charter: looks and acts, decides nothing. Files are read where systemd would look for them at its next reload, so that
the answer is the same on a running node and below a root; ``systemctl`` is asked for what only a running manager
knows. Every program that is started ends within its time. The hands that
write a drop-in are given by the caller.
"""

from kauditd.effects.units.manager import Manager, UnitState
from kauditd.effects.units.ondisk import read_unit
from kauditd.effects.units.runner import Done, run_bounded
from kauditd.effects.units.swap import SWAP_POINTS, Hands, read_as_manifest, settle, swap

__all__ = [
    "SWAP_POINTS",
    "Done",
    "Hands",
    "Manager",
    "UnitState",
    "read_as_manifest",
    "read_unit",
    "run_bounded",
    "settle",
    "swap",
]
