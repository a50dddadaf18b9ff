"""``kauditctl policy show``: the policy in force from the daemon, or one of the package's profiles from the node."""

from kauditd.cli.answers import failure_of, show_result
from kauditd.cli.exits import USAGE, YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import write
from kauditd.cli.wire import ask


def run(arguments: Arguments) -> int:
    """Dispatches on the word behind ``policy``."""
    if arguments.positionals != ["show"]:
        raise Failure("cannot run policy: say what to do", code=USAGE, hint="kauditctl policy show")
    if "--profile" in arguments.options:
        if "--published" in arguments.options:
            raise Failure("cannot show both --published and --profile", code=USAGE, hint="see: kauditctl help policy")
        from kauditd.cli.assess import policy

        return policy(arguments)
    if arguments.format == "json":
        return show_result(ask(arguments.socket_path, "/v1/policy"))
    reply = ask(arguments.socket_path, "/v1/policy", text=True)
    if reply.status != 200:
        raise failure_of(reply)
    write(reply.body)
    return YES
