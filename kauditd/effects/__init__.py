"""The outside world, one thing per file: files, watch, processes, journal, systemd, clock, health probe, profiles.

Charter: thin and mutually independent. An effect translates between the operating system and ``core`` values, turns
OSError into ``errors.FileFault``, and decides nothing. Blocking calls are plain functions; the engine runs them in
its one executor.
"""
