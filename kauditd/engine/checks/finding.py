"""What a check takes and gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kauditd.core.model import Desired, Reason
from kauditd.core.observed import Observed
from kauditd.core.settings import Settings


class Grade(StrEnum):
    """``ok``; ``note``: worth knowing; ``problem``: something to mend."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the doctor. ``ran`` says what was looked at."""

    id: str
    grade: Grade
    ran: str
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """Everything that the checks may look at. ``inotify_limit`` is the kernel's number of instances per user."""

    observed: Observed
    settings: Settings
    settings_file: str
    desired: Desired | None
    troubles: tuple[Reason, ...]
    inotify_limit: int | None
    inotify_obtainable: bool
    socket_path: str
    socket_answers: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check: a stable id, what it looks at, and the function that judges."""

    id: str
    ran: str
    judge: Callable[[Examination], Sequence[tuple[Grade, str, str]]]

    def run(self, examination: Examination) -> tuple[Finding, ...]:
        """The findings; at least one."""
        return tuple(
            Finding(id=self.id, grade=grade, ran=self.ran, text=text, hint=hint)
            for grade, text, hint in self.judge(examination)
        )
