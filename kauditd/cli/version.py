"""``kauditctl version``: ours, and the daemon's where one answers."""

from kauditd._version import VERSION
from kauditd.cli.answers import result_of, show
from kauditd.cli.exits import YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import say
from kauditd.cli.wire import ask


def run(arguments: Arguments) -> int:
    """Prints both versions; an unreachable daemon is a fact here and no failure."""
    try:
        daemon: dict[str, object] | None = result_of(ask(arguments.socket_path, "/v1/version"))
        line = f"kauditd   {daemon.get('version')} (API level {daemon.get('api_level')})" if daemon else ""
    except Failure as failure:
        daemon, line = None, f"kauditd   - ({failure.message})"
    if arguments.format == "json":
        show({"version": VERSION, "daemon": daemon})
    else:
        say(f"kauditctl {VERSION}\n{line}")
    return YES
