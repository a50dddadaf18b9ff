"""Manifests as kubeadm writes them, with a simulated node's own address, port and image."""

from importlib.resources import files

from kauditd.errors import Refused

NAMED_PORT_SINCE = (1, 34)
TEMPLATE_ADDRESS = "10.0.0.11"
TEMPLATE_PORT = "6443"
TEMPLATE_ETCD = "https://127.0.0.1:2379"


def kubeadm_manifest(version: str, *, address: str, port: int, etcd_port: int = 2379) -> bytes:
    """``kube-apiserver.yaml`` of kubeadm ``version`` ("v1.36.3", 1.33 or newer), default configuration.

    Up to 1.33 the probes name the port by number and ``creationTimestamp: null`` is written; since 1.34 neither.
    """
    parts = version.removeprefix("v").split(".")
    if len(parts) != 3 or not all(part.isdigit() for part in parts):
        raise Refused(f'cannot make a manifest for version "{version}": not of the form v1.36.3')
    template = "v1.37.2" if (int(parts[0]), int(parts[1])) >= NAMED_PORT_SINCE else "v1.33.13"
    text = (files("kauditd.sim.data") / f"kube-apiserver-{template}.yaml").read_text("utf-8")
    text = text.replace(TEMPLATE_ADDRESS, address).replace(TEMPLATE_PORT, str(port))
    text = text.replace(TEMPLATE_ETCD, TEMPLATE_ETCD.replace("2379", str(etcd_port)))
    return text.replace(f"kube-apiserver:{template}", f"kube-apiserver:{version}").encode()


def component_manifest(component: str, version: str) -> bytes:
    """A plain static pod of another component, for the staging directory; the simulated kubelet does not run it."""
    return (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n"
        f"    component: {component}\n    tier: control-plane\n  name: {component}\n  namespace: kube-system\n"
        f"spec:\n  containers:\n  - command:\n    - {component}\n    image: registry.k8s.io/{component}:{version}\n"
        f"    name: {component}\n  hostNetwork: true\nstatus: {{}}\n"
    ).encode()
