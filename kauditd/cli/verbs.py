"""The verbs as a table: what each is for, what it takes, which module does it. Help is written from here."""

from collections.abc import Callable
from importlib import import_module
from typing import TextIO

from kauditd.cli.exits import USAGE, Failure
from kauditd.cli.options import Arguments, read_own


class Verb:
    """One row. ``options`` maps ``--name`` to (value's name or "", help); ``function`` is looked up when it is run."""

    __slots__ = ("example", "function", "module", "name", "options", "positionals", "summary", "text", "usage")

    def __init__(
        self,
        name: str,
        function: str,
        summary: str,
        *,
        text: str,
        example: str,
        positionals: tuple[str, ...] = (),
        options: dict[str, tuple[str, str]] | None = None,
        usage: str = "",
    ) -> None:
        self.name = name
        self.module, _, self.function = function.partition(":")
        self.summary = summary
        self.text = text
        self.example = example
        self.positionals = positionals
        self.options = options or {}
        self.usage = usage or " ".join(word if word.islower() else f"[{word}]" for word in positionals)

    def load(self) -> Callable[[Arguments], int]:
        """The function that runs this verb; it reads the verb's own options first."""
        function: Callable[[Arguments], int] = getattr(import_module(f"kauditd.cli.{self.module}"), self.function)

        def run(arguments: Arguments) -> int:
            known = {name: value for name, (value, _help) in self.options.items()}
            read_own(arguments, known, most_positionals=len(self.positionals))
            return function(arguments)

        return run


_TIMEOUT = ("SECONDS", "how long to wait at most")
_CONFIG = ("FILE", "settings to use instead of /etc/kauditd/kauditd.yaml")
_NO_WAIT = ("", "print the change's number and do not wait for its end")
_CHANGE = {"--timeout": (_TIMEOUT[0], f"{_TIMEOUT[1]} (default 600)"), "--no-wait": _NO_WAIT}
_GATE = "The change must prove itself\n(the API server healthy, a canary event in the log) or it is undone."


def table() -> tuple[Verb, ...]:
    """The verbs in the order in which help shows them."""
    return (*_questions(), *_actions(), *_records())


def _questions() -> tuple[Verb, ...]:
    return (
        Verb("status", "status:run", "is the audit trail on, proven, and since when?",
             text="Prints the verdict, one sentence, every reason with what to do about it, and the facts behind it.\n"
                  "Exits 0 only where the node is protected.",
             example="kauditctl status --format json | jq -r .verdict"),
        Verb("wait", "wait:run", "wait until the verdict is the one asked for",
             text="Waits for a verdict, also for a daemon that is still starting. Exits 0 once it is there,\n"
                  "1 when the time is up, 3 where no daemon answered in all that time.",
             example="kauditctl wait --for protected --timeout 120",
             options={"--for": ("VERDICT", "protected (default), changing, degraded, unprotected or unknown"),
                      "--timeout": (_TIMEOUT[0], f"{_TIMEOUT[1]} (default 120)")}),
        Verb("canary", "canary:run", "prove now that events arrive in the log",
             text="Sends a request with an unguessable Audit-ID and looks for its event in the file that the API\n"
                  "server writes. Exits 0 where it is there, else 1 with the reason. Root only.",
             example="sudo kauditctl canary"),
        Verb("check", "assess:check", "read the node itself and judge it; needs no daemon",
             text="Reads settings, manifest, processes and log once and prints the verdict. Writes nothing.\n"
                  "For CI, for incident response, and for a --root directory.",
             example="kauditctl check --root /mnt/node --format json", options={"--config": _CONFIG}),
        Verb("diff", "assess:diff", "what apply would change, as a diff for patch -p1; needs no daemon",
             text="Prints a unified diff of the manifest, and exits 1 if there is any difference.\n"
                  "Feed it to `patch -p1 -d ROOT`, or read it before apply.",
             example="kauditctl diff --disable",
             options={"--disable": ("", "the way back: what `kauditctl disable` would change"), "--config": _CONFIG}),
    )  # fmt: skip


def _actions() -> tuple[Verb, ...]:
    return (
        Verb("apply", "act:apply", "carry out the plan now; ends a pause or a disable",
             text=f"Makes the node what the settings ask for. {_GATE}\nExits 0 where the change holds or nothing "
                  "differs, 1 where it was undone.",
             example="sudo kauditctl apply", options=_CHANGE),
        Verb("rollback", "act:rollback", "go back to the manifest before the last change, and hold there",
             text=f"Writes the manifest that was live before the last change. {_GATE}\n"
                  "Nothing more is written until apply or resume.",
             example="sudo kauditctl rollback", options=_CHANGE),
        Verb("disable", "act:disable", "take our lines out of the manifest, and stay out",
             text="Gives the manifest its original bytes back and proves the API server healthy.\n"
                  "Auditing is off afterwards. Nothing more is written until apply.",
             example="sudo kauditctl disable", options=_CHANGE),
        Verb("pause", "act:pause", "write nothing for a while; observation goes on",
             text="Without a duration the pause lasts until resume. Durations: 30s, 10m, 2h, 1d.",
             example="sudo kauditctl pause 10m", positionals=("DURATION",)),
        Verb("resume", "act:resume", "end a pause", text="From here on drift is repaired again.",
             example="sudo kauditctl resume"),
    )  # fmt: skip


def _records() -> tuple[Verb, ...]:
    return (
        Verb("history", "history:run", "what was changed, when, why, and how it ended",
             text="Lists changes, the newest first; with an ID, that one change with its timeline.",
             example="kauditctl history 12", positionals=("ID",),
             options={"--show": ("", "every change with its timeline")}),
        Verb("windows", "windows:run", "what was not audited, when, why, and who sees to it",
             text="Lists every span without proven auditing, open ones first, and how much of the served time was\n"
                  "proven (rounded down, never up). Time that nobody watched counts as not proven.\n"
                  "annotate ID notes what people found out; an empty text clears a note. Root only.",
             example='kauditctl windows annotate 3 --root-cause "logrotate moved the log" --owner ops',
             positionals=("annotate", "ID"), usage="[annotate ID]",
             options={"--since": ("DURATION", "only windows of this last time: 12h, 30d (default: all)"),
                      "--limit": ("N", "how many at most (default 100)"),
                      "--root-cause": ("TEXT", "with annotate: why it happened"),
                      "--prevention": ("TEXT", "with annotate: what keeps it from coming again"),
                      "--owner": ("TEXT", "with annotate: who sees to that")}),
        Verb("policy", "policy:run", "show the audit policy",
             text="show --published (default): the policy in force, from the daemon.\n"
                  "show --profile P: a policy that comes with the package; needs no daemon.",
             example="kauditctl policy show --profile stig", positionals=("show",),
             options={"--published": ("", "the policy in force"),
                      "--profile": ("P", "default, seed, stig or metadata"), "--config": _CONFIG}),
        Verb("doctor", "assess:doctor", "look for what stands in the way on this node; needs no daemon",
             text="Checks permissions, paths, disk, kubelet and API server one by one, each with what to do about it.",
             example="sudo kauditctl doctor", options={"--config": _CONFIG}),
        Verb("version", "version:run", "the versions of command and daemon",
             text="Prints both; a daemon that does not answer is said to be so, and is no failure.",
             example="kauditctl version --format json"),
        Verb("help", "verbs:run_help", "explain a verb", text="Prints this overview, or a verb's own help.",
             example="kauditctl help diff", positionals=("VERB",)),
    )  # fmt: skip


def find(name: str) -> Verb:
    """The verb of that name; ``Failure`` with the nearest one where there is none."""
    rows = {verb.name: verb for verb in table()}
    if name in rows:
        return rows[name]
    from difflib import get_close_matches

    near = get_close_matches(name, rows, n=1, cutoff=0.5)
    hint = f"did you mean: kauditctl {near[0]}" if near else "see: kauditctl help"
    raise Failure(f"cannot run {name!a}: no such verb", code=USAGE, hint=hint)


def run_help(arguments: Arguments) -> int:
    """``kauditctl help [VERB]``."""
    import sys

    return show_help(next(iter(arguments.positionals), ""), stream=sys.stdout, code=0)


def show_help(name: str, *, stream: TextIO, code: int) -> int:
    """Prints the overview, or one verb's help, and returns ``code``."""
    print(_verb_help(find(name)) if name else _overview(), file=stream, flush=True)
    return code


def _overview() -> str:
    rows = [(verb.name, verb.summary) for verb in table()]
    lines = [
        "kauditctl: is the Kubernetes API server's audit trail on, and does it really arrive?",
        "",
        "usage: kauditctl VERB [options]",
        "",
        *_columns(rows),
        "",
        *_common_options(),
        "",
        "exit codes: 0 yes or healthy, 1 no or unhealthy, 2 usage, 3 daemon unreachable, 4 denied",
        "start with: kauditctl status        more: kauditctl help VERB",
    ]
    return "\n".join(lines)


def _verb_help(verb: Verb) -> str:
    words = f" {verb.usage}" if verb.usage else ""
    lines = [f"kauditctl {verb.name}: {verb.summary}", "", f"usage: kauditctl {verb.name}{words} [options]", ""]
    lines += [*verb.text.split("\n"), ""]
    if verb.options:
        lines += [*_columns([(f"{name} {value}".rstrip(), text) for name, (value, text) in verb.options.items()]), ""]
    return "\n".join([*lines, *_common_options(), "", f"example: {verb.example}"])


def _common_options() -> list[str]:
    return _columns(
        [
            ("--root DIR", "the node's file system, where it is not / (a mounted image, a simulated node)"),
            ("--format F", "text (default) or json; json is the API's own result"),
            ("--socket PATH", "where the daemon listens (default ROOT/run/kauditd/kauditd.sock)"),
        ]
    )


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
