"""``python -m kauditd`` is the daemon."""

from kauditd.daemon.main import run

if __name__ == "__main__":
    run()
