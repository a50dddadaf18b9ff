"""Data of the simulated node.

Charter: files only, no code. Manifests as kubeadm wrote them and a certificate that is for tests alone; README.md
beside this file says where each comes from.
"""
