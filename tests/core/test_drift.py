"""Every difference has a stable code, a weight, and words that say what to do."""

import pytest

from kauditd.core.drift import FOREIGN_FLAGS, MANIFEST_CODES, find_drift, flags_agree
from kauditd.core.model import Desired, Drift, Severity
from kauditd.core.observed import Observed, PolicyFileState, Refusal, Shadow
from tests.core.builders import (
    DESIRED,
    LOG,
    MANIFEST,
    NOTHING,
    NOW,
    OURS,
    POLICY,
    edit,
    edited,
    flags,
    log_directory,
    manifest,
    observed,
    policy_file,
    process,
    view,
)


def only(look: Observed, desired: Desired = DESIRED) -> Drift:
    found = find_drift(desired, look)
    assert [d.code for d in found] == [found[0].code]
    assert found[0].text
    return found[0]


def test_no_difference_is_no_drift() -> None:
    look = observed(policy_file=policy_file(), log_directory=log_directory())
    assert find_drift(DESIRED, look) == ()


def test_missing_manifest_is_waited_for_never_made() -> None:
    drift = only(observed(manifest=manifest(None, missing=True), view=None, edited=None))
    assert drift.code == "manifest-missing"
    assert drift.severity is Severity.WARNING
    assert not drift.repairable
    assert "never creates" in drift.hint


def test_unreadable_manifest_says_why() -> None:
    drift = only(observed(manifest=manifest(None, fault="it is a symbolic link"), view=None, edited=None))
    assert drift.code == "manifest-unreadable"
    assert drift.severity is Severity.CRITICAL
    assert drift.text == f"cannot read {MANIFEST}: it is a symbolic link"


@pytest.mark.parametrize(("line", "place"), [(12, f"{MANIFEST}:12"), (0, MANIFEST)])
def test_refused_manifest_names_the_line(line: int, place: str) -> None:
    refusal = Refusal(code="anchors", text="anchors are not edited", line=line, hint="write it out")
    drift = only(observed(edited=None, refusal=refusal))
    assert (drift.code, drift.subject, drift.hint) == ("manifest-refused", "anchors", "write it out")
    assert drift.text == f"{place}: anchors are not edited"
    assert not drift.repairable


def test_manifest_that_was_not_edited_shows_no_drift() -> None:
    assert find_drift(DESIRED, observed(edited=None)) == ()


@pytest.mark.parametrize(
    ("code", "subject", "words"),
    [
        ("flag-missing", "audit-log-path", "lacks --audit-log-path"),
        ("flag-differs", "audit-log-path", "--audit-log-path with another value"),
        ("flag-duplicate", "audit-log-path", "more than once"),
        ("mount-missing", "kauditd-log", "mount kauditd-log"),
        ("mount-readonly", "kauditd-log", "mounts kauditd-log read-only"),
        ("volume-missing", "kauditd-policy", "volume kauditd-policy"),
        ("nonce-missing", "kauditd.io/nonce", "nonce kauditd.io/nonce"),
        ("nonce-stale", "kauditd.io/nonce", "nonce kauditd.io/nonce"),
    ],
)
def test_each_edit_is_a_drift_that_can_be_repaired(code: str, subject: str, words: str) -> None:
    drift = only(observed(edited=edited(edit(code, subject, before="b", after="a"))))
    assert drift.code == code
    assert drift.code in MANIFEST_CODES
    assert (drift.subject, drift.expected, drift.found) == (subject, "a", "b")
    assert drift.repairable
    assert drift.severity is Severity.CRITICAL
    assert words in drift.text
    assert "somebody else" not in drift.text


def test_line_of_an_administrator_is_told_as_such() -> None:
    drift = only(observed(edited=edited(edit("flag-differs", "audit-log-maxage", foreign=True))))
    assert "somebody else's" in drift.text


@pytest.mark.parametrize(
    ("before", "subject", "code"),
    [
        (f"--audit-policy-file={POLICY}", "audit-policy-file", "policy-stale"),
        (POLICY, "audit-policy-file", "policy-stale"),
        ("/etc/kubernetes/audit-policy.yaml", "audit-policy-file", "flag-differs"),
        (None, "audit-policy-file", "flag-differs"),
        (POLICY, "audit-log-path", "flag-differs"),
    ],
)
def test_older_policy_of_ours_is_stale_not_foreign(before: str | None, subject: str, code: str) -> None:
    drift = only(observed(edited=edited(edit("flag-differs", subject, before=before))))
    assert drift.code == code
    assert drift.code in MANIFEST_CODES


def test_copy_beside_the_manifest_is_a_shadow() -> None:
    """The kubelet reads every visible file, and the last name wins."""
    drift = only(observed(shadows=(Shadow(name="kube-apiserver.yaml.bak", pod="kube-system/kube-apiserver"),)))
    assert (drift.code, drift.severity) == ("shadow-manifest", Severity.CRITICAL)
    assert "/etc/kubernetes/manifests/kube-apiserver.yaml.bak" in drift.text
    assert not drift.repairable


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("audit-log-format", "legacy"),
        ("audit-log-truncate-enabled", "true"),
        ("audit-log-truncate-enabled", "1"),
        ("audit-log-compress", "T"),
    ],
)
def test_foreign_flag_that_weakens_the_trail_is_reported_and_left(name: str, value: str) -> None:
    drift = only(observed(view=view((name, value))))
    assert (drift.code, drift.subject, drift.severity) == ("flag-foreign", name, Severity.WARNING)
    assert drift.found == value
    assert not drift.repairable


@pytest.mark.parametrize("value", ["0", "f", "F", "false", "FALSE", "False"])
def test_every_spelling_of_false_is_false(value: str) -> None:
    """Boolean flags are read by Go's strconv.ParseBool."""
    assert find_drift(DESIRED, observed(view=view(("audit-log-compress", value)))) == ()


def test_foreign_flag_with_the_good_value_is_no_drift() -> None:
    good = tuple((name, value) for name, (value, _) in FOREIGN_FLAGS.items())
    assert find_drift(DESIRED, observed(view=view(*good))) == ()


def test_flag_that_is_asked_for_is_not_foreign() -> None:
    desired = Desired(flags=flags(("audit-log-format", "json")), mounts=())
    look = observed(
        view=view(("audit-log-format", "legacy")), processes=(), edited=edited(edit("flag-differs", "audit-log-format"))
    )
    assert [d.code for d in find_drift(desired, look)] == ["flag-differs"]


def test_foreign_text_is_made_harmless() -> None:
    drift = only(observed(view=view(("audit-log-format", "a\x1b[2Jb\n"))))
    assert drift.text.isprintable()


def test_process_without_the_flags_of_a_right_manifest() -> None:
    drift = only(observed(processes=(process(100, NOW - 60, OURS[0], ("audit-policy-file", "/other")),)))
    assert (drift.code, drift.subject, drift.severity) == ("process-differs", "100", Severity.CRITICAL)
    assert "the manifest is right" in drift.text
    assert "--audit-policy-file" in drift.text
    assert "--audit-log-path" not in drift.text
    assert drift.hint
    assert (drift.expected, drift.found) == (f"--audit-policy-file={POLICY}", "--audit-policy-file=/other")


def test_process_that_lacks_flags_like_its_manifest() -> None:
    found = find_drift(DESIRED, observed(edited=edited(edit()), processes=(process(),)))
    assert [d.code for d in found] == ["flag-missing", "process-differs"]
    assert "lacks or differs in --audit-log-path, --audit-policy-file" in found[1].text
    assert found[1].found is None
    assert found[1].hint == ""


def test_no_process_is_no_drift_of_a_process() -> None:
    assert find_drift(DESIRED, observed(processes=())) == ()


def test_last_of_duplicate_flags_must_agree() -> None:
    good, bad = OURS[0], (OURS[0][0], "/elsewhere")
    assert flags_agree(DESIRED, process(1, NOW, bad, *OURS))
    assert not flags_agree(DESIRED, process(1, NOW, good, OURS[1], bad))
    assert flags_agree(NOTHING, process())


@pytest.mark.parametrize(
    ("state", "code", "words"),
    [
        (PolicyFileState.MISSING, "policy-file-missing", "would exit"),
        (PolicyFileState.TAMPERED, "policy-file-tampered", "no longer matches"),
    ],
)
def test_published_policy_is_gone_or_changed(state: PolicyFileState, code: str, words: str) -> None:
    drift = only(observed(policy_file=policy_file(state)))
    assert (drift.code, drift.subject, drift.severity) == (code, POLICY, Severity.CRITICAL)
    assert words in drift.text
    assert drift.repairable


def test_log_directory_is_missing() -> None:
    drift = only(observed(log_directory=log_directory(present=False)))
    assert (drift.code, drift.subject) == ("log-directory-missing", LOG)
    assert drift.repairable


def test_log_directory_cannot_be_written() -> None:
    drift = only(observed(log_directory=log_directory(fault="it is read-only here (EROFS)")))
    assert (drift.code, drift.severity) == ("log-directory-unwritable", Severity.CRITICAL)
    assert "EROFS" in drift.text
    assert not drift.repairable


def test_file_comes_before_process_and_surroundings() -> None:
    look = observed(
        edited=edited(edit()),
        shadows=(Shadow(name="z.yaml", pod="kube-apiserver"),),
        view=view(("audit-log-format", "legacy")),
        processes=(process(),),
        policy_file=policy_file(PolicyFileState.MISSING),
        log_directory=log_directory(present=False),
    )
    assert [d.code for d in find_drift(DESIRED, look)] == [
        "flag-missing",
        "shadow-manifest",
        "flag-foreign",
        "process-differs",
        "policy-file-missing",
        "log-directory-missing",
    ]
