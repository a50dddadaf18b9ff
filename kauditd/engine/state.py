"""The little that must survive a restart beside the journal, as one frozen value and its plain form."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kauditd.core.contest import Contest

FOREVER_UNIX_S = 253402300799.0
"""The last second of the year 9999: the end of a pause that only ``resume`` ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the operator said last (pause, disable), our own rewrites, and target states that proved bad.

    ``bad_targets`` maps a digest of (desired state, image) to the reason of its failure; the newest 50 are kept.
    """

    paused_until_unix_s: float | None = None
    disabled: bool = False
    contest: Contest = field(default_factory=Contest)
    bad_targets: Mapping[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """The form that is stored."""
        return {
            "paused_until": self.paused_until_unix_s,
            "disabled": self.disabled,
            "contest": {
                "rewrites": list(self.contest.rewrites_unix_s),
                "level": self.contest.level,
                "until": self.contest.until_unix_s,
            },
            "bad_targets": dict(list(self.bad_targets.items())[-50:]),
        }


def standing_from(plain: Mapping[str, object]) -> Standing:
    """The inverse of ``plain``; a field of a wrong type counts as absent, since the safe reading of each is "no"."""
    paused = plain.get("paused_until")
    bad = plain.get("bad_targets")
    return Standing(
        paused_until_unix_s=float(paused) if isinstance(paused, int | float) else None,
        disabled=plain.get("disabled") is True,
        contest=_contest_from(plain.get("contest")),
        bad_targets={str(k): str(v) for k, v in bad.items()} if isinstance(bad, Mapping) else {},
    )


def _contest_from(plain: object) -> Contest:
    match plain:
        case {"rewrites": list(rewrites), "level": int(level), "until": int() | float() as until}:
            times = tuple(float(t) for t in rewrites if isinstance(t, int | float))
            return Contest(rewrites_unix_s=times, level=max(0, level), until_unix_s=float(until))
        case _:
            return Contest()
