"""The command line that carries what is desired: what is there is edited in place, what is missing is appended."""

from collections.abc import Sequence
from dataclasses import dataclass

from kauditd.core.cmdline import Word
from kauditd.core.hostproc.service import Service
from kauditd.core.hostproc.syntax import refuse
from kauditd.core.hostproc.words import quoted
from kauditd.core.layout import base_name
from kauditd.core.model import Edit, Flag

POLICY_FLAG = "audit-policy-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arranged:
    """Tokens as they go into the drop-in, and what is different about them."""

    raws: tuple[str, ...]
    edits: tuple[Edit, ...]


def arrange(service: Service, flags: Sequence[Flag]) -> Arranged:
    """The command with each of ``flags`` in force. Raises ManifestRefused.

    A flag that stands in the command itself keeps its place and its spelling; the last of duplicates is the one that
    is edited. One that comes out of a ``$NAME`` is left there, and ours is appended behind it: with pflag the last
    one wins. The same where a variable that nothing is known of comes later.
    """
    raws = [token.raw for token in service.tokens]
    appended: list[str] = []
    edits = []
    for flag in {flag.name: flag for flag in flags}.values():
        words = [word for word in service.flags if word.name == flag.name]
        covered = bool(words) and _reaches_open_token(service, words[-1])
        if words and words[-1].value == flag.value and not covered:
            continue
        place = _place(service, words[-1]) if words and not covered else None
        if place is None:
            appended.append(quoted(str(flag), expands=service.expands))
        else:
            token, text = place
            raws[token] = quoted(f"{text}{flag.value}", expands=service.expands)
        edits.append(_edit(service, flag, words, in_place=place is not None))
    if appended:
        end = _end_of_flags(service)
        raws[end:end] = appended
    return Arranged(raws=tuple(raws), edits=tuple(edits))


def _edit(service: Service, flag: Flag, words: Sequence[Word], *, in_place: bool) -> Edit:
    code = "flag-missing"
    if words:
        code = ("flag-differs" if len(words) == 1 else "flag-duplicate") if in_place else "flag-shadowed"
    return Edit(
        code=code,
        subject=flag.name,
        line=service.origin.line,
        before=words[-1].value if words else None,
        after=flag.value,
        foreign=bool(words) and not is_ours(service),
    )


def is_ours(service: Service) -> bool:
    """Whether the audit flags in force are ours: the policy has the name under which policies are published."""
    policies = [word.value for word in service.flags if word.name == POLICY_FLAG]
    name = base_name(policies[-1]) if policies else ""
    digest = name.removeprefix("policy-").removesuffix(".yaml")
    return name == f"policy-{digest}.yaml" and len(digest) == 12 and not set(digest) - set("0123456789abcdef")


def _place(service: Service, word: Word) -> tuple[int, str] | None:
    """The token to replace and what stands in it before the value; None where a ``$NAME`` brings it."""
    name = service.pieces[word.index]
    holder = name if word.value_index is None else service.pieces[word.value_index]
    if not (name.own and holder.own):
        return None
    if word.value_index is None:
        return holder.token, f"{name.text}="
    if word.value_index == word.index:
        return holder.token, name.text[: name.text.index("=") + 1]
    return holder.token, ""


def _reaches_open_token(service: Service, word: Word) -> bool:
    return any(token > service.pieces[word.index].token for token in service.open_tokens)


def _end_of_flags(service: Service) -> int:
    """The index of the token before which new flags go: the end, or the ``--`` that ends the flags."""
    end = next((piece for piece in service.pieces if piece.text == "--"), None)
    if end is None:
        return len(service.tokens)
    if not end.own:
        cause = f"{service.tokens[end.token].raw} brings a --, behind which no flag counts"
        raise refuse(service.origin.path, service.origin.line, cause, code="flags-ended", hint="take the -- out of it")
    return end.token
