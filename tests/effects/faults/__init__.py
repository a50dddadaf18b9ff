"""Faults in the way to a new manifest: kills, refused system calls, real disks that are full, power loss."""
