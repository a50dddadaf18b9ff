"""The exception tree. Imports nothing, so that every layer may use it.

Every message reads "cannot <verb> <object>: <cause>"; ``hint`` says what to do next. Secrets never appear in
either, and foreign text is cut at 256 characters by whoever quotes it (see ``quote``).
"""

KINDS = (
    "bad-request",
    "forbidden",
    "not-found",
    "conflict",
    "refused",
    "unavailable",
    "bad-settings",
    "bad-policy",
    "bad-manifest",
    "file-fault",
    "internal",
)
"""The closed set of machine-readable kinds, the same in the API's error envelope."""


def quote(text: str, *, limit: int = 256) -> str:
    """Foreign text made fit for one line of a message: control characters escaped, cut at ``limit``."""
    flat = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[: limit + 1])
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


class Problem:
    """One thing wrong in a file a person wrote: where, which key, what was expected, what to do.

    ``line`` and ``column`` count from 1; 0 means that the place is not known.
    """

    __slots__ = ("column", "file", "hint", "key", "line", "message")

    def __init__(
        self, *, file: str, line: int = 0, column: int = 0, key: str = "", message: str, hint: str = ""
    ) -> None:
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        key = f" {self.key}:" if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}:{key} {self.message}{hint}"

    def __repr__(self) -> str:
        return f"Problem({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Problem) and all(getattr(self, k) == getattr(other, k) for k in self.__slots__)

    def __hash__(self) -> int:
        return hash(str(self))


class KauditError(Exception):
    """The root. Callers branch on the subclass or on ``kind``, never on the text."""

    kind = "internal"

    def __init__(self, message: str, *, kind: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if kind:
            self.kind = kind


class BadFile(KauditError):
    """A file written by people does not say what it must; ``problems`` names each place."""

    def __init__(self, message: str, *, problems: "tuple[Problem, ...]" = (), hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class BadSettings(BadFile):
    """The settings file cannot be used; the last good settings stay in force."""

    kind = "bad-settings"


class BadPolicy(BadFile):
    """The policy source cannot be used; the published policy stays in force."""

    kind = "bad-policy"


class ManifestRefused(KauditError):
    """The manifest cannot be edited safely. ``code`` is stable, ``line`` counts from 1 (0: the whole file)."""

    kind = "bad-manifest"

    def __init__(self, message: str, *, code: str, line: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.line = line


class FileFault(KauditError):
    """The operating system refused a file operation; ``errno_name`` is its symbolic name, ``path`` the object."""

    kind = "file-fault"

    def __init__(self, message: str, *, path: str, errno_name: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path
        self.errno_name = errno_name


class LostUpdate(FileFault):
    """Somebody changed the target between our read and our rename; nothing was written, read again."""

    kind = "conflict"


class Refused(KauditError):
    """A request that is understood but must not be carried out now; the message says why."""

    kind = "refused"
