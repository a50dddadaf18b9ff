"""The API server's service as all of a unit's files together make it: one command, its words, its surroundings."""

from collections.abc import Iterator
from dataclasses import dataclass

from kauditd.core.cmdline import Word, is_api_server, locate_flags
from kauditd.core.hostproc.environment import Environment, environment_of
from kauditd.core.hostproc.source import UnitSource, drop_in_path
from kauditd.core.hostproc.syntax import Assignment, accumulated, assignments, refuse
from kauditd.core.hostproc.words import (
    BadWords,
    Dialect,
    Token,
    is_variable,
    replace_variables,
    resolve_specifiers,
    split,
)
from kauditd.core.layout import base_name
from kauditd.errors import ManifestRefused, quote

_PREFIXES = "-@:+!|"
_GENERATED = ("/run/systemd/generator", "/run/systemd/transient/")
_SHELLS = frozenset(["ash", "bash", "busybox", "dash", "env", "ksh", "sh", "zsh"])
_HINTS = {
    "masked": "unmask it (systemctl unmask), or name the right unit in target.unit",
    "not-found": "name the unit that runs the API server in target.unit",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One argument of the process: its text and the token it comes from. ``own``: the token gives just this word."""

    text: str
    token: int
    own: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The command in force. ``tokens`` hold the program too, at ``program``; ``pieces`` are the arguments behind it.

    ``open_tokens`` are variables that may be set to something no file tells (``PassEnvironment=``). ``settings`` are
    all assignments of the ``[Service]`` section.
    """

    origin: Assignment
    program: int
    expands: bool
    tokens: tuple[Token, ...]
    pieces: tuple[Piece, ...]
    open_tokens: tuple[int, ...]
    flags: tuple[Word, ...]
    settings: tuple[Assignment, ...]


def settings_of(source: UnitSource) -> tuple[Assignment, ...]:
    """The assignments of the unit's ``[Service]`` section, in the order in which they count. Raises ManifestRefused."""
    files = (*(() if source.fragment is None else (source.fragment,)), *source.drop_ins)
    return tuple(item for file in files for item in assignments(file) if item.section == "Service")


def service_of(source: UnitSource) -> Service:
    """The service that the unit's files describe, ours included. Raises ManifestRefused."""
    _require_loaded(source)
    settings = settings_of(source)
    commands = accumulated(settings, "ExecStart")
    if not commands:
        raise _refuse(source, "it starts nothing (no ExecStart=)", code="no-api-server")
    if len(commands) > 1:
        cause = f"ExecStart= names {len(commands)} commands, and one of them alone is the API server"
        raise refuse(commands[1].path, commands[1].line, cause, code="several-commands")
    try:
        return _service(source, commands[0], settings)
    except BadWords as error:
        raise refuse(commands[0].path, commands[0].line, str(error)) from error


def _service(source: UnitSource, origin: Assignment, settings: tuple[Assignment, ...]) -> Service:
    """The service of one ``ExecStart=``. Raises BadWords where its words cannot be read."""
    tokens = tuple(split(origin.value))
    if any(token.raw == ";" for token in tokens):
        raise refuse(origin.path, origin.line, "it runs several commands (a ; of its own)", code="several-commands")
    program, expands = _program(source, origin, tokens)
    environment = environment_of(settings, source)
    pieces: list[Piece] = []
    unknown: list[int] = []
    for index in range(program + 1, len(tokens)):
        text = ";" if tokens[index].raw == "\\;" else resolve_specifiers(tokens[index].text, source.name)
        if expands and is_variable(text):
            if environment.unknown(text[1:]):
                unknown.append(index)
            pieces += [Piece(text=word, token=index, own=False) for word in _variable(text, environment)]
        else:
            text = replace_variables(text, environment.values) if expands else text
            pieces.append(Piece(text=text, token=index, own=True))
    return Service(
        origin=origin,
        program=program,
        expands=expands,
        tokens=tokens,
        pieces=tuple(pieces),
        open_tokens=tuple(unknown),
        flags=tuple(locate_flags([piece.text for piece in pieces])),
        settings=settings,
    )


def _variable(text: str, environment: Environment) -> Iterator[str]:
    """The words of a ``$NAME``; a variable that is not set gives none."""
    return (token.text for token in split(environment.values.get(text[1:], ""), Dialect.VARIABLE))


def _program(source: UnitSource, origin: Assignment, tokens: tuple[Token, ...]) -> tuple[int, bool]:
    """Where the word stands behind which the arguments begin, and whether ``$`` is expanded in them."""
    first = tokens[0].text
    path = first.lstrip(_PREFIXES)
    prefixes = first[: len(first) - len(path)]
    path = resolve_specifiers(path, source.name)
    program = 1 if "@" in prefixes else 0
    if program == len(tokens):
        raise refuse(origin.path, origin.line, "the prefix @ asks for a second word")
    named = path if program == 0 else tokens[1].text
    if is_api_server(named) and base_name(path) not in _SHELLS:
        return program, ":" not in prefixes
    if any("kube-apiserver" in token.text or "hyperkube" in token.text for token in tokens):
        cause = f"kube-apiserver is started through {quote(path, limit=80)}"
        hint = "let ExecStart= start kube-apiserver itself; flags behind a shell cannot be told apart safely"
        raise refuse(origin.path, origin.line, cause, code="shell-wrapped", hint=hint)
    cause = f"it starts {quote(path, limit=80)}, which is no kube-apiserver"
    raise refuse(origin.path, origin.line, cause, code="no-api-server", hint=_HINTS["not-found"])


def _require_loaded(source: UnitSource) -> None:
    path = "" if source.fragment is None else source.fragment.path
    match source.load_state:
        case "masked" | "not-found":
            words = {"masked": "it is masked", "not-found": "there is no such unit"}[source.load_state]
            raise _refuse(source, words, code=source.load_state, hint=_HINTS[source.load_state])
        case "loaded" if source.fragment is None:
            raise _refuse(source, "it has no unit file", code="not-found", hint=_HINTS["not-found"])
        case "loaded" if path.startswith(_GENERATED):
            cause = f"{quote(path)} is generated at run time, and a program writes it anew"
            raise _refuse(source, cause, code="generated", hint="configure the program that makes the unit")
        case "loaded":
            return
        case state:
            cause = f"systemd does not load it ({quote(state, limit=40)})"
            raise _refuse(source, cause, code="bad-unit", hint=f"see what systemctl status {source.name} says")


def _refuse(source: UnitSource, cause: str, *, code: str, hint: str = "") -> ManifestRefused:
    message = f"cannot edit the API server's unit {quote(source.name)}: {cause}"
    return ManifestRefused(message, code=code, hint=hint)


def require_last(source: UnitSource) -> None:
    """Refuse where another drop-in comes after ours and sets the command again, so that ours counts for nothing."""
    ours = drop_in_path(source.name)
    for file in source.drop_ins:
        late = file.path != ours and base_name(file.path) >= base_name(ours)
        if late and any(item.section == "Service" and item.key == "ExecStart" for item in assignments(file)):
            cause = "it is read after kauditd's drop-in and sets ExecStart= again"
            hint = f"give it a name that sorts before {base_name(ours)}"
            raise refuse(file.path, 0, cause, code="overridden", hint=hint)
