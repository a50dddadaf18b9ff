"""Can the audit log be written?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """An API server whose log cannot be opened exits at start."""
    log = examination.observed.log_directory
    if log is None:
        return [(Grade.NOTE, "no log directory is known without valid settings", "mend the settings first")]
    if log.fault:
        return [(Grade.PROBLEM, f"{log.path}: {log.fault}", "make it a directory that root can write")]
    if not log.present:
        return [(Grade.NOTE, f"{log.path} does not exist yet", "the daemon makes it before any edit")]
    return [(Grade.OK, f"{log.path} can be written", "")]


CHECK = Check(id="log-directory", ran="look at the directory of the audit log", judge=judge)
