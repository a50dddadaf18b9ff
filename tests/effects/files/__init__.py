"""The file system, without faults: those are next door."""
