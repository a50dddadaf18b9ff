"""``kauditctl check``, ``diff``, ``doctor`` and ``policy show``: the node read directly, no daemon needed.

Nothing is ever written. Exit codes are kauditctl's: 0 yes or healthy, 1 no or unhealthy, 2 usage.
"""

import argparse
import asyncio
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from kauditd.api.encode import dump, encode
from kauditd.api.render import status_text
from kauditd.api.views import status_view
from kauditd.core.layout import Layout
from kauditd.core.model import Verdict
from kauditd.core.plan import render_diff
from kauditd.daemon.main import locate
from kauditd.daemon.node import ReadOnlyMemory, ReadOnlyNode
from kauditd.daemon.senses import RealSenses
from kauditd.effects.inotify import inotify_limit, inotify_obtainable
from kauditd.effects.profiles import PROFILE_NAMES, read_profile
from kauditd.engine.checks import Examination, Grade, examine
from kauditd.engine.guard import Guard
from kauditd.engine.loop import ROUND_S
from kauditd.engine.removal import without_our_lines
from kauditd.engine.reporting import Reporter
from kauditd.engine.snapshot import Snapshot, WatchStatus
from kauditd.engine.survey import Survey, Wanted
from kauditd.engine.workspace import Surroundings
from kauditd.errors import KauditError

_T = TypeVar("_T")


class Assessment:
    """One look at a node, and what may be asked of it."""

    def __init__(self, layout: Layout, settings_file: str) -> None:
        node = ReadOnlyNode(layout)
        self.layout = layout
        self.guard = Guard(node, ReadOnlyMemory(layout), settings_file)
        self.reporter = Reporter(self.guard, started_unix_s=node.now_unix_s())

    def look(self) -> Snapshot:
        """Read everything once; the snapshot that a daemon would show."""
        guard = self.guard
        guard.start()
        guard.assess(asyncio.run(self._survey()))
        guard.reload()
        guard.look()
        return self.reporter.report(WatchStatus(mode="none", detail="a single look"))

    async def _survey(self) -> Surroundings:
        """Processes, health, and one round of proof."""
        events, observed = asyncio.get_running_loop(), self.guard.look()

        async def scan(call: Callable[[], _T], /) -> _T:
            return await events.run_in_executor(None, call)

        wanted = Wanted(
            view=observed.view,
            asked=observed.asked,
            shadows=observed.shadows,
            gate_open=False,
            canary_interval_s=60.0,
            policy=self.guard.space.wishes.policy,
        )
        return await Survey(RealSenses(self.layout), scan, events.time).take(wanted, patience_s=ROUND_S)

    def diff(self, *, disable: bool) -> str:
        """What apply, or the way back, would change; empty where nothing would."""
        observed = self.guard.look()
        if observed.refusal is not None:
            raise KauditError(
                f"cannot edit {observed.manifest.path}: {observed.refusal.text}", hint=observed.refusal.hint
            )
        content = observed.manifest.content
        if content is None:
            cause = observed.manifest.fault or "there is none"
            raise KauditError(f"cannot read {observed.manifest.path}: {cause}", hint="kauditctl doctor")
        if not disable:
            return self.reporter.diff(observed)
        memory = self.guard.space.memory
        plain = without_our_lines(content, observed.manifest.digest, memory, newest=None)
        return render_diff(observed.manifest.path, content, plain)

    def examination(self) -> Examination:
        """What the doctor looks at."""
        space = self.guard.space
        path = space.wishes.settings.api.socket
        return Examination(
            observed=self.guard.look(),
            settings=space.wishes.settings,
            settings_file=space.wishes.file,
            desired=space.asked,
            troubles=tuple(space.wishes.troubles()),
            inotify_limit=inotify_limit(),
            inotify_obtainable=inotify_obtainable(),
            socket_path=path,
            socket_answers=_answers(self.layout.host(path)),
        )


def main(arguments: Sequence[str]) -> int:
    """One verb; the exit code."""
    logging.basicConfig(level=logging.CRITICAL + 1)
    options = _parser().parse_args(arguments)
    layout, settings_file = locate(options.root, options.config)
    try:
        return _run(options, Assessment(layout, settings_file))
    except KauditError as exc:
        sys.stderr.write(f"error: {exc.message}\n" + (f"hint: {exc.hint}\n" if exc.hint else ""))
        return 1


def _run(options: argparse.Namespace, assessment: Assessment) -> int:
    as_json = options.format == "json"
    if options.verb == "policy":
        return _show_profile(options.profile, as_json=as_json)
    snapshot = assessment.look()
    match options.verb:
        case "check":
            return _check(snapshot, as_json=as_json)
        case "diff":
            return _diff(assessment.diff(disable=options.disable), as_json=as_json)
        case _:
            return _doctor(assessment.examination(), as_json=as_json)


def _check(snapshot: Snapshot, *, as_json: bool) -> int:
    view = status_view(snapshot)
    if as_json:
        sys.stdout.write(dump(encode(view)).decode() + "\n")
    else:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        sys.stdout.write(status_text(view, now_unix_s=time.time(), colour=colour))
    return 0 if snapshot.verdict is Verdict.PROTECTED else 1


def _diff(text: str, *, as_json: bool) -> int:
    sys.stdout.write(json.dumps({"diff": text}) + "\n" if as_json else text)
    return 1 if text else 0


def _doctor(examination: Examination, *, as_json: bool) -> int:
    findings = examine(examination)
    if as_json:
        sys.stdout.write(dump(encode(findings)).decode() + "\n")
    else:
        width = max(len(f.id) for f in findings)
        for f in findings:
            sys.stdout.write(f"{f.grade:<8}{f.id:<{width}}  {f.text}\n")
            if f.hint and f.grade is not Grade.OK:
                sys.stdout.write(f"{'':8}{'':{width}}  -> {f.hint}\n")
    return 1 if any(f.grade is Grade.PROBLEM for f in findings) else 0


def _show_profile(name: str, *, as_json: bool) -> int:
    text = read_profile(name).decode()
    sys.stdout.write(json.dumps({"profile": name, "text": text}) + "\n" if as_json else text)
    return 0


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1.0)
        with suppress(OSError):
            client.connect(path)
            return True
    return False


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--root", metavar="DIR")
    shared.add_argument("--config", metavar="FILE")
    shared.add_argument("--format", choices=["text", "json"], default="text")
    parser = argparse.ArgumentParser(prog="kauditctl")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("check", "doctor"):
        verbs.add_parser(verb, parents=[shared])
    verbs.add_parser("diff", parents=[shared]).add_argument("--disable", action="store_true")
    policy = verbs.add_parser("policy", parents=[shared])
    policy.add_argument("action", choices=["show"])
    policy.add_argument("--profile", choices=PROFILE_NAMES, default="default")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
