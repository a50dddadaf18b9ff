"""Scenarios on real components: kubeadm, kube-apiserver and etcd built from their Go modules, on loopback."""
