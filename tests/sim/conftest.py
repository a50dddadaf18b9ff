"""A simulated node per test, with the manifest that the recordings were made with: a grace period of 3 seconds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kauditd.sim.kubelet import NodeConfig
from kauditd.sim.manifests import kubeadm_manifest
from kauditd.sim.node import Node, free_port
from tests.sim.scenario import with_grace

SPEED = 80.0

MakeNode = Callable[..., Node]


@pytest.fixture
def make_node(short_tmp: Path) -> Iterator[MakeNode]:
    """Make (not start) a node in ``short_tmp``; ``edit`` changes the first manifest, the rest goes to NodeConfig."""
    made: list[Node] = []

    def make(edit: Callable[[str], str] = with_grace, **settings: object) -> Node:
        config = NodeConfig(**{"root": str(short_tmp), "speed": SPEED, **settings})
        node = Node(config, port=free_port(config.address), own_process=False)
        node.manifest.parent.mkdir(parents=True, exist_ok=True)
        text = kubeadm_manifest(
            "v1.36.3", address=config.address, port=node.port, etcd_port=node.config.etcd_port
        ).decode()
        node.manifest.write_text(edit(text))
        made.append(node)
        return node

    yield make
    for node in made:
        node.stop()


@pytest.fixture
def node(make_node: MakeNode) -> Node:
    """A running node whose API server is ready."""
    started = make_node()
    started.start()
    started.wait_ready()
    return started
