"""Is there room for the log generations that the settings keep?"""

from kauditd.core.preconditions import MIB
from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """The live file and every backup at full size, against what is free now."""
    log = examination.observed.log_directory
    if log is None or log.free_bytes is None:
        return [(Grade.NOTE, "free space is not known: the directory does not exist yet", "")]
    limits = examination.settings.log
    wanted = limits.max_size_mib * (limits.max_backups + 1)
    free = log.free_bytes // MIB
    if free < limits.max_size_mib:
        hint = "free space: with a full disk events are lost, and a new API server may not start"
        return [(Grade.PROBLEM, f"{free} MiB free, one log file may take {limits.max_size_mib} MiB", hint)]
    if free < wanted:
        hint = "lower log.max_backups or log.max_size_mib, or give the log a file system of its own"
        return [(Grade.NOTE, f"{free} MiB free, all generations together may take {wanted} MiB", hint)]
    return [(Grade.OK, f"{free} MiB free, all generations together take at most {wanted} MiB", "")]


CHECK = Check(id="room", ran="compare free space with what the settings keep", judge=judge)
