"""Can the manifest be read and edited, and what is missing in it?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """Missing, unreadable, refused, incomplete, or complete."""
    observed = examination.observed
    path = observed.manifest.path
    if observed.manifest.missing:
        return [(Grade.PROBLEM, f"there is no {path}", "is this a control-plane node, installed with kubeadm?")]
    if observed.manifest.content is None:
        return [(Grade.PROBLEM, f"cannot read {path}: {observed.manifest.fault}", "run as root")]
    if (refusal := observed.refusal) is not None:
        return [(Grade.PROBLEM, f"{path}:{refusal.line or 1}: {refusal.text}", refusal.hint)]
    if observed.edited is not None and observed.edited.edits:
        count = len(observed.edited.edits)
        return [(Grade.PROBLEM, f"{count} things are missing or different in {path}", "kauditctl diff shows them")]
    return [(Grade.OK, f"{path} has everything that is asked for", "")]


CHECK = Check(id="manifest", ran="read and parse the static pod manifest", judge=judge)
