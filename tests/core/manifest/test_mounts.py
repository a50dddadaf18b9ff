"""Mounts: what already shows our directories is used, what is in the way is walked around, nothing is doubled."""

import pytest

from kauditd.core.manifest import edit, read, strip
from kauditd.core.model import Edited
from tests.core.manifest.pods import DESIRED, LOG_DIR, POLICY_DIR, Layout, Model, write

POLICY_VOLUME = ("p", POLICY_DIR, POLICY_DIR, True)


def outcome_of(*volumes: tuple[str, str, str, bool]) -> Edited:
    source = write(Model(volumes=[*volumes, POLICY_VOLUME]), Layout())
    outcome = edit(source, DESIRED)
    assert strip(outcome.text, outcome.record) == source
    assert edit(outcome.text, DESIRED).edits == ()
    assert read(outcome.text).log_host_path == f"{LOG_DIR}/audit.log"
    return outcome


def mount_edits(outcome: Edited) -> list[tuple[str, str, str | None]]:
    return [(edit.code, edit.subject, edit.after) for edit in outcome.edits if not edit.code.startswith("flag")]


@pytest.mark.parametrize(
    "volume",
    [
        ("v", LOG_DIR, LOG_DIR, False),
        ("v", f"{LOG_DIR}/", f"{LOG_DIR}/", False),
        ("v", "/var/log", "/var/log", False),
        ("v", "/var", "/var", False),
        ("v", "/", "/", False),
        ("kauditd-log", LOG_DIR, LOG_DIR, False),
    ],
)
def test_a_mount_that_shows_our_directory_is_used(volume: tuple[str, str, str, bool]) -> None:
    assert mount_edits(outcome_of(volume)) == []


def test_a_read_only_mount_at_our_path_becomes_writable() -> None:
    outcome = outcome_of(("v", LOG_DIR, LOG_DIR, True))
    assert mount_edits(outcome) == [("mount-readonly", "v", "false")]
    assert next(edit for edit in outcome.edits if edit.code == "mount-readonly").foreign
    assert (
        f"mountPath: {LOG_DIR}\n    name: v\n    readOnly: false\n".replace("\n", "\n  ").encode()[:-3] in outcome.text
    )


def test_below_a_read_only_parent_ours_is_mounted_deeper() -> None:
    outcome = outcome_of(("v", "/var/log", "/var/log", True))
    assert mount_edits(outcome) == [
        ("mount-missing", "kauditd-log", LOG_DIR),
        ("volume-missing", "kauditd-log", LOG_DIR),
    ]


def test_the_deepest_mount_is_what_the_container_sees() -> None:
    outcome = outcome_of(("a", LOG_DIR, LOG_DIR, False), ("b", "/srv", "/var/log", False))
    assert mount_edits(outcome) == []
    outcome = outcome_of(("a", "/var/log", "/var/log", False), ("b", "/srv", "/var/log/kubernetes", False))
    assert mount_edits(outcome)[0] == ("mount-missing", "kauditd-log", LOG_DIR)


def test_a_name_that_is_taken_is_walked_around() -> None:
    outcome = outcome_of(("kauditd-log", "/srv/x", "/srv/x", False), ("kauditd-log-2", "/srv/y", "/srv/y", False))
    assert mount_edits(outcome) == [
        ("mount-missing", "kauditd-log-3", LOG_DIR),
        ("volume-missing", "kauditd-log-3", LOG_DIR),
    ]


def test_a_mount_path_that_is_taken_is_walked_around_and_the_flag_follows() -> None:
    outcome = outcome_of(("v", "/srv/x", LOG_DIR, False))
    assert ("mount-missing", "kauditd-log", f"{LOG_DIR}-kauditd") in mount_edits(outcome)
    assert read(outcome.text).flag("audit-log-path") == f"{LOG_DIR}-kauditd/audit.log"


def test_both_paths_taken_lead_to_a_numbered_one() -> None:
    outcome = outcome_of(("v", "/srv/x", LOG_DIR, False), ("w", "/srv/y", f"{LOG_DIR}-kauditd", False))
    assert read(outcome.text).flag("audit-log-path") == f"{LOG_DIR}-kauditd-2/audit.log"


def test_our_volume_without_its_mount_is_mounted_again() -> None:
    text = edit(write(Model(), Layout()), DESIRED).text
    start = text.index(f"    - mountPath: {LOG_DIR}\n".encode())
    broken = text[:start] + text[text.index(b"name: kauditd-log\n", start) + len(b"name: kauditd-log\n") :]
    assert [edit.code for edit in edit(broken, DESIRED).edits] == ["mount-missing"]


def test_our_mount_without_its_volume_gets_it_again() -> None:
    text = edit(write(Model(), Layout()), DESIRED).text
    start = text.index(b"  - hostPath:\n      path: " + LOG_DIR.encode())
    end = text.index(b"name: kauditd-log\n", start) + len(b"name: kauditd-log\n")
    repaired = edit(text[:start] + text[end:], DESIRED)
    assert [edit.code for edit in repaired.edits] == ["volume-missing"]
    assert repaired.text == text


@pytest.mark.parametrize("piece", ["subPath: a", "subPathExpr: $(A)"])
def test_a_part_of_a_volume_is_not_our_directory(piece: str) -> None:
    source = write(Model(volumes=[("v", LOG_DIR, LOG_DIR, False), POLICY_VOLUME]), Layout())
    source = source.replace(f"- mountPath: {LOG_DIR}\n".encode(), f"- mountPath: {LOG_DIR}\n      {piece}\n".encode())
    assert read(edit(source, DESIRED).text).flag("audit-log-path") == f"{LOG_DIR}-kauditd/audit.log"


def test_volumes_that_are_no_directories_of_the_host_and_broken_entries_show_nothing() -> None:
    source = write(Model(volumes=[("v", LOG_DIR, LOG_DIR, False), POLICY_VOLUME]), Layout())
    empty = source.replace(f"hostPath:\n      path: {LOG_DIR}\n      type: DirectoryOrCreate".encode(), b"emptyDir: {}")
    assert read(edit(empty, DESIRED).text).flag("audit-log-path") == f"{LOG_DIR}-kauditd/audit.log"
    odd = b"  - command: [kube-apiserver, --audit-log-path=/a/b, --audit-policy-file=-]\n"
    odd += b"    volumeMounts: [a, {mountPath: /a}]\n"
    pod = b"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n" + odd + b"  volumes: [a, {name: v}]\n"
    view = read(pod)
    assert (view.log_host_path, view.policy_host_path, view.pod_name, view.namespace) == (None, None, "", "default")


def test_volumes_are_sorted_in_where_they_are_sorted() -> None:
    text = outcome_of(("a", "/a", "/a", False), ("z", "/z", "/z", False)).text
    assert text.index(b"name: kauditd-log") > text.index(b"name: z")  # a, z, p is not sorted
    source = write(Model(volumes=[("a", "/a", "/a", False), ("z", "/z", "/z", False)]), Layout())
    text = edit(source, DESIRED).text
    assert (
        text.index(b"name: a\n")
        < text.index(b"name: kauditd-log")
        < text.index(b"name: kauditd-policy")
        < text.index(b"name: z")
    )
