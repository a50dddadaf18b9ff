"""When to stop fighting: three rewrites in ten minutes, then back off 1, 2, 4 ... 30 minutes.

Only writes that can restart an API server count: promise P7 is about restarts. The level falls back to zero after
a quiet period as long as the longest pause, so that a rival seen last month does not slow down tonight's upgrade.
"""

from dataclasses import dataclass, replace

WINDOW_S = 600.0
REWRITES_PER_WINDOW = 3
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """What is remembered of our own rewrites: times in Unix seconds, oldest first, and the back-off level."""

    rewrites_unix_s: tuple[float, ...] = ()
    level: int = 0
    until_unix_s: float = 0.0

    def contested(self, now_unix_s: float) -> bool:
        """Whether another rewrite must wait. A clock set back far ends the pause instead of prolonging it."""
        return now_unix_s < self.until_unix_s <= now_unix_s + LONGEST_PAUSE_S


def note_rewrite(contest: Contest, now_unix_s: float) -> Contest:
    """The contest after one more rewrite of ours at ``now_unix_s``."""
    recent = tuple(t for t in contest.rewrites_unix_s if now_unix_s - WINDOW_S < t <= now_unix_s)
    quiet = not contest.rewrites_unix_s or now_unix_s - contest.rewrites_unix_s[-1] > LONGEST_PAUSE_S
    level = 0 if quiet else contest.level
    rewrites = (*recent, now_unix_s)
    if len(rewrites) < REWRITES_PER_WINDOW:
        return replace(contest, rewrites_unix_s=rewrites, level=level)
    pause_s = min(FIRST_PAUSE_S * 2**level, LONGEST_PAUSE_S)
    oldest_leaves_s = rewrites[-REWRITES_PER_WINDOW] + WINDOW_S - now_unix_s
    return Contest(rewrites_unix_s=rewrites, level=level + 1, until_unix_s=now_unix_s + max(pause_s, oldest_leaves_s))
