"""Every way in which a pod's UID stands in /proc/PID/cgroup."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kauditd.core.cgroups import pod_uid

RECORDED = Path(__file__).resolve().parents[1] / "data" / "proc" / "cgroup"
STATIC = "f559468bdfeeaed5640b2ebc0699b36d"
ORDINARY = "0c5a5c5e-7a4f-4b36-9d7b-2f8a7f0a6c11"
CONTAINER = "40c691409809bd8cf6c81bdadca62b58cb586ab25514747f4a132f5b90d18525"
BURSTABLE = "/kubepods.slice/kubepods-burstable.slice"


def test_recorded_cgroup_of_a_static_pod() -> None:
    assert pod_uid(RECORDED.read_text()) == STATIC


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"4:memory:/kubepods/burstable/pod{STATIC}/{CONTAINER}", STATIC),
        (f"4:memory:/kubepods/pod{ORDINARY}/{CONTAINER}", ORDINARY),
        (f"0::/kubepods/besteffort/pod{ORDINARY}/{CONTAINER}", ORDINARY),
        (f"0::{BURSTABLE}/kubepods-burstable-pod{STATIC}.slice/cri-containerd-{CONTAINER}.scope", STATIC),
        (
            f"0::{BURSTABLE}/kubepods-burstable-pod{ORDINARY.replace('-', '_')}.slice/crio-{CONTAINER}.scope",
            ORDINARY,
        ),
        (f"0::/kubepods.slice/kubepods-pod{STATIC}.slice/docker-{CONTAINER}.scope/init", STATIC),
        (
            f"1:name=systemd:/system.slice/containerd.service/kubepods-burstable-pod{STATIC}.slice:cri:{CONTAINER}",
            STATIC,
        ),
        (f"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{STATIC}.slice/{CONTAINER}", STATIC),
        (f"0::/../../pod{ORDINARY}/{CONTAINER}", ORDINARY),
        (f"0::/kubepods/pod{ORDINARY}/{CONTAINER}/kubelet/kubepods/burstable/pod{STATIC}/abc", STATIC),
    ],
)
def test_known_forms(line: str, expected: str) -> None:
    assert pod_uid(line + "\n") == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0::/\n",
        "0::/system.slice/kubelet.service\n",
        "0::/system.slice/kube-apiserver.service\n",
        f"0::/machine.slice/libpod-{CONTAINER}.scope\n",
        f"0::/machine.slice/machine-libpod_pod_{CONTAINER}.slice\n",
        "0::/kubepods/burstable/pod\n",
        "0::/kubepods/burstable/podcast\n",
        "no colons at all\n",
    ],
)
def test_outside_any_pod(text: str) -> None:
    assert pod_uid(text) is None


def test_the_first_hierarchy_that_names_a_pod_counts() -> None:
    assert pod_uid(f"2:cpu:/\n1:pids:/kubepods/pod{STATIC}/x\n0::/kubepods/pod{ORDINARY}/x\n") == STATIC


@given(st.text())
def test_any_text_gives_an_answer(text: str) -> None:
    found = pod_uid(text)

    assert found is None or len(found) in {32, 36}


@given(st.uuids(), st.sampled_from(["cgroupfs", "systemd"]), st.sampled_from(["", "/init", "/kubelet.slice/a-b"]))
def test_every_uid_is_found_again(uid: object, driver: str, prefix: str) -> None:
    name = f"pod{uid}" if driver == "cgroupfs" else f"kubepods-pod{str(uid).replace('-', '_')}.slice"

    assert pod_uid(f"0::{prefix}/{name}/{CONTAINER}\n") == str(uid)
