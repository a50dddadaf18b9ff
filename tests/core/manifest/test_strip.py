"""The way back, also after others have written."""

from dataclasses import replace

import pytest

from kauditd.core.manifest import edit, read, record_of, strip
from kauditd.core.model import Desired, Flag
from kauditd.errors import ManifestRefused
from tests.core.manifest.pods import DESIRED, FLAGS, LOG_DIR, POLICY_DIR, Layout, Model, default, pod, wish, write

NEW_IMAGE = (b"kube-apiserver:v1.37.2", b"kube-apiserver:v1.37.3")


def after(source: bytes, desired: Desired, *changes: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """The edited text and the original, both with the same foreign changes; what strip must make of the first."""
    outcome = edit(source, desired)
    foreign, expected = outcome.text, source
    for old, new in changes:
        assert old in foreign
        foreign, expected = foreign.replace(old, new), expected.replace(old, new)
    return strip(foreign, outcome.record), expected


def test_foreign_lines_around_ours_stay() -> None:
    back, expected = after(
        default(),
        wish("n-1"),
        NEW_IMAGE,
        (b"    - --allow-privileged=true\n", b"    - --allow-privileged=true # needed\n    - --v=4\n"),
        (b"spec:\n", b"# somebody was here\nspec:\n"),
    )
    assert back == expected


def test_values_of_others_come_back_as_their_own_lines() -> None:
    words = (
        "command:\n    - kube-apiserver\n    - '--audit-log-maxage=1' # legal\n    - --audit-log-maxsize\n    - \"7\"\n"
        "    - --audit_log_maxbackup\n    - --z=1\n"
    )
    back, expected = after(pod(words), DESIRED, NEW_IMAGE)
    assert back == expected


@pytest.mark.parametrize(
    "words",
    [
        "command: [kube-apiserver, '--audit-log-maxage=1', --audit-log-maxsize, '7', --audit-log-maxbackup]\n",
        "command: [\n      kube-apiserver,\n      --audit-log-maxage=1\n    ]\n",
        "command: [kube-apiserver]\n    args: [--audit-log-maxage=1]\n",
        "command: [kube-apiserver]\n    args: [--z=1, --audit-log-maxage=1]\n",
        "command:\n    - kube-apiserver\n    - |-\n      --audit-log-maxage=1\n    - --z=1\n",
    ],
)
def test_values_in_flow_lists_and_block_scalars_come_back(words: str) -> None:
    source = pod(words)
    back, expected = after(source, DESIRED, NEW_IMAGE)
    assert read(back).flags == read(expected).flags


def test_a_read_only_mount_is_read_only_again() -> None:
    source = write(Model(volumes=[("v", LOG_DIR, LOG_DIR, True), ("w", "/w", "/w", True)]), Layout())
    back, expected = after(source, DESIRED, NEW_IMAGE)
    assert back == expected


@pytest.mark.parametrize("empty", ["missing", "null", "word", "list"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lists_that_were_empty_are_empty_again(empty: str, newline: str) -> None:
    source = write(Model(), Layout(empty=empty, newline=newline, final_newline=False))
    back, expected = after(source, wish("n-1"), NEW_IMAGE)
    assert read(back).flags == read(expected).flags
    if empty == "missing":
        assert back == expected
    assert b"kauditd" not in back


def test_a_key_of_ours_stays_when_others_use_it_too() -> None:
    outcome = edit(pod("command: [kube-apiserver]\n"), wish("n-1"))
    foreign = outcome.text.replace(b"  volumes:\n", b"  volumes:\n  - emptyDir: {}\n    name: theirs\n")
    foreign = foreign.replace(b"  annotations:\n", b"  annotations:\n    a: b\n")
    back = strip(foreign, outcome.record)
    assert b"  volumes:\n  - emptyDir: {}\n    name: theirs\n" in back
    assert b"  annotations:\n    a: b\n  name" in back


def test_what_is_gone_already_is_no_fault() -> None:
    outcome = edit(default(), wish("n-1"))
    assert strip(default() + b"# new\n", outcome.record) == default() + b"# new\n"
    mounted = edit(write(Model(volumes=[("v", LOG_DIR, LOG_DIR, True)]), Layout()), DESIRED)
    bare = write(Model(), Layout(head="# other"))
    assert strip(bare, mounted.record) == bare
    foreign = edit(pod("command: [kube-apiserver, --audit-log-maxage=1]\n"), DESIRED)
    gone = pod("command: [kube-apiserver, --audit-log-maxage=1, --x=1]\n")
    assert strip(gone, foreign.record) == gone
    assert strip(bare, foreign.record) == bare


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"--audit-log-maxsize=100", b"--audit-log-maxsize=200"),
        (b"    - --audit-log-maxsize=100\n", b"    - --audit-log-maxsize\n    - '100'\n"),
        (b"    - --audit-log-maxsize=100\n", b"    - --audit-log-maxsize=100\n" * 2),
        (b"      path: /var/log/kubernetes/audit\n", b"      path: /srv/audit\n"),
        (b"    volumeMounts:\n", b"    volumeMounts:\n    - mountPath: /mine\n      name: kauditd-log\n"),
        (b"    image:", b"    x: &a\n    - b\n    y: *a\n    image:"),
    ],
)
def test_what_we_wrote_and_others_changed_is_refused(old: bytes, new: bytes) -> None:
    outcome = edit(default(), DESIRED)
    foreign = outcome.text.replace(old, new, 1)
    if b"&a" in new:
        assert strip(foreign, outcome.record) == default().replace(old, new, 1)
        return
    with pytest.raises(ManifestRefused) as refusal:
        strip(foreign, outcome.record)
    assert refusal.value.code == "changed"


def test_a_value_of_others_that_they_changed_again_is_refused() -> None:
    outcome = edit(pod("command: [kube-apiserver, --audit-log-maxage=1]\n"), DESIRED)
    with pytest.raises(ManifestRefused) as refusal:
        strip(outcome.text.replace(b"maxage=30", b"maxage=7"), outcome.record)
    assert refusal.value.code == "changed"


def test_a_mount_of_others_keeps_our_volume_from_going() -> None:
    side = "  - name: shipper\n    volumeMounts:\n    - {name: kauditd-log, mountPath: /log}\n"
    outcome = edit(pod("command: [kube-apiserver]\n"), DESIRED)
    start = outcome.text.index(b"  volumes:\n")
    with pytest.raises(ManifestRefused) as refusal:
        strip(outcome.text[:start] + side.encode() + outcome.text[start:], outcome.record)
    assert refusal.value.code == "changed"


def test_a_record_that_does_not_fit_its_text_falls_back_to_meaning() -> None:
    outcome = edit(default(), DESIRED)
    broken = tuple(replace(splice, start=splice.start + 1) for splice in outcome.record.splices)
    assert strip(outcome.text, replace(outcome.record, splices=broken)) == default()
    lying = (*outcome.record.splices[:-1], replace(outcome.record.splices[-1], old=("# not so\n",)))
    assert strip(outcome.text, replace(outcome.record, splices=lying)) == default()


def test_an_alias_that_took_the_place_of_our_list_is_refused() -> None:
    outcome = edit(pod("command: [kube-apiserver]\n"), DESIRED)
    foreign = b"x: &v\n  - {hostPath: {path: /var/log/kubernetes/audit}, name: kauditd-log}\n" + outcome.text.replace(
        outcome.text[outcome.text.index(b"  volumes:\n") :], b"  volumes: *v\n"
    )
    with pytest.raises(ManifestRefused) as refusal:
        strip(foreign, outcome.record)
    assert refusal.value.code == "alias"


def test_the_change_of_a_nonce_is_taken_back_by_dropping_it() -> None:
    first = edit(default(), wish("n-1"))
    second = edit(first.text, wish("n-2"))
    assert strip(second.text, second.record) == first.text
    assert read(strip(second.text + b"# new\n", second.record)).nonce is None
    third = edit(second.text.replace(b"maxage=30", b"maxage=7"), DESIRED)
    assert [item.code for item in third.edits] == ["nonce-stale", "flag-differs"]
    assert read(strip(third.text + b"# new\n", third.record)).flag("audit-log-maxage") == "7"
    flow = edit(pod("command: [kube-apiserver]\n", metadata="  annotations: {}\n"), wish("n-1"))
    assert read(strip(flow.text + b"# new\n", flow.record)).nonce is None
    inline = edit(pod("command: [kube-apiserver]\n", metadata="  annotations: {a: b}\n"), wish("n-1"))
    assert b"annotations: {a: b}" in strip(inline.text + b"# new\n", inline.record)


@pytest.mark.parametrize("nonce", [None, "n-1"])
def test_a_lost_journal_is_made_up_from_the_manifest(nonce: str | None) -> None:
    outcome = edit(default(), wish(nonce))
    record = record_of(outcome.text)
    assert (record.before, record.after) == (outcome.record.before, outcome.record.after)
    assert strip(outcome.text, record) == default()
    assert strip(outcome.text + b"# new\n", record) == default() + b"# new\n"


def test_a_made_up_record_takes_nothing_that_is_not_ours() -> None:
    plain = default()
    nothing = record_of(plain)
    assert (nothing.before, nothing.splices, nothing.edits) == (nothing.after, (), ())
    theirs = pod(
        "command: [kube-apiserver, --audit-policy-file=/etc/kubernetes/audit-policy.yaml, --audit-log-maxage=1]\n"
    )
    assert strip(theirs, record_of(theirs)) == theirs
    words = f"--audit-policy-file={FLAGS[-1].value}, --audit-log-maxage, '1', --audit-log-path=/x"
    ours = f"command: [kube-apiserver, {words}]\n"
    left = strip(pod(ours), record_of(pod(ours)))
    assert b"[kube-apiserver, --audit-log-maxage, '1']" in left
    empty = pod("command: [kube-apiserver]\n", volumes="  volumes:\n  - {name: kauditd-log, emptyDir: {}}\n")
    assert strip(empty, record_of(empty)) == empty


def test_a_made_up_record_empties_flow_lists() -> None:
    words = f"command: [kube-apiserver]\n    args: [\n      --audit-policy-file={FLAGS[-1].value},\n    ]\n"
    source = pod(words, volumes=f"  volumes: [{{name: kauditd-policy, hostPath: {{path: {POLICY_DIR}}}}}]\n")
    bare = strip(source, record_of(source))
    assert read(bare).flags == ()
    assert b"volumes: []" in bare


def test_several_edits_come_back_one_by_one() -> None:
    first = edit(default(), DESIRED)
    newer = Desired(flags=(Flag(name="audit-log-maxage", value="90"),), mounts=DESIRED.mounts)
    second = edit(first.text, newer)
    assert strip(strip(second.text, second.record), first.record) == default()
