"""Every way of touching the manifests directory does here what it did to kubelet v1.37.2 (recorded, grace 3 s)."""

import os
import shutil
from pathlib import Path

import pytest

from kauditd.sim import timing
from kauditd.sim.node import Node
from tests.sim.conftest import MakeNode
from tests.sim.scenario import replace, since, wait_restart, with_annotation, with_grace

pytestmark = pytest.mark.serial


def test_comment_touch_chmod_and_layout_restart_nothing(node: Node) -> None:
    mark, text, pid = len(node.events()), node.manifest.read_text(), node.pid
    node.manifest.write_text("# a comment\n\n" + text)
    os.utime(node.manifest)
    node.manifest.chmod(0o644)
    node.manifest.chmod(0o600)
    replace(node.manifest, text.replace("tier: control-plane\n", "tier: 'control-plane'\n\n"))
    node.sleep(2.5 * timing.RELIST_S)
    assert since(node, mark, "pod-remove") == []
    assert node.pid == pid


def test_annotation_restarts_and_the_old_content_brings_the_old_uid_back(node: Node) -> None:
    text = node.manifest.read_text()
    first = node.events("process-start")[0]
    mark = len(node.events())
    node.manifest.write_text(with_annotation(text, "1"))
    second = wait_restart(node, mark)
    mark = len(node.events())
    node.manifest.write_text(text)
    third = wait_restart(node, mark)
    assert second.uid != first.uid
    assert third.uid == first.uid


@pytest.mark.parametrize("place", ["other-directory", "dotfile"])
def test_rename_over_the_manifest_is_one_remove_one_add_one_restart(node: Node, place: str) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    if place == "dotfile":
        replace(node.manifest, with_annotation(text, "1"))
    else:
        outside = Path(node.root, "etc/kubernetes/new.yaml")
        outside.write_text(with_annotation(text, "1"))
        outside.rename(node.manifest)
    wait_restart(node, mark)
    (removed,), (added,) = since(node, mark, "pod-remove"), since(node, mark, "pod-add")
    assert added.sim_s - removed.sim_s < 1
    assert len(since(node, mark, "process-start")) == 1


def test_the_new_process_waits_for_the_old_ones_grace_and_the_next_requeue_tick(node: Node) -> None:
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "1"))
    started = wait_restart(node, mark)
    (added,), (ended,) = since(node, mark, "pod-add"), since(node, mark, "process-exit")
    assert ended.exit_code == 137
    assert 3.0 <= ended.sim_s - added.sim_s < 12
    assert 10.0 <= started.sim_s - added.sim_s < 30


def test_visible_temporary_file_is_read_as_a_third_pod(node: Node) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    temporary = node.manifest.with_name("kube-apiserver.yaml.tmp")
    temporary.write_text(with_annotation(text, "1"))
    node.sleep(1.5)
    temporary.rename(node.manifest)
    started = wait_restart(node, mark)
    added = since(node, mark, "pod-add")
    assert len({event.uid for event in added}) == 2
    assert started.uid == added[-1].uid
    assert len(since(node, mark, "process-start")) == 1


def test_two_edits_in_a_second_end_in_one_restart_into_the_last(node: Node) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    replace(node.manifest, with_annotation(text, "1"))
    node.sleep(1)
    replace(node.manifest, with_annotation(text, "2"))
    started = wait_restart(node, mark)
    assert [event.uid for event in since(node, mark, "process-start")] == [started.uid]
    assert started.uid == since(node, mark, "pod-add")[-1].uid


def test_half_written_file_is_only_refused(node: Node) -> None:
    mark, text = len(node.events()), with_annotation(node.manifest.read_text(), "1")
    half = text.index("    - --secure-port") + 8
    with node.manifest.open("w") as stream:
        stream.write(text[:half])
        stream.flush()
        node.sleep(0.3)
        stream.write(text[half:])
    started = wait_restart(node, mark)
    assert since(node, mark, "file-refused")
    assert len(since(node, mark, "process-start")) == 1
    assert started.uid == since(node, mark, "pod-add")[-1].uid


@pytest.mark.parametrize(
    "content", ["kind: Pod\n  broken: [\n", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n"]
)
def test_invalid_file_keeps_the_pod_until_the_next_listing_and_comes_back_at_once(node: Node, content: str) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    node.manifest.write_text(content)
    removed = node.wait_event("pod-remove", after=mark)
    assert removed.detail == "list"
    ended = node.wait_event("process-exit", after=mark)
    node.sleep(timing.RELIST_S)
    assert since(node, mark, "process-start") == []
    node.manifest.write_text(text)
    started = wait_restart(node, mark)
    added = since(node, mark, "pod-add")[-1]
    assert started.uid == ended.uid
    assert started.sim_s - added.sim_s < timing.REQUEUE_S


def test_moved_out_and_back_restarts_the_same_pod_without_a_requeue_tick(node: Node) -> None:
    mark = len(node.events())
    aside = Path(node.root, "etc/kubernetes/aside.yaml")
    node.manifest.rename(aside)
    node.sleep(1)
    aside.rename(node.manifest)
    started = wait_restart(node, mark)
    (ended,) = since(node, mark, "process-exit")
    assert started.uid == ended.uid
    assert timing.SAME_UID_RESTART_S <= started.sim_s - ended.sim_s < timing.REQUEUE_S


def test_every_out_and_in_of_the_same_pod_counts_as_a_crash(node: Node) -> None:
    aside = Path(node.root, "etc/kubernetes/aside.yaml")
    waits = []
    for _ in range(2):
        mark = len(node.events())
        node.manifest.rename(aside)
        node.sleep(1)
        aside.rename(node.manifest)
        started = wait_restart(node, mark)
        waits.append(started.sim_s - since(node, mark, "process-exit")[0].sim_s)
    assert waits[0] < timing.BACKOFF_S <= waits[1]


def test_edit_and_revert_restarts_all_the_same(node: Node) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    replace(node.manifest, with_annotation(text, "1"))
    node.sleep(0.5)
    replace(node.manifest, text)
    started = wait_restart(node, mark)
    assert started.uid == node.events("process-start")[0].uid


def test_dotfile_copy_is_ignored(node: Node) -> None:
    mark = len(node.events())
    shutil.copy(node.manifest, node.manifest.with_name(".kube-apiserver.yaml.bak"))
    node.sleep(2.5 * timing.RELIST_S)
    assert node.events()[mark:] == []


def test_identical_copy_wins_at_once_and_its_removal_restarts_again(node: Node) -> None:
    first = node.events("process-start")[0]
    mark = len(node.events())
    stray = Path(shutil.copy(node.manifest, node.manifest.with_name("kube-apiserver.yaml.bak")))
    second = wait_restart(node, mark)
    assert second.uid != first.uid
    mark = len(node.events())
    stray.unlink()
    third = wait_restart(node, mark)
    assert third.uid == first.uid
    assert since(node, mark, "pod-add")[-1].detail == "list"


def test_edit_beside_a_stray_copy_is_flipped_back_by_the_next_listing(make_node: MakeNode) -> None:
    node = make_node()
    stray = node.manifest.with_name("kube-apiserver.yaml.bak")
    stray.write_text(with_annotation(node.manifest.read_text(), "stray"))
    node.start()
    node.wait_ready()
    stray_uid = node.events("process-start")[-1].uid
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "edit"))
    flipped = node.wait_event("pod-add", after=mark)
    assert flipped.uid != stray_uid
    back = node.wait_event("pod-add", after=mark + node.events()[mark:].index(flipped) + 1)
    assert (back.uid, back.detail) == (stray_uid, "list")


def test_listing_alone_finds_a_change_when_there_are_no_events(make_node: MakeNode) -> None:
    node = make_node(events=False)
    node.start()
    node.wait_ready()
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "1"))
    wait_restart(node, mark)
    assert {event.detail for event in since(node, mark, "pod-add")} == {"list"}


def test_without_watches_the_old_process_ends_soon_and_not_by_force(make_node: MakeNode) -> None:
    node = make_node(edit=str, watchers=0)
    node.start()
    node.wait_ready()
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "1"))
    ended = node.wait_event("process-exit", after=mark)
    assert ended.exit_code == 0
    assert ended.sim_s - since(node, mark, "process-terminating")[0].sim_s < timing.GRACE_S


def test_watch_termination_flag_ends_the_old_process_before_its_grace(make_node: MakeNode) -> None:
    node = make_node(
        edit=lambda text: text.replace(
            "    image: ", "    - --shutdown-watch-termination-grace-period=5s\n    image: ", 1
        )
    )
    node.start()
    node.wait_ready()
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "1").replace("Seconds: 3\n", "Seconds: 30\n", 1))
    ended = node.wait_event("process-exit", after=mark)
    assert ended.exit_code == 0


def test_plain_process_with_a_watch_is_killed_after_the_default_grace(make_node: MakeNode) -> None:
    node = make_node(edit=str)
    node.start()
    node.wait_ready()
    node.sleep(1)
    mark = len(node.events())
    replace(node.manifest, with_annotation(node.manifest.read_text(), "1"))
    ended = node.wait_event("process-exit", after=mark)
    assert ended.exit_code == 137
    assert ended.sim_s - since(node, mark, "process-terminating")[0].sim_s >= timing.GRACE_S


def test_removed_manifest_stops_the_api_server_and_a_new_one_starts_it(node: Node) -> None:
    mark, text = len(node.events()), node.manifest.read_text()
    node.manifest.unlink()
    node.wait_event("process-exit", after=mark)
    assert node.get("/livez")[0] == 0
    node.manifest.write_text(with_grace(text.replace("  terminationGracePeriodSeconds: 3\n", "")))
    wait_restart(node, mark)


def test_stopped_node_leaves_no_process(node: Node) -> None:
    pid = node.pid
    assert Path(f"/proc/{pid}").exists()
    node.stop()
    assert not Path(f"/proc/{pid}").exists()
