"""What an editor of a unit looks at: the unit's files as they are on disk, in the order in which systemd reads them."""

from dataclasses import dataclass, replace

from kauditd.core.layout import base_name

DROP_IN_NAME = "90-kauditd.conf"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """A fragment or a drop-in: its logical path and its bytes."""

    path: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentFile:
    """A file that an ``EnvironmentFile=`` names. ``content`` is None where it is missing or cannot be read.

    ``pattern`` is what ``environment_patterns`` gave; a pattern with ``*``, ``?`` or ``[`` may have any number of
    files, sorted by path, as glob(3) gives them to systemd.
    """

    pattern: str
    path: str
    content: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitSource:
    """One unit as ``systemctl cat`` shows it, ours included: the fragment first, then the drop-ins in their order.

    ``load_state`` is systemd's word (``loaded``, ``masked``, ``not-found``, ``bad-setting``, ``error``); a reader of
    bare files says ``loaded`` unless the file is missing or a link to /dev/null. ``fragment`` is None where there is
    none. Drop-ins are ordered by file name, whatever directory they are in (systemd.unit(5)).
    """

    name: str
    load_state: str
    fragment: UnitFile | None
    drop_ins: tuple[UnitFile, ...] = ()
    environment_files: tuple[EnvironmentFile, ...] = ()


def drop_in_path(unit: str) -> str:
    """The logical path of our drop-in for ``unit``."""
    return f"/etc/systemd/system/{unit}.d/{DROP_IN_NAME}"


def drop_in_of(source: UnitSource) -> bytes | None:
    """The content of our drop-in, None where there is none."""
    return next((file.content for file in source.drop_ins if file.path == drop_in_path(source.name)), None)


def underneath(source: UnitSource) -> UnitSource:
    """The unit without our drop-in: what everybody else made of it."""
    ours = drop_in_path(source.name)
    return replace(source, drop_ins=tuple(file for file in source.drop_ins if file.path != ours))


def with_drop_in(source: UnitSource, content: bytes) -> UnitSource:
    """The unit as it is once our drop-in holds ``content`` (empty: once it is gone)."""
    bare = underneath(source)
    if not content:
        return bare
    ours = UnitFile(path=drop_in_path(source.name), content=content)
    files = sorted((*bare.drop_ins, ours), key=lambda file: base_name(file.path))
    return replace(bare, drop_ins=tuple(files))
