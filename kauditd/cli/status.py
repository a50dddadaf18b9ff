"""``kauditctl status``: the daemon's text as it is. This is the path that must stay as cheap as ``curl``."""

from kauditd.cli.exits import NO, YES
from kauditd.cli.options import Arguments, read_own
from kauditd.cli.output import wants_colour, write
from kauditd.cli.wire import ask


def run(arguments: Arguments) -> int:
    """Prints the verdict and its reasons; 0 where the node is protected, else 1."""
    read_own(arguments, {}, most_positionals=0)
    if arguments.format == "json":
        from kauditd.cli.answers import show_result

        return show_result(ask(arguments.socket_path, "/v1/status"))
    target = "/v1/status?color=1" if wants_colour() else "/v1/status"
    reply = ask(arguments.socket_path, target, text=True)
    if reply.status != 200:
        from kauditd.cli.answers import failure_of

        raise failure_of(reply)
    write(reply.body)
    return YES if reply.verdict == 0 else NO
