"""A simulated control-plane node: the kubelet's file source, a stand-in API server, and kubeadm's upgrade.

Charter: imitate what was measured on real nodes (kubeadm, kubelet and kube-apiserver v1.33 to v1.37), so that the
demo and the tests show the whole program at work without root and without Kubernetes. Everything runs below one root
directory, on 127.0.0.1, unprivileged, and faster than life by a speed factor. Nothing here is part of the running
daemon; it may import ``kauditd.core`` and ``kauditd.errors`` and nothing else of the package.

Words: a *simulated second* is a second of the real node; it lasts ``1 / speed`` seconds here.
"""
