"""Data of the simulated node: manifests as kubeadm wrote them and a certificate for tests only. See README.md."""
