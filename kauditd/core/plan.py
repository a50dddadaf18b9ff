"""Drift -> ordered steps, each with do, undo and proof; and the diff that shows them.

The order is a law: what the API server needs at start (policy, log directory) is there before the manifest names it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff

from kauditd.core.model import Digest, Edited
from kauditd.core.observed import Observed, PolicyFileState


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step in words. ``name`` is closed: ``publish-policy``, ``make-log-directory``, ``replace-manifest``."""

    name: str
    do: str
    undo: str
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ordered steps towards the desired state; no steps = nothing to do. ``edited`` belongs to replace-manifest."""

    steps: tuple[Step, ...]
    summary: str
    before: Digest | None = None
    after: Digest | None = None
    edited: Edited | None = None

    def has(self, name: str) -> bool:
        """Whether the plan has the step called ``name``."""
        return any(s.name == name for s in self.steps)


def make_plan(observed: Observed) -> Plan:
    """The steps that remove all repairable drift, in the order in which they must happen."""
    steps: list[Step] = []
    policy, log = observed.policy_file, observed.log_directory
    if policy is not None and policy.state is not PolicyFileState.INTACT:
        steps.append(
            Step(
                name="publish-policy",
                do=f"write {policy.path}",
                undo="leave it: an unused policy file harms nothing",
                proof="its SHA-256 is the one in its name",
            )
        )
    if log is not None and not log.present:
        steps.append(
            Step(
                name="make-log-directory",
                do=f"create {log.path} (0700, for the API server's user)",
                undo="leave it: an empty directory harms nothing",
                proof="a file can be created in it",
            )
        )
    edited = observed.edited
    if edited is None or not edited.edits:
        return Plan(steps=tuple(steps), summary=_summary(steps, edited))
    steps.append(
        Step(
            name="replace-manifest",
            do=f"edit {observed.manifest.path}: {describe_edits(edited)}",
            undo="write the manifest that was live before, byte for byte",
            proof="the file reads back as planned and the running API server's command line carries the flags",
        )
    )
    return Plan(
        steps=tuple(steps),
        summary=_summary(steps, edited),
        before=edited.record.before,
        after=edited.record.after,
        edited=edited,
    )


def describe_edits(edited: Edited) -> str:
    """The edits in a few words: "5 flags, 2 mounts, 2 volumes"."""
    counts: dict[str, int] = {}
    for edit in edited.edits:
        noun = edit.code.partition("-")[0]
        counts[noun] = counts.get(noun, 0) + 1
    return ", ".join(f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items()) or "nothing"


def _summary(steps: Sequence[Step], edited: Edited | None) -> str:
    if not steps:
        return "nothing to do"
    if edited is not None and edited.edits:
        return f"edit the manifest ({describe_edits(edited)})"
    return " and ".join(s.do for s in steps)


def render_diff(path: str, before: bytes | None, after: bytes) -> str:
    """A unified diff that ``patch -p1 -d ROOT`` takes. ``path`` is absolute; ``before`` None = a new file.

    A missing final newline is marked as diff(1) does, and carriage returns stay in their lines.
    """
    if before == after:
        return ""
    old = [] if before is None else _lines(before)
    end = "\t" if " " in path else ""  # patch(1) ends a name at its first space, unless a tab ends it
    source = "/dev/null" if before is None else f"a{path}{end}"
    diff = unified_diff(old, _lines(after), source, f"b{path}{end}", n=3)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in diff)


def _lines(text: bytes) -> list[str]:
    """Lines split at LF alone, ends kept; bytes that are not UTF-8 survive as surrogates."""
    lines = text.decode("utf-8", "surrogateescape").split("\n")
    return [f"{line}\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
