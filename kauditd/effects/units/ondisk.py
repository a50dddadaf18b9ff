"""The files of a unit, found where systemd looks for them (systemd.unit(5), src/shared/dropin.c)."""

import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kauditd.core import faults
from kauditd.core.hostproc import EnvironmentFile, UnitFile, UnitSource, environment_patterns, settings_of
from kauditd.core.layout import Layout, base_name, parent
from kauditd.errors import FileFault, ManifestRefused, quote

_SEARCH_PATH = (
    "/etc/systemd/system.control",
    "/run/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/system.attached",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
)
_LIMIT_BYTES = 1 << 20
_FILES_MAX = 256
_LINKS_MAX = 8
_NOWHERE = "/dev/null"


def read_unit(unit: str, *, layout: Layout, load_state: str = "") -> UnitSource:
    """All files that make ``unit``, as systemd would read them at its next reload.

    ``load_state`` is the running manager's word where there is one; only ``bad-setting`` and ``error`` count, since
    the files know the rest better. Paths in the answer are logical. Raises ``errors.FileFault`` for a file that
    is there and cannot be read.
    """
    state, names, fragment = _find_fragment(unit, layout)
    if state == "loaded" and load_state in {"bad-setting", "error"}:
        state = load_state
    drop_ins = tuple(_drop_ins(names, layout))
    source = UnitSource(name=unit, load_state=state, fragment=fragment, drop_ins=drop_ins)
    return UnitSource(
        name=unit,
        load_state=state,
        fragment=fragment,
        drop_ins=drop_ins,
        environment_files=tuple(_environment_files(source, layout)),
    )


def _find_fragment(unit: str, layout: Layout) -> tuple[str, tuple[str, ...], UnitFile | None]:
    """Load state, the unit's names (an alias is a link to the real one) and its file."""
    stem, at, rest = unit.partition("@")
    template = f"{stem}@.{rest.rpartition('.')[2]}" if at else unit
    for name in dict.fromkeys((unit, template)):
        for directory in _SEARCH_PATH:
            path = _follow(f"{directory}/{name}", layout)
            if path == _NOWHERE:
                return "masked", (unit,), None
            content = _read(path, layout)
            if content == b"":
                return "masked", (unit,), None
            if content is not None:
                real = base_name(path)
                names = (unit,) if real in {unit, template} else (unit, real)
                return "loaded", names, UnitFile(path=path, content=content)
    return "not-found", (unit,), None


def _drop_ins(names: tuple[str, ...], layout: Layout) -> Iterator[UnitFile]:
    """Every drop-in that counts, by file name; of two with one name the one in the directory named first."""
    found: dict[str, str] = {}
    for directory in _drop_in_directories(names):
        try:
            entries = sorted(entry.name for entry in Path(layout.host(directory)).iterdir())
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENOTDIR}:
                continue
            raise faults.file_fault(error, verb="list", path=directory) from error
        for entry in entries[:_FILES_MAX]:
            if entry.endswith(".conf") and not entry.startswith("."):
                found.setdefault(entry, f"{directory}/{entry}")
    for _, path in sorted(found.items()):
        real = _follow(path, layout)
        content = None if real == _NOWHERE else _read(real, layout)
        if content is not None:
            yield UnitFile(path=path, content=content)


def _drop_in_directories(names: tuple[str, ...]) -> Iterator[str]:
    """Of each search directory: the unit's own, the shorter ones at each dash, the template's; at last the type's."""
    for name in names:
        stem, _, kind = name.rpartition(".")
        prefix, at, _ = stem.partition("@")
        forms = [name]
        if at:
            forms.append(f"{prefix}@.{kind}")
        dashes = [index for index, character in enumerate(prefix) if character == "-"]
        forms += [f"{prefix[: index + 1]}.{kind}" for index in reversed(dashes) if index + 1 < len(stem)]
        for directory in _SEARCH_PATH:
            yield from (f"{directory}/{form}.d" for form in forms)
    for directory in _SEARCH_PATH:
        yield f"{directory}/{names[0].rpartition('.')[2]}.d"


def _environment_files(source: UnitSource, layout: Layout) -> Iterator[EnvironmentFile]:
    try:
        patterns = environment_patterns(settings_of(source), source.name)
    except ManifestRefused:
        return  # whoever edits the unit meets the same refusal and reports it
    for pattern in dict.fromkeys(pattern for pattern, _ in patterns):
        if not pattern.startswith("/"):
            continue
        paths = [pattern]
        if set(pattern) & set("*?["):
            # glob(3) knows no ``**`` and leaves names with a leading dot out.
            found = Path(layout.host("/")).glob(re.sub(r"\*+", "*", pattern).lstrip("/"))
            visible = sorted(str(path) for path in found if not path.name.startswith("."))
            paths = [layout.logical(path) for path in visible[:_FILES_MAX]]
        for path in paths:
            yield EnvironmentFile(pattern=pattern, path=path, content=_read(_follow(path, layout), layout))


def _follow(path: str, layout: Layout) -> str:
    """The logical path behind the links at ``path``: below a root an absolute link stays below it."""
    for _ in range(_LINKS_MAX):
        try:
            target = Path(layout.host(path)).readlink()
        except OSError:
            return path
        path = os.path.normpath(Path(parent(path)) / target)
    return path


def _read(path: str, layout: Layout) -> bytes | None:
    """The content of a regular file, None where there is none."""
    with faults.translated("read", path):
        try:
            descriptor = os.open(layout.host(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with _closing(descriptor):
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = b""
            while len(content) <= _LIMIT_BYTES and (piece := os.read(descriptor, _LIMIT_BYTES + 1)):
                content += piece
    if len(content) > _LIMIT_BYTES:
        message = f"cannot read {quote(path)}: it is larger than {_LIMIT_BYTES} bytes"
        raise FileFault(message, path=path, errno_name=faults.errno_name(errno.EFBIG))
    return content


@contextmanager
def _closing(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)
