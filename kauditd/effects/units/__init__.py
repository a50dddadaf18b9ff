"""Units of the service manager: their files, their state, and the two verbs that a changed unit needs.

Charter: looks and acts, decides nothing. Files are read where systemd would look for them at its next reload, so that
the answer is the same on a running node and below a root; ``systemctl`` is asked for what only a running manager
knows. Every program that is started ends within its time. A drop-in is written by ``effects.files``.
"""

from kauditd.effects.units.manager import Manager, UnitState
from kauditd.effects.units.ondisk import read_unit
from kauditd.effects.units.runner import Done, run_bounded

__all__ = ["Done", "Manager", "UnitState", "read_unit", "run_bounded"]
