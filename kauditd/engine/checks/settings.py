"""Are the settings readable, and what do they ask for?"""

from kauditd.engine.checks.finding import Check, Examination, Grade


def judge(examination: Examination) -> list[tuple[Grade, str, str]]:
    """Each problem of the file, or the mode in force."""
    bad = [r for r in examination.troubles if r.code == "settings-invalid"]
    if bad:
        return [(Grade.PROBLEM, r.text, r.hint) for r in bad]
    if examination.settings.mode == "observe":
        hint = "set mode: enforce to let kauditd write"
        return [(Grade.NOTE, "the settings are valid; mode: observe, so nothing is ever written", hint)]
    return [(Grade.OK, "the settings are valid", "")]


CHECK = Check(id="settings", ran="read the settings file", judge=judge)
