"""``kauditctl wait``: long polls in slices, so that a daemon that restarts meanwhile does no harm."""

import time

from kauditd.cli.answers import failure_of, result_of, show
from kauditd.cli.durations import read_duration_s
from kauditd.cli.exits import NO, UNREACHABLE, USAGE, YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import say
from kauditd.cli.progress import Progress
from kauditd.cli.wire import TIMEOUT_S, ask

VERDICTS = ("protected", "changing", "degraded", "unprotected", "unknown")

_SLICE_S = 30
_SHOWN_SLICE_S = 2
_RETRY_S = 0.5


def run(arguments: Arguments) -> int:
    """Waits for a verdict; 0 when it is there, 1 at the timeout, 3 where no daemon answered in all that time."""
    wanted = arguments.options.get("--for", "protected")
    if wanted not in VERDICTS:
        raise Failure(f"cannot wait for {wanted!a}: no such verdict", code=USAGE, hint=f"one of: {', '.join(VERDICTS)}")
    timeout_s = read_duration_s(arguments.options.get("--timeout", "120"))
    progress = Progress()
    deadline_s = time.monotonic() + timeout_s
    last: dict[str, object] | None = None
    while True:
        try:
            last = _ask_once(arguments, wanted, deadline_s - time.monotonic(), progress)
        except Failure as failure:
            if failure.code != UNREACHABLE or (last is None and time.monotonic() + _RETRY_S >= deadline_s):
                raise
            progress.tell(failure.message, failure.message)
            time.sleep(_RETRY_S)
        if (last is not None and last["reached"]) or time.monotonic() >= deadline_s:
            return _finish(arguments, wanted, timeout_s, last)


def _ask_once(arguments: Arguments, wanted: str, left_s: float, progress: Progress) -> dict[str, object]:
    slice_s = max(0, min(_SHOWN_SLICE_S if progress.is_shown else _SLICE_S, round(left_s)))
    target = f"/v1/wait?for={wanted}&timeout_s={slice_s}"
    reply = ask(arguments.socket_path, target, timeout_s=slice_s + TIMEOUT_S)
    result = result_of(reply)
    status = result.get("status")
    if not isinstance(status, dict) or not isinstance(result.get("reached"), bool):
        raise failure_of(reply)
    line = f"{status.get('verdict')}: {status.get('sentence')}"
    progress.tell(line, line)
    return result


def _finish(arguments: Arguments, wanted: str, timeout_s: int, last: dict[str, object] | None) -> int:
    if last is None:
        raise Failure(f"cannot wait for {wanted}: no daemon answered in {timeout_s} s", code=UNREACHABLE)
    status = last["status"]
    if arguments.format == "json":
        show(last)
    elif isinstance(status, dict):
        say(f"{status.get('verdict')}: {status.get('sentence')}")
    if last["reached"]:
        return YES
    if arguments.format == "text":
        raise Failure(f"not {wanted} after {timeout_s} s", code=NO, hint="see: kauditctl status")
    return NO
