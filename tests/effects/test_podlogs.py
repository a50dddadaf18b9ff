"""The kubelet's log directories in every state that a reader may meet, files that vanish included."""

import gzip
import json
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from kauditd.core.layout import Layout
from kauditd.core.observed import ContainerEnd, PodEvidence
from kauditd.effects import podlogs
from kauditd.effects.podlogs import read_ends, running_pods
from tests.core.builders import process

UID, OTHER = "6ac7652694a63c3fdc23b2a4a85ecf2e", "0123456789abcdef0123456789abcdef"
AT = "2026-11-23T18:34:43.935712908Z"
UNKNOWN = "Error: unknown flag: --audit-log-maxsizes"
BUSY = "I1123 18:18:12.651737       1 controller.go:667] quota admission added evaluator"
QUIET_S = 10.0
NONE_RUNS: frozenset[str] = frozenset()


def cri(*lines: str) -> str:
    return "".join(f"{AT} stderr F {line}\n" for line in lines)


def put(
    root: Path,
    attempt: str,
    text: str,
    *,
    uid: str = UID,
    pod: str = "kube-system_kube-apiserver-cp1",
    quiet_s: float = QUIET_S,
    container: str = "kube-apiserver",
) -> Path:
    """One log file that nobody has written to for ``quiet_s``."""
    path = root / "var/log/pods" / f"{pod}_{uid}" / container / attempt
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (time.time() - quiet_s,) * 2)
    return path


def touch(directory: Path, ago_s: float) -> None:
    for path in (directory, directory / "kube-apiserver"):
        if path.exists():
            os.utime(path, (time.time() - ago_s,) * 2)


def read(root: Path, running: frozenset[str] | None = NONE_RUNS) -> PodEvidence:
    return read_ends(Layout(str(root)), namespace="kube-system", pod_name_prefix="kube-apiserver", running=running)


def test_container_that_ended_and_its_last_words(node_root: Path) -> None:
    put(node_root, "0.log", cri(BUSY, UNKNOWN))
    evidence = read(node_root)
    assert evidence.pod_uid == UID
    assert evidence.made_unix_s == pytest.approx(time.time(), abs=60)
    assert (evidence.attempt, evidence.finished) == (0, True)
    assert evidence.ended == ContainerEnd(pod_uid=UID, attempt=0, last_line=UNKNOWN)
    assert evidence.ended.blames_audit


def test_running_container_has_not_ended(node_root: Path) -> None:
    put(node_root, "0.log", cri(BUSY))
    evidence = read(node_root, frozenset({UID}))
    assert (evidence.attempt, evidence.finished, evidence.ended) == (0, False, None)


def test_later_attempt_runs(node_root: Path) -> None:
    put(node_root, "1.log", cri("panic: first", "goroutine 1 [running]:"))
    put(node_root, "2.log", cri(BUSY))
    evidence = read(node_root, frozenset({UID}))
    assert (evidence.attempt, evidence.finished) == (2, False)
    assert evidence.ended == ContainerEnd(pod_uid=UID, attempt=1, last_line="panic: first")


def test_later_attempt_has_just_started_and_the_table_is_older(node_root: Path) -> None:
    """No process was seen when the table was read; the log that is written right now is no end."""
    put(node_root, "0.log", cri(UNKNOWN))
    put(node_root, "1.log", "", quiet_s=0.0)
    evidence = read(node_root)
    assert (evidence.attempt, evidence.finished) == (1, False)
    assert evidence.ended == ContainerEnd(pod_uid=UID, attempt=0, last_line=UNKNOWN)


def test_words_that_give_up_end_the_container_at_once(node_root: Path) -> None:
    put(node_root, "0.log", cri(UNKNOWN), quiet_s=0.0)
    assert read(node_root).finished
    assert read(node_root, None).finished, "also where no process can be told to be the pod's"
    assert not read(node_root, frozenset({UID})).finished


def test_unknown_processes_leave_a_quiet_container_undecided(node_root: Path) -> None:
    put(node_root, "0.log", cri(BUSY))
    assert read(node_root).finished
    assert not read(node_root, None).finished


def test_log_of_the_attempt_before_is_deleted_already(node_root: Path) -> None:
    put(node_root, "7.log", cri(BUSY))
    assert read(node_root, frozenset({UID})).ended == ContainerEnd(pod_uid=UID, attempt=6)


def test_empty_directory_where_the_image_is_missing(node_root: Path) -> None:
    """The kubelet makes the pod's directory first and the container's when it has the image."""
    directory = node_root / "var/log/pods" / f"kube-system_kube-apiserver-cp1_{UID}"
    directory.mkdir()
    assert read(node_root).empty
    assert read(node_root).pod_uid == UID
    (directory / "kube-apiserver").mkdir()
    assert read(node_root).empty


def test_no_directory_at_all(node_root: Path) -> None:
    assert read(node_root) == PodEvidence()
    (node_root / "var/log/pods").rmdir()
    assert read(node_root) == PodEvidence(listed=False)


def test_newest_pod_is_meant(node_root: Path) -> None:
    old, new = (put(node_root, "0.log", cri(uid), uid=uid).parents[1] for uid in (OTHER, UID))
    touch(old, 100)
    touch(new, 50)
    assert read(node_root).pod_uid == UID
    put(node_root, "1.log", cri("again"), uid=OTHER)
    assert read(node_root).pod_uid == OTHER, "a pod that came back is restarted in its old directory"


def test_pods_of_similar_names_are_others(node_root: Path) -> None:
    put(node_root, "0.log", cri("x"), pod="kube-system_kube-apiserverless-cp1")
    put(node_root, "0.log", cri("x"), pod="other_kube-apiserver-cp1")
    put(node_root, "0.log", cri("x"), pod="kube-system_kube-apiserver-exporter", uid="1-2-3", container="exporter")
    (node_root / "var/log/pods/kube-system_kube-apiserver").mkdir()
    (node_root / f"var/log/pods/kube-system_kube-apiserver-cp1_{UID}").write_text("a file")
    assert read(node_root) == PodEvidence()


def test_rotated_logs_do_not_count(node_root: Path) -> None:
    path = put(node_root, "3.log", cri(UNKNOWN))
    put(node_root, "3.log.20261123-182416", cri("older"))
    put(node_root, "x9.log", "")
    (path.parent / "9.log.20261123-182416.gz").write_bytes(gzip.compress(b"older"))
    evidence = read(node_root)
    assert evidence.attempt == 3
    assert evidence.ended == ContainerEnd(pod_uid=UID, attempt=3, last_line=UNKNOWN)


def test_log_behind_links_is_found_below_the_root(node_root: Path) -> None:
    """As cri-dockerd leaves it: an absolute link into Docker's directory, in Docker's format."""
    target = node_root / "var/lib/docker/containers/c0ffee/c0ffee-json.log"
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps({"log": f"{UNKNOWN}\n", "stream": "stderr", "time": AT}) + "\n")
    path = put(node_root, "0.log", "")
    path.unlink()
    path.symlink_to("../0.link")
    (path.parent.parent / "0.link").symlink_to("/var/lib/docker/containers/c0ffee/c0ffee-json.log")
    assert read(node_root).ended == ContainerEnd(pod_uid=UID, attempt=0, last_line=UNKNOWN)


@pytest.mark.parametrize("kind", ["loop", "dangling", "fifo", "directory"])
def test_log_that_cannot_be_read_has_no_words(node_root: Path, kind: str) -> None:
    path = put(node_root, "0.log", "")
    path.unlink()
    match kind:
        case "loop":
            path.symlink_to(path.name)
        case "dangling":
            path.symlink_to("/nowhere")
        case "fifo":
            os.mkfifo(path)
        case _:
            path.mkdir()
    evidence = read(node_root)
    assert (evidence.attempt, evidence.finished, evidence.ended) == (0, False, None)


def test_large_log_is_read_from_its_end(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(node_root, "0.log", cri(*[BUSY] * 40_000, UNKNOWN))
    sizes: list[int] = []
    pread = os.pread

    def counted(descriptor: int, size: int, offset: int) -> bytes:
        sizes.append(size)
        return pread(descriptor, size, offset)

    monkeypatch.setattr(podlogs.os, "pread", counted)
    assert read(node_root).ended == ContainerEnd(pod_uid=UID, attempt=0, last_line=UNKNOWN)
    assert sum(sizes) <= 1 << 16


def test_read_fails_in_the_middle(node_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(node_root, "0.log", cri(UNKNOWN))

    def broken(descriptor: int, size: int, offset: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(podlogs.os, "pread", broken)
    evidence = read(node_root)
    assert (evidence.attempt, evidence.finished) == (0, False)


def test_files_and_directories_vanish_while_they_are_read(node_root: Path) -> None:
    """The kubelet at work: logs and whole directories come and go; what is said is always something that was there."""
    stop = threading.Event()

    def kubelet() -> int:
        rounds = 0
        while not stop.is_set():
            for attempt in range(3):
                path = put(node_root, f"{attempt}.log", cri(UNKNOWN))
                (path.parent / f"{attempt - 1}.log").unlink(missing_ok=True)
            shutil.rmtree(path.parents[1])
            rounds += 1
        return rounds

    seen: list[str | None] = []
    deadline = time.monotonic() + 20.0
    with ThreadPoolExecutor() as pool:
        rounds = pool.submit(kubelet)
        while seen.count(UNKNOWN) < 100 and time.monotonic() < deadline:
            ended = read(node_root).ended
            seen.append(None if ended is None else ended.last_line)
        stop.set()
    assert rounds.result() > 10
    assert seen.count(UNKNOWN) >= 100
    assert set(seen) <= {UNKNOWN, "", None}


def test_running_pods() -> None:
    known, unknown = replace(process(1), pod_uid=UID), process(2)
    assert running_pods(()) == frozenset()
    assert running_pods((known,)) == {UID}
    assert running_pods((known, unknown)) is None
