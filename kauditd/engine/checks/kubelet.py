"""Does a kubelet run, and for how long?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """A kubelet younger than the setting says delays edits, see core.preconditions."""
    observed = examination.observed
    started = observed.kubelet_started_unix_s
    if started is None:
        return [(Grade.PROBLEM, "no kubelet runs here: nothing acts on the manifest", "systemctl status kubelet")]
    age_s = observed.at_unix_s - started
    stable_s = examination.settings.target.kubelet_stable_s
    if age_s < stable_s:
        text = f"the kubelet is {age_s:.0f} s old; edits wait until it is {stable_s} s old"
        return [(Grade.NOTE, text, "nothing to do")]
    return [(Grade.OK, f"the kubelet has been running for {age_s / 3600:.1f} h", "")]


CHECK = Check(id="kubelet", ran="look for the kubelet's process", judge=judge)
