"""The verbs that need no daemon: this process becomes the program that reads the node itself.

``exec`` rather than import, so that the command line stays free of the libraries which that program needs, and so
that signals and exit code are its own. The search path is handed over as a literal, because a launcher with
``-I -S`` sets it in ``sys.path`` only, where neither an option nor the environment could pass it on.
"""

import posix
import sys

from kauditd.cli.exits import NO, Failure
from kauditd.cli.options import Arguments

PROGRAM = "kauditd.daemon.assess"


def check(arguments: Arguments) -> int:
    """``kauditctl check``."""
    return _become("check", arguments)


def diff(arguments: Arguments) -> int:
    """``kauditctl diff [--disable]``."""
    return _become("diff", arguments)


def doctor(arguments: Arguments) -> int:
    """``kauditctl doctor``."""
    return _become("doctor", arguments)


def policy(arguments: Arguments) -> int:
    """``kauditctl policy show --profile P``."""
    return _become("policy", arguments)


def _become(verb: str, arguments: Arguments) -> int:
    """Replaces this process. Returns only by ``Failure``, where the interpreter cannot be started."""
    command = [sys.executable, *_flags(), "-c", _bootstrap(), verb, *_words(arguments)]
    sys.stdout.flush()
    try:
        posix.execv(sys.executable, command)
    except OSError as error:
        cause = error.strerror or "unknown fault"
        raise Failure(f"cannot start {sys.executable or 'the interpreter'}: {cause}", code=NO) from error


def _flags() -> list[str]:
    """This interpreter's isolation, so that the other program runs under the same one."""
    flags = sys.flags
    chosen = {
        "-I": flags.isolated,
        "-E": flags.ignore_environment and not flags.isolated,
        "-s": flags.no_user_site and not flags.isolated,
        "-S": flags.no_site,
        "-B": flags.dont_write_bytecode,
    }
    return [name for name, is_set in chosen.items() if is_set]


def _bootstrap() -> str:
    # ascii(), since a path may hold bytes that are not UTF-8 and then has lone surrogates here
    return (
        f"import sys; sys.path[:] = {sys.path!a}; import runpy; "
        f"runpy.run_module({PROGRAM!r}, run_name='__main__', alter_sys=True)"
    )


def _words(arguments: Arguments) -> list[str]:
    words = ["--root", arguments.root] if arguments.root else []
    config = arguments.options.pop("--config", "")
    if config:
        words += ["--config", config]
    words += ["--format", arguments.format, *arguments.positionals]
    for name, value in arguments.options.items():
        words += [name, value] if value else [name]
    return words
