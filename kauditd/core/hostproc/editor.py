"""The edit of a unit: a pure function of its files and of what is desired, whose result is our drop-in."""

import hashlib

from kauditd.core.cmdline import listening
from kauditd.core.hostproc.arrange import POLICY_FLAG, arrange
from kauditd.core.hostproc.dropin import compose, derived_from, is_untouched
from kauditd.core.hostproc.sandbox import open_directories
from kauditd.core.hostproc.service import Service, require_last, service_of
from kauditd.core.hostproc.source import UnitSource, drop_in_of, drop_in_path, underneath, with_drop_in
from kauditd.core.hostproc.syntax import last_value, refuse
from kauditd.core.model import Desired, Digest, Edit, Edited, EditRecord, Flag, ManifestView
from kauditd.errors import ManifestRefused

LOG_FLAG = "audit-log-path"


def edit(source: UnitSource, desired: Desired) -> Edited:
    """Our drop-in for what is desired; empty text where the unit needs none.

    ``text`` follows from the files underneath ours alone, so that editing the result changes nothing and a drop-in
    that somebody changed is made good. ``edits`` are the differences that the unit as it stands, ours included,
    shows; empty = nothing to do. Besides the codes of a manifest's edits there are ``flag-shadowed`` (the value
    comes out of a variable, which stays; ours is appended and wins) and ``unit-stale`` (the drop-in was changed, or
    derived from what is no longer there). ``before`` and ``after`` of the record are digests of the drop-in (of
    nothing where there is none). ``desired.nonce`` means nothing here. Raises ManifestRefused.
    """
    require_last(source)
    bare = underneath(source)
    present = drop_in_of(source) or b""
    _require_ours(source, present)
    text = _derive(bare, desired)
    if text:
        _verify(bare, with_drop_in(bare, text), desired)
    record = EditRecord(before=_digest(present), after=_digest(text), splices=())
    if text == present:
        return Edited(text=text, edits=(), record=record)
    edits = _differences(source, desired)
    edits = edits or (Edit(code="unit-stale", subject=drop_in_path(source.name), line=0, before=None, after=None),)
    record = EditRecord(before=record.before, after=record.after, splices=(), edits=edits)
    return Edited(text=text, edits=edits, record=record)


def strip(source: UnitSource) -> bytes:
    """What is to stand in place of our drop-in for the unit to be what it was: nothing, always the empty bytes.

    Raises ManifestRefused (``changed``) where somebody wrote into the drop-in, so that removing it would take their
    lines too. Nothing underneath needs to be understood for this.
    """
    present = drop_in_of(source)
    if present and not is_untouched(present):
        hint = "move those lines into a drop-in of another name, or delete the file if they are not needed"
        raise refuse(drop_in_path(source.name), 0, "it was changed since kauditd wrote it", code="changed", hint=hint)
    return b""


def read(source: UnitSource) -> ManifestView:
    """The facts of the unit as it stands, ours included, in the form of a manifest's.

    ``pod_name`` is the unit, ``image`` the program, ``version`` unknown (""), ``pod_digest`` over the command line
    with every variable replaced. Paths are the host's own; ``run_as_user`` and ``run_as_group`` are None unless the
    unit gives numbers (``run_as`` has the names). Raises ManifestRefused.
    """
    service = service_of(source)
    flags = _flags(service)
    in_force = {flag.name: flag for flag in flags}
    names = [flag.name for flag in flags]
    address, port = listening(flags)
    user, group = run_as(source)
    return ManifestView(
        pod_name=source.name,
        namespace="",
        image=service.tokens[0].text.lstrip("-@:+!|"),
        version="",
        address=address,
        port=port,
        pod_digest=_digest("\0".join(_command_line(service)).encode("utf-8", "surrogateescape")),
        flags=flags,
        audit_flags=tuple(flag for flag in in_force.values() if flag.name.startswith("audit-")),
        duplicates=tuple(name for name in in_force if name.startswith("audit-") and names.count(name) > 1),
        log_host_path=_path(in_force.get(LOG_FLAG)),
        policy_host_path=_path(in_force.get(POLICY_FLAG)),
        nonce=None,
        run_as_user=int(user) if user.isdecimal() else None,
        run_as_group=int(group) if group.isdecimal() else None,
    )


def run_as(source: UnitSource) -> tuple[str, str]:
    """``User=`` and ``Group=`` of the service, "" where not given (root). The log directory must be theirs."""
    settings = service_of(source).settings
    return last_value(settings, "User"), last_value(settings, "Group")


def drop_in_is_stale(source: UnitSource, drop_in: bytes) -> bool:
    """Whether the command underneath is another than the one that ``drop_in`` was derived from.

    A package upgrade that only moves blanks or changes settings beside the command does not count: the drop-in would
    be the same. Raises ManifestRefused where the unit cannot be understood any more.
    """
    return derived_from(drop_in) != _origin_digest(service_of(underneath(source)))


def _derive(bare: UnitSource, desired: Desired) -> bytes:
    service = service_of(bare)
    arranged = arrange(service, desired.flags)
    lines, opened = open_directories(service.settings, desired.mounts)
    if not arranged.edits and not opened:
        return b""
    return compose(arranged.raws, lines, derived_from=_origin_digest(service))


def _differences(source: UnitSource, desired: Desired) -> tuple[Edit, ...]:
    """What the unit as it stands lacks; where our own drop-in makes it unreadable, what it lacks without that."""
    try:
        service = service_of(source)
        _, opened = open_directories(service.settings, desired.mounts)
        return (*arrange(service, desired.flags).edits, *opened)
    except ManifestRefused:
        service = service_of(underneath(source))
        return arrange(service, desired.flags).edits


def _verify(bare: UnitSource, result: UnitSource, desired: Desired) -> None:
    """Read the result as systemd will: every flag asked for is in force, and nothing else is different."""
    asked = {flag.name: flag.value for flag in desired.flags}
    before, after = ({flag.name: flag.value for flag in _flags(service_of(unit))} for unit in (bare, result))
    if after != before | asked:
        cause = "the new drop-in would not be the old command with our flags alone"
        hint = "report the unit; nothing was written"
        raise refuse(drop_in_path(bare.name), 0, cause, code="verify-failed", hint=hint)


def _require_ours(source: UnitSource, present: bytes) -> None:
    if present and derived_from(present) is None:
        hint = "give it another name, one that sorts before it; kauditd needs this one"
        raise refuse(drop_in_path(source.name), 0, "it is not kauditd's own", code="not-ours", hint=hint)


def _origin_digest(service: Service) -> Digest:
    """Over all that a drop-in is derived from: the words as they stand, and the audit flags that variables bring."""
    hidden = [
        f"{word.name}={word.value}"
        for word in service.flags
        if word.name.startswith("audit-") and not service.pieces[word.index].own
    ]
    return _digest("\0".join([*(token.raw for token in service.tokens), "", *hidden]).encode("utf-8"))


def _command_line(service: Service) -> list[str]:
    return [*(token.text for token in service.tokens[: service.program + 1]), *(piece.text for piece in service.pieces)]


def _flags(service: Service) -> tuple[Flag, ...]:
    return tuple(Flag(name=word.name, value=word.value) for word in service.flags)


def _path(flag: Flag | None) -> str | None:
    return flag.value if flag is not None and flag.value.startswith("/") else None


def _digest(content: bytes) -> Digest:
    return Digest(hashlib.sha256(content).hexdigest())
