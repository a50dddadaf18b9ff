"""``kauditd``: flags, logging, exit codes. 0 = ended as asked, 1 = not protected or cannot go on, 2 = usage."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kauditd._version import VERSION
from kauditd.core.layout import SETTINGS_FILE, Layout
from kauditd.daemon.footprint import trim
from kauditd.errors import KauditError

logger = logging.getLogger("kauditd")

_LEVELS = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _JournalFormatter(logging.Formatter):
    """sd-daemon priorities in front, no time: journald has its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return "\n".join(f"<{_LEVELS.get(record.levelno, 6)}>{line}" for line in text.splitlines())


def run() -> None:
    """Entry point of the installed program."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: Sequence[str]) -> int:
    """The daemon with these arguments; the exit code."""
    options = _parser().parse_args(arguments)
    _set_up_logging(verbose=options.verbose)
    if options.command == "demo":
        from kauditd.sim.demo import run_demo

        return run_demo(color=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    trim()
    try:
        return _serve(options)
    except KauditError as exc:
        hint = f" ({exc.hint})" if exc.hint else ""
        logger.critical("%s%s", exc.message[:1].upper() + exc.message[1:], hint)
        return 1
    except KeyboardInterrupt:
        return 130


def _serve(options: argparse.Namespace) -> int:
    import asyncio  # after ``trim``

    return asyncio.run(_run(options))


async def _run(options: argparse.Namespace) -> int:
    from kauditd.daemon.app import App, Options

    layout, settings_file = locate(options.root, options.config)
    app = App(Options(layout=layout, settings_file=settings_file, environ=dict(os.environ)))
    if options.once:
        return 0 if await app.run_once() else 1
    await app.run()
    return 0


def locate(root: str | None, config: str | None) -> tuple[Layout, str]:
    """The layout for ``--root`` and the logical path of the settings file for ``--config`` (a path of the host)."""
    top = str(Path(root).resolve()) if root else ""
    layout = Layout("" if top == "/" else top)
    return layout, layout.logical(str(Path(config).resolve())) if config else SETTINGS_FILE


def _set_up_logging(*, verbose: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JournalFormatter("%(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.getLogger("watchdog").setLevel(logging.WARNING)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kauditd",
        description="Keeps the Kubernetes API server's audit trail on, through every kubeadm upgrade, and proves it.",
        epilog="Ask it with kauditctl status. Try it without a cluster: kauditd demo.",
    )
    parser.add_argument("command", nargs="?", choices=["demo"], help="demo: the whole story on a simulated node")
    parser.add_argument("--root", metavar="DIR", help="put every path below DIR; runs without privileges there")
    parser.add_argument("--config", metavar="FILE", help=f"settings file (default {SETTINGS_FILE})")
    parser.add_argument("--once", action="store_true", help="one cycle, then exit: 0 protected, 1 not")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.add_argument("--version", action="version", version=f"kauditd {VERSION}")
    return parser
