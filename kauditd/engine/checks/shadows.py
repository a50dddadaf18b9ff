"""Does another file in the manifests directory define the API server too?"""

from kauditd.core.layout import parent
from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """One problem per shadow: the kubelet reads every name without a leading dot, and the last one wins."""
    observed = examination.observed
    directory = parent(observed.manifest.path)
    if not observed.shadows:
        return [(Grade.OK, f"no other file in {directory} defines the API server", "")]
    hint = "move it out of the directory at a planned time: that restarts the API server"
    return [(Grade.PROBLEM, f"{directory}/{s.name} defines {s.pod} too", hint) for s in observed.shadows]


CHECK = Check(id="shadow-manifest", ran="read every other visible file beside the manifest", judge=judge)
