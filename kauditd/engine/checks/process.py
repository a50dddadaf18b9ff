"""Does an API server run, and with which audit flags?"""

from kauditd.core.drift import flags_agree
from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """The command line of the running process is what counts, not the file."""
    process = examination.observed.process
    if process is None:
        return [(Grade.PROBLEM, "no kube-apiserver process of this target runs here", "journalctl -u kubelet")]
    on = process.flag("audit-policy-file") is not None and process.flag("audit-log-path") is not None
    if examination.desired is not None and flags_agree(examination.desired, process):
        return [(Grade.OK, f"pid {process.pid} runs with every flag that is asked for", "")]
    if on:
        hint = "kauditctl diff shows what would change"
        return [(Grade.PROBLEM, f"pid {process.pid} runs with other audit flags than those asked for", hint)]
    missing = "--audit-policy-file and --audit-log-path are not both on its command line"
    return [(Grade.PROBLEM, f"audit is off in pid {process.pid}: {missing}", "systemctl enable --now kauditd")]


CHECK = Check(id="process", ran="read the command line of the running API server", judge=judge)
