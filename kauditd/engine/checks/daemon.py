"""Does the daemon answer?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """Only whether somebody listens; what it says is ``kauditctl status``."""
    path = examination.socket_path
    if examination.socket_answers:
        return [(Grade.OK, f"the daemon listens on {path}", "")]
    return [(Grade.PROBLEM, f"nothing listens on {path}", "systemctl enable --now kauditd")]


CHECK = Check(id="daemon", ran="connect to the daemon's socket", judge=judge)
