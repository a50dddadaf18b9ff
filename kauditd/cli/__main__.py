"""``python -m kauditd.cli`` is kauditctl."""

import sys

from kauditd.cli.main import run

if __name__ == "__main__":
    sys.exit(run())
