"""The tree under test, as the house tests see it: the files that count, and every Python module parsed once."""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = "kauditd"
NOT_OURS = {"build", "dist", "node_modules", "__pycache__"}
SHELL_SHEBANG = re.compile(rb"#!\s*/(?:usr/)?bin/(?:env\s+)?(?:ba|da)?sh\b")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that belongs to the project: what git tracks, or (in an unpacked archive) what is there."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        # The checkout may belong to another user than the one who runs the tests (a container with a bind mount).
        command = [git, "-c", "safe.directory=*", "-C", str(ROOT), "ls-files", "-z"]
        listed = subprocess.run(command, check=True, capture_output=True).stdout.decode()
        candidates = [ROOT / name for name in listed.split("\0") if name]
    else:
        candidates = list(_walk(ROOT))
    return tuple(sorted(path for path in candidates if path.is_file() and not path.is_symlink()))


def _walk(directory: Path) -> Iterator[Path]:
    """Files below ``directory``, without hidden directories (``.ci`` excepted) and without what was built."""
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            hidden = entry.name.startswith(".") and entry.name != ".ci"
            if not hidden and entry.name not in NOT_OURS and not entry.name.endswith(".egg-info"):
                yield from _walk(entry)
        else:
            yield entry


def relative(path: Path) -> str:
    """The path as a person in the checkout would type it."""
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str | None:
    """The text of a tracked file, or None for one that is not text (compressed recordings, images)."""
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


@dataclass(frozen=True, slots=True)
class Module:
    """One Python file: where it is, its dotted name, its text and its syntax tree."""

    path: Path
    name: str
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether the file is the ``__init__`` of a package."""
        return self.path.name == "__init__.py"

    @property
    def line_count(self) -> int:
        """Lines as an editor counts them."""
        return len(self.text.splitlines())

    def imports(self) -> Iterator["Import"]:
        """Every import, wherever it stands: those inside functions bind the layers just as much."""
        yield from _imports(self, self.tree, inside_function=False)


@dataclass(frozen=True, slots=True)
class Import:
    """One imported name, absolute: ``from kauditd.core import model`` gives ``kauditd.core.model``."""

    target: str
    line: int
    inside_function: bool

    @property
    def top(self) -> str:
        """The distribution-level package."""
        return self.target.partition(".")[0]


def _imports(module: Module, node: ast.AST, *, inside_function: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                yield from (Import(alias.name, child.lineno, inside_function) for alias in names)
            case ast.ImportFrom(names=names):
                base = _absolute_base(module, child)
                yield from (Import(_joined(base, alias.name), child.lineno, inside_function) for alias in names)
            case _:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from _imports(module, child, inside_function=inside_function or is_function)


def _absolute_base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    kept = package[: len(package) - node.level + 1]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _joined(base: str, name: str) -> str:
    """The module that ``from base import name`` reaches: ``base.name`` where the tree has it, else ``base``."""
    return f"{base}.{name}" if base and f"{base}.{name}" in module_names() else base


@cache
def module_names() -> frozenset[str]:
    """Dotted names of every tracked Python file."""
    return frozenset(_dotted(path) for path in tracked_files() if path.suffix == ".py")


def _dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> tuple[Module, ...]:
    """Every tracked Python file, parsed."""
    found = []
    for path in tracked_files():
        if path.suffix == ".py":
            text = path.read_text(encoding="utf-8")
            found.append(Module(path, _dotted(path), text, ast.parse(text, filename=relative(path))))
    return tuple(found)


def product_modules() -> tuple[Module, ...]:
    """The modules that are installed."""
    return tuple(m for m in modules() if m.name == PRODUCT or m.name.startswith(PRODUCT + "."))


def shell_scripts() -> tuple[Path, ...]:
    """Every shell script, by suffix or by its first line: maintainer scripts and hooks have no suffix."""
    return tuple(
        path
        for path in tracked_files()
        if path.suffix in {".sh", ".bash"} or SHELL_SHEBANG.match(path.read_bytes()[:64])
    )


def cache_dir() -> Path:
    """Where built things live, outside the tree: ``$CACHE`` as the Makefile exports it, else the user's cache."""
    given = os.environ.get("CACHE")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / PRODUCT
