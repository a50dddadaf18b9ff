"""The running service manager, through ``systemctl`` and ``journalctl``: state, reload, restart, last words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from kauditd.effects.units.runner import Done, run_bounded
from kauditd.errors import Refused, quote

_PROPERTIES = (
    "FragmentPath",
    "DropInPaths",
    "MainPID",
    "ActiveState",
    "SubState",
    "Result",
    "NRestarts",
    "ExecMainStatus",
    "LoadState",
    "NeedDaemonReload",
)
_LINES_MAX = 200
_LINE_MAX = 1024
_DENIED = ("access denied", "authentication required", "permission denied", "not permitted")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitState:
    """A unit as the running manager has it. ``main_pid`` is 0 where no process runs.

    ``restarts`` counts automatic restarts since the last one somebody asked for; ``exit_status`` and ``result`` tell
    of the last process that ended. ``needs_reload``: the files are newer than what the manager has read.
    """

    load_state: str
    active_state: str
    sub_state: str
    result: str
    main_pid: int
    restarts: int
    exit_status: int
    fragment_path: str
    drop_in_paths: tuple[str, ...]
    needs_reload: bool


class Manager:
    """systemd on this node. Every method raises ``errors.Refused`` where it is absent, denies or does not answer."""

    def __init__(self, *, run: Callable[[Sequence[str], float], Done] = run_bounded, timeout_s: float = 10.0) -> None:
        self._run = run
        self._timeout_s = timeout_s

    def state(self, unit: str) -> UnitState:
        """The unit's state; a unit that is not there has the load state ``not-found``."""
        done = self._ask("show", f"--property={','.join(_PROPERTIES)}", "--", unit, verb="read the state of", what=unit)
        found = dict(line.split("=", 1) for line in done.output.splitlines() if "=" in line)
        if not found.get("LoadState"):
            raise Refused(f"cannot read the state of {quote(unit)}: systemctl named no load state", kind="unavailable")
        return UnitState(
            load_state=found["LoadState"],
            active_state=found.get("ActiveState", ""),
            sub_state=found.get("SubState", ""),
            result=found.get("Result", ""),
            main_pid=_number(found, "MainPID"),
            restarts=_number(found, "NRestarts"),
            exit_status=_number(found, "ExecMainStatus"),
            fragment_path=found.get("FragmentPath", ""),
            drop_in_paths=tuple(found.get("DropInPaths", "").split()),
            needs_reload=found.get("NeedDaemonReload") == "yes",
        )

    def daemon_reload(self) -> None:
        """Make the manager read all unit files again. No process is touched. On return it has done so."""
        self._ask("daemon-reload", verb="reload", what="systemd's unit files")

    def restart(self, unit: str) -> None:
        """Put a restart of the unit into the manager's queue and return at once; ``state`` tells how it goes on.

        A start limit that earlier failures used up is forgotten first, or the way back out of a bad command line
        would be barred by the crashes of that command line.
        """
        self._run(("systemctl", "reset-failed", "--", unit), self._timeout_s)
        self._ask("restart", "--no-block", "--", unit, verb="restart", what=unit)

    def last_lines(self, unit: str, *, since_unix_s: float, count: int = 20) -> tuple[str, ...]:
        """What the unit's processes said last since then, oldest first: at most ``count`` lines of 1024 characters."""
        lines = str(max(1, min(count, _LINES_MAX)))
        words = ("journalctl", "--no-pager", "--quiet", "--output=cat", f"--lines={lines}", f"--unit={unit}")
        done = self._run((*words, f"--since=@{int(since_unix_s)}"), self._timeout_s)
        if done.exit_code != 0:
            raise _refused(done, verb="read the journal of", what=unit)
        return tuple(line[:_LINE_MAX] for line in done.output.splitlines() if line.strip())

    def _ask(self, *words: str, verb: str, what: str) -> Done:
        done = self._run(("systemctl", "--no-pager", "--no-ask-password", *words), self._timeout_s)
        if done.exit_code != 0:
            raise _refused(done, verb=verb, what=what)
        return done


def _refused(done: Done, *, verb: str, what: str) -> Refused:
    said = done.errors.strip() or f"exit code {done.exit_code}"
    message = f"cannot {verb} {quote(what)}: {quote(said)}"
    if any(word in said.lower() for word in _DENIED):
        return Refused(message, kind="forbidden", hint="kauditd must run as root to manage the API server's unit")
    return Refused(message, kind="unavailable", hint="see systemctl status and journalctl -u " + quote(what))


def _number(found: Mapping[str, str], key: str) -> int:
    text = found.get(key, "")
    return int(text) if text.isascii() and text.isdecimal() else 0
