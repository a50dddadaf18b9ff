"""``kauditctl canary``: a round of proof now, in the daemon's own words or as the API's own result."""

from threading import Timer

from kauditd.cli.answers import failure_of, show_result
from kauditd.cli.exits import NO, YES
from kauditd.cli.options import Arguments
from kauditd.cli.output import write
from kauditd.cli.progress import Progress
from kauditd.cli.wire import TIMEOUT_S, Reply, ask

ROUND_S = 20.0
"""How long the daemon gives a round before it answers that the work goes on."""

_QUIET_S = 2.0
_WAITING = "waiting for the canary's event"


def run(arguments: Arguments) -> int:
    """Asks for a round; 0 where its event was seen in the log, else 1."""
    as_text = arguments.format == "text"
    reply = _ask(arguments, text=as_text)
    if not as_text:
        return show_result(reply)
    if reply.status != 200:
        raise failure_of(reply)
    write(reply.body)
    return YES if reply.verdict == 0 else NO


def _ask(arguments: Arguments, *, text: bool) -> Reply:
    """The reply; a terminal is told after two seconds what is being waited for."""
    progress = Progress()
    timer = Timer(_QUIET_S, progress.tell, (_WAITING, _WAITING))
    timer.daemon = True
    timer.start()
    try:
        return ask(arguments.socket_path, "/v1/canary", method="POST", text=text, timeout_s=ROUND_S + TIMEOUT_S)
    finally:
        timer.cancel()
