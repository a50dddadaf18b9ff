"""``kauditctl history``: the daemon's own text, or the API's own result."""

from kauditd.cli.answers import failure_of, show_result
from kauditd.cli.exits import USAGE, YES, Failure
from kauditd.cli.options import Arguments
from kauditd.cli.output import write
from kauditd.cli.wire import ask


def run(arguments: Arguments) -> int:
    """Lists changes, or shows one. 0 whenever the question was answered: a failed change is no failed question."""
    target = _target(arguments)
    if arguments.format == "json":
        show_result(ask(arguments.socket_path, target))
        return YES
    reply = ask(arguments.socket_path, target, text=True)
    if reply.status != 200:
        raise failure_of(reply)
    write(reply.body)
    return YES


def _target(arguments: Arguments) -> str:
    if arguments.positionals:
        word = arguments.positionals[0].removeprefix("#")
        if not (word.isascii() and word.isdigit() and len(word) <= 15):
            raise Failure(f"cannot show change {word!a}: not a number", code=USAGE, hint="see: kauditctl history")
        return f"/v1/changes/{word}"
    detail = "detail=1" if "--show" in arguments.options and arguments.format == "text" else "detail=0"
    return f"/v1/changes?{detail}"
