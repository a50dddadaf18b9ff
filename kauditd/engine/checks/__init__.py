"""What ``kauditctl doctor`` looks at: one small check per file, each with an id, what it ran, a finding and a hint.

Charter: a check reads an ``Examination`` and answers; it opens nothing itself and changes nothing. A new check is a
new file and one line in ``ALL``.
"""

from kauditd.engine.checks import (
    daemon,
    kubelet,
    log_directory,
    manifest,
    policy,
    process,
    room,
    settings,
    shadows,
    watches,
)
from kauditd.engine.checks.finding import Check, Examination, Finding, Grade

__all__ = ["ALL", "Check", "Examination", "Finding", "Grade", "examine"]

ALL: tuple[Check, ...] = (
    settings.CHECK,
    policy.CHECK,
    manifest.CHECK,
    shadows.CHECK,
    process.CHECK,
    kubelet.CHECK,
    log_directory.CHECK,
    room.CHECK,
    watches.CHECK,
    daemon.CHECK,
)


def examine(examination: Examination) -> tuple[Finding, ...]:
    """Every check's finding, in the order of ``ALL``."""
    return tuple(finding for check in ALL for finding in check.run(examination))
