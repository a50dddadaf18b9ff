"""The programs: the daemon, the one-shot assessment, the demo; and the composition root that builds them.

Charter: wiring only. Flags, logging, signals and exit codes live here; decisions do not.
"""
