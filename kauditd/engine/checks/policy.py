"""Is there a usable policy, and is its published file intact?"""

from kauditd.core.observed import PolicyFileState
from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """Each problem of the source, then the state of the published file."""
    bad = [r for r in examination.troubles if r.code == "policy-invalid"]
    if bad:
        return [(Grade.PROBLEM, r.text, r.hint) for r in bad]
    published = examination.observed.policy_file
    if published is None:
        return [(Grade.PROBLEM, "there is no policy to publish", "mend policy.profile or policy.file")]
    match published.state:
        case PolicyFileState.INTACT:
            return [(Grade.OK, f"{published.path} is published and intact", "")]
        case PolicyFileState.MISSING:
            return [(Grade.NOTE, f"{published.path} is not published yet", "the daemon publishes it before any edit")]
        case PolicyFileState.TAMPERED:
            return [(Grade.PROBLEM, f"{published.path} was edited", "edit the source; the daemon writes the file anew")]


CHECK = Check(id="policy", ran="read the policy source and the published file", judge=judge)
