"""Where kubeadm itself would put a flag, so that it sees an equal Pod when it regenerates the same one.

kubeadm cmd/kubeadm/app/util/arguments.go, ``ArgumentsToCommand``: until "sort only the defaults" (kubernetes#135400)
all arguments were sorted by name and value; since then only the defaults are, and the user's extraArgs follow in
their order.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

from kauditd.core.cmdline import PROGRAM
from kauditd.core.layout import base_name
from kauditd.core.model import Flag

_TAG = re.compile(r"v(\d{1,4})\.(\d{1,4})\.(\d{1,4})")
_FIRST_APPENDING = {32: 12, 33: 8, 34: 4, 35: 1}
"""The first patch release of each minor version in which kubeadm appends. Later minors append from the start."""


def version_of(image: str) -> str:
    """The version an image reference names ("v1.36.3"), or "" where its tag is no release or a digest stands in."""
    name, _, tag = base_name(image).partition(":")
    return tag if name.startswith(PROGRAM) and _TAG.fullmatch(tag) else ""


def sorts_all_flags(image: str) -> bool:
    """Whether the kubeadm of this image's version sorts the whole command; an unknown version does not."""
    match = _TAG.fullmatch(version_of(image))
    if match is None:
        return False
    major, minor, patch = (int(part) for part in match.groups())
    first = _FIRST_APPENDING.get(minor)
    return major == 1 and (minor < min(_FIRST_APPENDING) or (first is not None and patch < first))


def place_flags(words: Sequence[str], first: int, flags: Sequence[Flag], *, sort: bool) -> list[tuple[int, Flag]]:
    """Where each of ``flags`` goes in ``words``, whose flags start at ``first``, in the order of the result.

    Before ``--``, which ends the flags; in sorted order where ``sort`` asks for it and the flags there are sorted,
    else at the end in the given order.
    """
    end = words.index("--", first) if "--" in words[first:] else len(words)
    keys = [_key(word) for word in words[first:end]]
    if not sort or any(not name for name, _ in keys) or keys != sorted(keys):
        return [(end, flag) for flag in flags]
    ordered = sorted(flags, key=lambda flag: (f"--{flag.name}", flag.value))
    return [(first + bisect_right(keys, (f"--{flag.name}", flag.value)), flag) for flag in ordered]


def _key(word: str) -> tuple[str, str]:
    """Name and value of ``--name=value``, two empty strings for any other word."""
    name, equals, value = word.partition("=")
    return (name, value) if equals and name.startswith("--") else ("", "")
