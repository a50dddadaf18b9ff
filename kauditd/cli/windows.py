"""``kauditctl windows``: what was not audited, and what people note about it."""

import json
import time

from kauditd.cli.answers import failure_of, result_of, show, show_result
from kauditd.cli.durations import read_duration_s
from kauditd.cli.exits import USAGE, YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import say, write
from kauditd.cli.wire import ask

_HINT = "see: kauditctl help windows"
_NOTES = {"--root-cause": "root_cause", "--prevention": "prevention", "--owner": "owner"}


def run(arguments: Arguments) -> int:
    """Lists windows, or annotates one. 0 whenever that was done: a window is no failed question."""
    if arguments.positionals:
        return _annotate(arguments)
    given = sorted(_NOTES.keys() & arguments.options.keys())
    if given:
        raise Failure(f"cannot use {given[0]}: it goes with annotate", code=USAGE, hint=_HINT)
    if arguments.format == "json":
        return show_result(ask(arguments.socket_path, _target(arguments)))
    reply = ask(arguments.socket_path, _target(arguments), text=True)
    if reply.status != 200:
        raise failure_of(reply)
    write(reply.body)
    return YES


def _target(arguments: Arguments) -> str:
    query = []
    if "--since" in arguments.options:
        since_unix_s = int(time.time()) - read_duration_s(arguments.options["--since"])
        query.append(f"since_unix_s={max(0, since_unix_s)}")
    if "--limit" in arguments.options:
        query.append(f"limit={_number(arguments.options['--limit'], 'use --limit')}")
    return f"/v1/windows?{'&'.join(query)}" if query else "/v1/windows"


def _annotate(arguments: Arguments) -> int:
    """``kauditctl windows annotate ID --root-cause T --prevention T --owner T``; what is not given stays."""
    word, *rest = arguments.positionals
    if word != "annotate" or not rest:
        cause = "it needs a window's number" if word == "annotate" else "not a word of this verb"
        raise Failure(f"cannot use {word!a}: {cause}", code=USAGE, hint="kauditctl windows annotate ID --owner TEXT")
    number = _number(rest[0].removeprefix("#"), "annotate window")
    for name in ("--since", "--limit"):
        if name in arguments.options:
            raise Failure(f"cannot use {name} with annotate: it is for the list", code=USAGE, hint=_HINT)
    notes = {key: arguments.options[name] for name, key in _NOTES.items() if name in arguments.options}
    if not notes:
        raise Failure(
            f"cannot annotate window {number}: nothing to note",
            code=USAGE,
            hint="give --root-cause, --prevention or --owner",
        )
    body = json.dumps(notes).encode("ascii")
    window = result_of(ask(arguments.socket_path, f"/v1/windows/{number}/annotate", method="POST", body=body))
    if arguments.format == "json":
        show(window)
    else:
        say(f"noted: window {number} {', '.join(sorted(key.replace('_', ' ') for key in notes))}")
    return YES


def _number(word: str, verb: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= 9):
        raise Failure(f"cannot {verb} {word!a}: not a number", code=USAGE, hint="see: kauditctl windows")
    return int(word)
