"""The node as others see it: processes with the right names, and none that outlives whoever started it."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from kauditd.sim.hosting import load_config
from kauditd.sim.kubelet import NodeConfig
from kauditd.sim.node import Node
from kauditd.sim.upgrade import UpgradeFailed, UpgradeOutcome, read_upgrade, start_upgrade

pytestmark = pytest.mark.serial


def argv_of(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]


def gone(pid: int, *, within_s: float = 5.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.01)
    return False


def test_kubelet_and_api_server_are_found_by_name_and_root(short_tmp: Path) -> None:
    with Node(NodeConfig(root=str(short_tmp), speed=80.0)) as node:
        node.wait_ready()
        server = psutil.Process(node.pid)
        kubelet = server.parent()
        assert kubelet is not None
        assert argv_of(kubelet.pid)[0] == "kubelet"
        assert f"--root={short_tmp}" in argv_of(kubelet.pid)
        assert argv_of(server.pid)[:2] == ["kube-apiserver", f"{short_tmp}/run/sim/kube-apiserver.py"]
    assert gone(kubelet.pid, within_s=0.1)
    assert gone(server.pid, within_s=0.1)


def test_configuration_survives_the_way_to_the_kubelets_process(short_tmp: Path) -> None:
    config = NodeConfig(root=str(short_tmp), speed=3.5, seed=7, watchers=2, missing_images=frozenset({"a:b"}))
    node = Node(config)
    node.prepare()
    assert load_config(str(short_tmp)) == node.config == replace(config, etcd_port=node.config.etcd_port)


def test_killed_kubelet_takes_its_api_server_along_and_is_reported(short_tmp: Path) -> None:
    node = Node(NodeConfig(root=str(short_tmp), speed=80.0))
    node.start()
    node.wait_ready()
    server = psutil.Process(node.pid)
    kubelet = server.parent()
    assert kubelet is not None
    kubelet.kill()
    assert gone(kubelet.pid)
    assert gone(server.pid)
    # A killed process is a zombie, and yet not to be reaped, until its last thread has gone.
    deadline = time.monotonic() + 5
    while (failure := node.failure) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    node.stop()
    assert failure is not None
    assert "exited -9" in str(failure)


def test_foreground_node_stops_on_sigterm(short_tmp: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "kauditd.sim.node", "--root", str(short_tmp), "--speed", "80"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("simulated node: ")
    port = json.loads(Path(short_tmp, "run/sim/node.json").read_text())["port"]
    assert port > 0
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    process.stdout.close()


def test_simulated_kubeadm_is_seen_as_kubeadm_upgrade(short_tmp: Path) -> None:
    with Node(NodeConfig(root=str(short_tmp), speed=80.0)) as node:
        node.wait_ready()
        process = start_upgrade(node.root, "v1.37.2", etcd_wait_s=60.0)
        deadline = time.monotonic() + 5
        while argv_of(process.pid)[:1] != ["kubeadm"] and time.monotonic() < deadline:
            time.sleep(0.002)
        words = argv_of(process.pid)
        result = read_upgrade(process, timeout_s=30.0)
    assert (words[0], next(word for word in words[1:] if not word.startswith("-"))) == ("kubeadm", "upgrade")
    assert f"--root={short_tmp}" in words
    assert result.outcome is UpgradeOutcome.UPGRADED
    assert result.at("staged") < result.at("moved-out") < result.at("moved-in")


def test_upgrade_of_what_is_no_node_says_so(tmp_path: Path) -> None:
    with pytest.raises(UpgradeFailed):
        read_upgrade(start_upgrade(str(tmp_path), "v1.37.2"), timeout_s=30.0)
