"""When to stop fighting: three rewrites in ten minutes, then back off 1, 2, 4 ... 30 minutes.

Only writes that can restart an API server count: promise P7 is about restarts. Once there is a contest, every
further rewrite is followed by the next longer pause, and a pause is never so short that a fourth rewrite could fall
into ten minutes. The level falls back to zero after a quiet period as long as the longest pause, counted from the
end of the last one, so that a rival seen last month does not slow down tonight's upgrade.

Give it a time that does not step where there is one. A clock stepped back lengthens nothing beyond the longest
pause and forgets no rewrite; a clock stepped ahead looks like time that has passed.
"""

from dataclasses import dataclass

WINDOW_S = 600.0
REWRITES_PER_WINDOW = 3
FIRST_PAUSE_S = 60.0
LONGEST_PAUSE_S = 1800.0
HIGHEST_LEVEL = 5
"""Where doubling reaches the longest pause; without an end, weeks of contest would overflow the power."""


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
    # A rewrite that lies ahead of a clock stepped back happened at an unknown time: count it as just now.
    known = (min(t, now_unix_s) for t in contest.rewrites_unix_s)
    rewrites = (*(t for t in known if now_unix_s - WINDOW_S < t), now_unix_s)
    level = 0 if _quiet(contest, now_unix_s) else min(contest.level, HIGHEST_LEVEL)
    if level == 0 and len(rewrites) < REWRITES_PER_WINDOW:
        return Contest(rewrites_unix_s=rewrites)
    until = now_unix_s + min(FIRST_PAUSE_S * 2**level, LONGEST_PAUSE_S)
    if len(rewrites) >= REWRITES_PER_WINDOW:
        until = max(until, rewrites[-REWRITES_PER_WINDOW] + WINDOW_S)
    return Contest(rewrites_unix_s=rewrites, level=min(level + 1, HIGHEST_LEVEL), until_unix_s=until)


def _quiet(contest: Contest, now_unix_s: float) -> bool:
    last = max((contest.until_unix_s, *contest.rewrites_unix_s))
    return now_unix_s - last > LONGEST_PAUSE_S
