"""The verbs that change something: ask for it, then follow the change to its end."""

import json
import time

from kauditd.cli.answers import failure_of, result_of, show
from kauditd.cli.durations import read_duration_s
from kauditd.cli.exits import NO, UNREACHABLE, YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import say, write
from kauditd.cli.progress import Progress
from kauditd.cli.wire import TIMEOUT_S, ask

_SLICE_S = 20
_SHOWN_SLICE_S = 1
_RETRY_S = 0.5


def apply(arguments: Arguments) -> int:
    """``kauditctl apply``."""
    return _change(arguments, "apply")


def rollback(arguments: Arguments) -> int:
    """``kauditctl rollback``."""
    return _change(arguments, "rollback")


def disable(arguments: Arguments) -> int:
    """``kauditctl disable``."""
    return _change(arguments, "disable")


def pause(arguments: Arguments) -> int:
    """``kauditctl pause [DURATION]``."""
    words = arguments.positionals
    duration_s = read_duration_s(words[0]) if words else None
    status = _post(arguments, "pause", {"duration_s": duration_s})
    return _say_status(arguments, status, f"paused for {words[0]}" if words else "paused until: kauditctl resume")


def resume(arguments: Arguments) -> int:
    """``kauditctl resume``."""
    return _say_status(arguments, _post(arguments, "resume"), "resumed")


def _say_status(arguments: Arguments, status: dict[str, object], line: str) -> int:
    if arguments.format == "json":
        show(status)
    else:
        say(line)
    return YES


def _post(arguments: Arguments, verb: str, body: dict[str, object] | None = None) -> dict[str, object]:
    payload = json.dumps(body).encode("ascii") if body is not None else b""
    return result_of(ask(arguments.socket_path, f"/v1/{verb}", method="POST", body=payload))


def _change(arguments: Arguments, verb: str) -> int:
    timeout_s = read_duration_s(arguments.options.get("--timeout", "600"))
    result = _post(arguments, verb)
    change = result.get("change")
    if not isinstance(change, dict):
        if arguments.format == "json":
            show(result)
        else:
            say("nothing to do: the manifest already is as asked for")
        return YES
    change_id = change.get("id")
    if "--no-wait" in arguments.options:
        if arguments.format == "json":
            show(result)
        else:
            say(f"change {change_id} started; follow it with: kauditctl history {change_id}")
        return YES
    return _follow(arguments, verb, f"/v1/changes/{change_id}", timeout_s)


def _follow(arguments: Arguments, verb: str, path: str, timeout_s: int) -> int:
    """Polls until the change has ended, and prints it. A daemon that restarts meanwhile gets time to come back."""
    progress = Progress()
    deadline_s = time.monotonic() + timeout_s
    while (left_s := deadline_s - time.monotonic()) > 0:
        slice_s = max(1, min(_SHOWN_SLICE_S if progress.is_shown else _SLICE_S, round(left_s)))
        try:
            reply = ask(arguments.socket_path, f"{path}/wait?timeout_s={slice_s}", timeout_s=slice_s + TIMEOUT_S)
            change = result_of(reply)
        except Failure as failure:
            if failure.code != UNREACHABLE or left_s <= _RETRY_S + 1:
                raise
            progress.tell(failure.message, failure.message)
            time.sleep(_RETRY_S)
            continue
        _tell(progress, change)
        if reply.verdict is not None:
            return _finish(arguments, path, change, code=reply.verdict)
    raise Failure(f"cannot say how {verb} ends: still open after {timeout_s} s", code=NO, hint="see: kauditctl history")


def _finish(arguments: Arguments, path: str, change: dict[str, object], *, code: int) -> int:
    if arguments.format == "json":
        show(change)
        return code
    reply = ask(arguments.socket_path, path, text=True)
    if reply.status != 200:
        raise failure_of(reply)
    write(reply.body)
    return code


def _tell(progress: Progress, change: dict[str, object]) -> None:
    events = change.get("events")
    for number, event in enumerate(events if isinstance(events, list) else []):
        if isinstance(event, dict):
            progress.tell(str(number), f"{event.get('what', '')}  {event.get('detail', '')}".rstrip())
