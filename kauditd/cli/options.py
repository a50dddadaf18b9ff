"""Reads the arguments: a verb, the options that every verb has (before or after it), and the verb's own.

Hand-written because argparse alone would cost the status path more than everything else it does.
"""

from kauditd.cli.exits import USAGE, Failure

SOCKET_PATH = "/run/kauditd/kauditd.sock"
FORMATS = ("text", "json")

_COMMON = {"--root": "DIR", "--format": "FORMAT", "--socket": "PATH"}


class Arguments:
    """What was asked. ``rest`` are the verb's own arguments in order; ``options`` are filled in by ``read_own``."""

    __slots__ = ("format", "help", "options", "positionals", "rest", "root", "socket", "verb", "version")

    def __init__(self) -> None:
        self.verb = ""
        self.root = ""
        self.format = "text"
        self.socket = ""
        self.help = False
        self.version = False
        self.rest: list[str] = []
        self.options: dict[str, str] = {}
        self.positionals: list[str] = []

    @property
    def socket_path(self) -> str:
        """Where the daemon listens: ``--socket`` as it is, else the default place below the root."""
        return self.socket or self.root + SOCKET_PATH


def read_common(words: list[str]) -> Arguments:
    """Takes the common options out, wherever they stand; the first word without a dash is the verb."""
    found = Arguments()
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            found.rest += [word, *queue]
            break
        if word in {"-h", "--help"}:
            found.help = True
        elif word in {"-V", "--version"} and not found.verb:
            found.version = True
        elif name in _COMMON:
            _set(found, name, value if equals else _take(queue, name))
        elif not found.verb and not word.startswith("-"):
            found.verb = word
        else:
            found.rest.append(word)
    return found


def _set(found: Arguments, name: str, value: str) -> None:
    if not value:
        raise Failure(f"cannot use {name}: it needs a value", code=USAGE, hint=f"{name} {_COMMON[name]}")
    if name == "--format" and value not in FORMATS:
        raise Failure(f"cannot use --format {value!a}: unknown", code=USAGE, hint="give text or json")
    if name == "--root":
        value = _absolute(value)
    setattr(found, name[2:], value)


def _absolute(path: str) -> str:
    """The path without a slash at its end, so that ``/`` is no root at all."""
    if not path.startswith("/") or "//" in path or "/." in path:
        import os  # a millisecond that a plain absolute path need not cost

        path = os.path.abspath(path)
    return path.rstrip("/")


def _take(queue: list[str], name: str) -> str:
    if not queue or queue[0].startswith("--"):
        raise Failure(f"cannot use {name}: it needs a value", code=USAGE, hint=f"see: kauditctl help, {name}")
    return queue.pop(0)


def read_own(arguments: Arguments, known: dict[str, str], *, most_positionals: int) -> None:
    """Reads the verb's own options. ``known`` maps each to its value's name, or to "" where it takes none."""
    hint = f"see: kauditctl help {arguments.verb}"
    queue = list(arguments.rest)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            arguments.positionals += queue
            queue = []
        elif not word.startswith("-") or word == "-":
            arguments.positionals.append(word)
        elif name not in known:
            raise Failure(f"cannot use {name!a}: {arguments.verb} has no such option", code=USAGE, hint=hint)
        elif known[name]:
            arguments.options[name] = value if equals else _take(queue, name)
        elif equals:
            raise Failure(f"cannot use {name}={value!a}: it takes no value", code=USAGE, hint=hint)
        else:
            arguments.options[name] = ""
    if len(arguments.positionals) > most_positionals:
        extra = arguments.positionals[most_positionals]
        raise Failure(f"cannot use {extra!a}: {arguments.verb} takes no more arguments", code=USAGE, hint=hint)
