"""Can file events be had?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """Without inotify the daemon polls: a repair takes up to a second instead of milliseconds."""
    limit = examination.inotify_limit
    if examination.inotify_obtainable:
        return [(Grade.OK, f"inotify works (at most {limit} instances per user)", "")]
    hint = "raise fs.inotify.max_user_instances (sysctl), for example to 1024"
    return [(Grade.PROBLEM, f"inotify cannot be had (limit {limit} instances per user): kauditd polls", hint)]


CHECK = Check(id="file-events", ran="open one inotify instance", judge=judge)
