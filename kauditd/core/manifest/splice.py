"""Cuts in a text, and the same cuts as replaced lines that can be taken back."""

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from kauditd.core.model import Digest, Splice


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """The characters from ``start`` to ``end`` give way to ``text``. Several at one place apply in their order."""

    start: int
    end: int
    text: str
    role: str
    subject: str


def digest(content: bytes) -> Digest:
    """The SHA-256 of a text."""
    return Digest(hashlib.sha256(content).hexdigest())


def split_lines(text: str) -> list[str]:
    """The lines of a text with their line breaks; only ``\\n`` ends a line, and the last may have none."""
    lines = text.split("\n")
    last = lines.pop()
    return [f"{line}\n" for line in lines] + ([last] if last else [])


def apply_patches(text: str, patches: Sequence[Patch]) -> tuple[str, tuple[Splice, ...]]:
    """The patched text and the lines it replaced. Patches must not overlap."""
    lines = split_lines(text)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    output: list[str] = []
    splices: list[Splice] = []
    done = 0
    for first, last, group in _hunks(starts, patches):
        output += lines[done:first]
        old = lines[first:last]
        new = split_lines(_rewrite("".join(old), starts[first], group))
        splices.append(
            Splice(
                start=len(output),
                new=tuple(new),
                old=tuple(old),
                role="+".join(dict.fromkeys(patch.role for patch in group)),
                subject="+".join(dict.fromkeys(patch.subject for patch in group)),
            )
        )
        output += new
        done = last
    output += lines[done:]
    return "".join(output), tuple(splices)


def _hunks(starts: list[int], patches: Sequence[Patch]) -> list[tuple[int, int, list[Patch]]]:
    """Patches grouped by the lines they touch: (first line, line behind the last, patches)."""
    hunks: list[tuple[int, int, list[Patch]]] = []
    for patch in sorted(patches, key=lambda item: (item.start, item.end)):
        first = bisect_right(starts, patch.start) - 1
        at_boundary = starts[first] == patch.start
        whole = at_boundary and (not patch.text or patch.text.endswith("\n"))
        if whole and patch.end == starts[bisect_left(starts, patch.end)]:
            last = bisect_left(starts, patch.end)
        else:
            # A cut inside a line replaces that line; at the very end of the text, the line that ends there.
            first = min(first, len(starts) - 2)
            last = max(bisect_left(starts, patch.end), first + 1)
        if hunks and first < hunks[-1][1]:
            hunks[-1] = (hunks[-1][0], max(last, hunks[-1][1]), [*hunks[-1][2], patch])
        else:
            hunks.append((first, last, [patch]))
    return hunks


def _rewrite(text: str, offset: int, patches: list[Patch]) -> str:
    parts: list[str] = []
    done = 0
    for patch in patches:
        parts += (text[done : patch.start - offset], patch.text)
        done = patch.end - offset
    return "".join([*parts, text[done:]])


def invert(lines: list[str], splices: Sequence[Splice]) -> list[str] | None:
    """The lines before the splices, or None where a spliced line is not the one that was written."""
    output = list(lines)
    for splice in reversed(splices):
        end = splice.start + len(splice.new)
        if tuple(output[splice.start : end]) != splice.new:
            return None
        output[splice.start : end] = splice.old
    return output
