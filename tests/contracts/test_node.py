"""What the engine relies on in a node, whichever it is."""

import hashlib

import pytest

from kauditd.core.model import Digest, ManifestFile
from kauditd.core.observed import PolicyFileState
from kauditd.errors import FileFault, LostUpdate
from tests.contracts.stages import DIRECTORY, Stage

PATH = f"{DIRECTORY}/kube-apiserver.yaml"
POLICY = "/etc/kubernetes/audit/policy-0123456789ab.yaml"
LOGS = "/var/log/kubernetes/audit"
LIMIT = 1 << 16


def digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())


def test_manifest_that_is_not_there_is_missing_and_no_fault(stage: Stage) -> None:
    assert stage.node.read_manifest(PATH) == ManifestFile(path=PATH, missing=True)
    assert stage.node.identify(PATH) is None


def test_manifest_is_read_with_logical_path_digest_and_identity(stage: Stage) -> None:
    stage.put(PATH, b"one\n")
    read = stage.node.read_manifest(PATH)
    assert (read.path, read.content, read.digest) == (PATH, b"one\n", digest(b"one\n"))
    assert read.id == stage.node.identify(PATH)
    assert not read.missing
    assert read.fault == ""


def test_empty_manifest_is_no_missing_one(stage: Stage) -> None:
    stage.put(PATH, b"")
    read = stage.node.read_manifest(PATH)
    assert read.content == b""
    assert not read.missing


def test_equal_bytes_moved_in_are_another_file(stage: Stage) -> None:
    stage.put(PATH, b"one\n")
    before = stage.node.read_manifest(PATH)
    stage.put(PATH, b"one\n")
    after = stage.node.read_manifest(PATH)
    assert before.digest == after.digest
    assert before.id != after.id


def test_file_renamed_into_place_has_a_change_time_after_its_modification_time(stage: Stage) -> None:
    stage.put(PATH, b"one\n")
    identity = stage.node.identify(PATH)
    assert identity is not None
    assert identity.ctime_ns > identity.mtime_ns


def test_replacement_returns_the_identity_of_what_is_there_now(stage: Stage) -> None:
    stage.put(PATH, b"old\n")
    identity = stage.node.replace_manifest(PATH, b"new\n", expected=stage.node.read_manifest(PATH))
    assert stage.content(PATH) == b"new\n"
    assert stage.node.identify(PATH) == identity
    assert stage.node.read_manifest(PATH).id == identity


@pytest.mark.parametrize("content", [b"other\n", b"old\n"])
def test_file_moved_in_since_it_was_read_is_not_replaced(stage: Stage, content: bytes) -> None:
    stage.put(PATH, b"old\n")
    expected = stage.node.read_manifest(PATH)
    stage.put(PATH, content)
    with pytest.raises(LostUpdate):
        stage.node.replace_manifest(PATH, b"new\n", expected=expected)
    assert stage.content(PATH) == content


def test_file_moved_in_at_the_last_moment_is_not_replaced(stage: Stage) -> None:
    stage.put(PATH, b"old\n")
    stage.between_read_and_rename(lambda: stage.put(PATH, b"other\n"))
    with pytest.raises(LostUpdate):
        stage.node.replace_manifest(PATH, b"new\n", expected=stage.node.read_manifest(PATH))
    assert stage.content(PATH) == b"other\n"
    assert stage.node.visible_files(DIRECTORY) == ("kube-apiserver.yaml",)


def test_file_that_is_gone_is_not_created(stage: Stage) -> None:
    stage.put(PATH, b"old\n")
    expected = stage.node.read_manifest(PATH)
    stage.remove(PATH)
    with pytest.raises(FileFault):
        stage.node.replace_manifest(PATH, b"new\n", expected=expected)
    assert stage.node.read_manifest(PATH).missing


def test_visible_files_are_those_without_a_leading_dot_in_order(stage: Stage) -> None:
    for name in ("b.yaml", "a.yaml", ".hidden.yaml", "kube-apiserver.yaml.bak"):
        stage.put(f"{DIRECTORY}/{name}", b"x\n")
    assert stage.node.visible_files(DIRECTORY) == ("a.yaml", "b.yaml", "kube-apiserver.yaml.bak")
    assert stage.node.visible_files("/nowhere") == ()


def test_small_file_is_read_within_its_limit(stage: Stage) -> None:
    stage.put("/etc/kauditd/kauditd.yaml", b"x" * 100)
    assert stage.node.read_file("/etc/kauditd/kauditd.yaml", limit_bytes=100) == b"x" * 100
    assert stage.node.read_file("/etc/kauditd/none.yaml", limit_bytes=100) is None
    with pytest.raises(FileFault, match="larger than 99 bytes"):
        stage.node.read_file("/etc/kauditd/kauditd.yaml", limit_bytes=99)


def test_published_policy_is_missing_intact_tampered_and_intact_again(stage: Stage) -> None:
    text = b'apiVersion: "audit.k8s.io/v1"\n'
    assert stage.node.policy_state(POLICY, digest(text)) is PolicyFileState.MISSING
    stage.node.publish_policy(POLICY, text)
    assert stage.content(POLICY) == text
    assert stage.node.policy_state(POLICY, digest(text)) is PolicyFileState.INTACT
    stage.write_in_place(POLICY, text + b"rules: []\n")
    assert stage.node.policy_state(POLICY, digest(text)) is PolicyFileState.TAMPERED
    stage.node.publish_policy(POLICY, text)
    assert stage.node.policy_state(POLICY, digest(text)) is PolicyFileState.INTACT
    stage.remove(POLICY)
    assert stage.node.policy_state(POLICY, digest(text)) is PolicyFileState.MISSING


def test_log_directory_is_absent_until_it_is_made(stage: Stage) -> None:
    assert not stage.node.log_directory(LOGS).present
    assert stage.node.identify(LOGS) is None
    stage.node.make_log_directory(LOGS, uid=None, gid=None)
    made = stage.node.log_directory(LOGS)
    assert (made.path, made.present, made.fault) == (LOGS, True, "")
    assert made.free_bytes is not None
    assert made.free_bytes > 0
    assert stage.node.identify(LOGS) is not None
    stage.node.make_log_directory(LOGS, uid=None, gid=None)


def test_sweep_takes_our_leftovers_and_nothing_else(stage: Stage) -> None:
    left = ".kauditd.0badcafe.4711"
    for name in (left, ".other", "kube-apiserver.yaml"):
        stage.put(f"{DIRECTORY}/{name}", b"x\n")
    assert stage.node.sweep(DIRECTORY) == (left,)
    assert stage.node.sweep(DIRECTORY) == ()
    assert stage.content(f"{DIRECTORY}/.other") == b"x\n"
    assert stage.content(PATH) == b"x\n"
    assert stage.node.sweep("/nowhere") == ()


def test_every_profile_is_shipped_and_no_kubeadm_is_at_work(stage: Stage) -> None:
    for name in ("default", "seed", "stig", "metadata"):
        assert b"kind: Policy" in stage.node.profile(name)
    assert not stage.node.kubeadm_staging()


def test_monotonic_time_does_not_go_back_and_belongs_to_one_boot(stage: Stage) -> None:
    first, boot = stage.node.monotonic_s(), stage.node.boot_id()
    assert first >= 0
    assert stage.node.monotonic_s() >= first
    assert stage.node.boot_id() == boot
