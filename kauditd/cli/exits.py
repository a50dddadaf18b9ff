"""Exit codes, the same for every verb and every format."""

YES = 0
NO = 1
USAGE = 2
UNREACHABLE = 3
DENIED = 4
INTERRUPTED = 130
"""128 + SIGINT, as shells say it."""
BROKEN_PIPE = 141
"""128 + SIGPIPE."""


class Failure(Exception):
    """Ends the command with ``code`` after one line on stderr, and a hint where there is one."""

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint
