"""``kauditctl``: finds the verb, loads its module, turns every end into an exit code."""

import sys

from kauditd.cli.exits import BROKEN_PIPE, INTERRUPTED, NO, USAGE, YES, Failure
from kauditd.cli.options import Arguments, read_common


def run() -> int:
    """The entry point: runs the command in ``sys.argv`` and returns its exit code. Never raises."""
    try:
        return _dispatch(read_common(sys.argv[1:]))
    except Failure as failure:
        from kauditd.cli.output import report

        report(failure)
        return failure.code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _silence()
        return BROKEN_PIPE
    except OSError as error:
        _silence()
        print(f"kauditctl: cannot write the answer: {error.strerror}", file=sys.stderr)
        return NO


def _dispatch(arguments: Arguments) -> int:
    verb = arguments.verb
    if verb == "status" and not arguments.help:
        from kauditd.cli import status

        return status.run(arguments)
    from kauditd.cli import verbs

    if arguments.version and not verb:
        arguments.verb = verb = "version"
    if not verb:
        return verbs.show_help(
            "", stream=sys.stdout if arguments.help else sys.stderr, code=YES if arguments.help else USAGE
        )
    entry = verbs.find(verb)
    if arguments.help:
        return verbs.show_help(verb, stream=sys.stdout, code=YES)
    return entry.load()(arguments)


def _silence() -> None:
    """Points stdout at nothing, so that the interpreter's own flush at exit cannot complain again."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    sys.exit(run())
