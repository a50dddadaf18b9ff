"""The figures of README.md, measured on this machine against their gates: ``python -m tests.bench``."""
