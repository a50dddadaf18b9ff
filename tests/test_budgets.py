"""Sizes, annotations, docstrings and words: the habits that keep the tree readable, each as a number or a rule."""

import ast
import io
import os
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.tree import ROOT, Module, modules, product_modules, relative, text_of, tracked_files

FILE_SOFT, FILE_HARD = 350, 500
FUNCTION_P95, FUNCTION_HARD = 45, 70
ERRORS_LINES = 130
MOST_IGNORES = 5
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "stuff"}
IGNORE = re.compile(r"#\s*(?P<kind>type:\s*ignore|noqa|ruff:\s*noqa|pragma:\s*no\s*cover|mypy:)(?P<rest>.*)")
JUSTIFIED = re.compile(r"(\[[\w-]+(?:,\s*[\w-]+)*\]|:\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)\s*#\s*\S.{9,}")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(module: Module) -> Iterator[Function]:
    return (node for node in ast.walk(module.tree) if isinstance(node, Function))


def length(node: Function) -> int:
    """From ``def`` to the last line; decorators are the caller's business."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def percentile_95(values: list[int]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else float(values[0])


def test_no_file_is_longer_than_the_hard_limit() -> None:
    assert not [f"{relative(m.path)}: {m.line_count} lines" for m in modules() if m.line_count > FILE_HARD]


def test_nine_files_of_ten_keep_the_soft_limit() -> None:
    """The limit is soft for the one subject that does not divide well, not for the tree."""
    long = [f"{relative(m.path)}: {m.line_count} lines" for m in product_modules() if m.line_count > FILE_SOFT]

    assert len(long) * 10 <= len(product_modules()), long


def test_no_function_is_longer_than_the_hard_limit() -> None:
    found = [(m, f) for m in modules() for f in functions(m)]
    too_long = [f"{relative(m.path)}:{f.lineno} {f.name}: {length(f)}" for m, f in found if length(f) > FUNCTION_HARD]

    assert not too_long


def test_functions_are_short_at_the_95th_percentile() -> None:
    lengths = [length(f) for m in product_modules() for f in functions(m)]

    assert percentile_95(lengths) <= FUNCTION_P95


def test_everything_is_annotated() -> None:
    bare = []
    for module in modules():
        for function in functions(module):
            arguments = function.args
            every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            every += [a for a in (arguments.vararg, arguments.kwarg) if a is not None]
            names = [a.arg for a in every if a.annotation is None and a.arg not in {"self", "cls", "mcs"}]
            if names or function.returns is None:
                bare.append(f"{relative(module.path)}:{function.lineno} {function.name} {names}")

    assert not bare


def comments(module: Module) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def test_ignores_are_few() -> None:
    found = [
        f"{relative(module.path)}:{line} {comment}"
        for module in product_modules()
        for line, comment in comments(module)
        if IGNORE.search(comment)
    ]

    assert len(found) <= MOST_IGNORES, found


def test_every_ignore_carries_its_code_and_its_reason() -> None:
    wrong = [
        f"{relative(module.path)}:{line} {comment}"
        for module in modules()
        for line, comment in comments(module)
        if (match := IGNORE.search(comment)) and not JUSTIFIED.search(match["rest"])
    ]

    assert not wrong


def test_every_package_states_its_charter() -> None:
    """A package says what it may do and what it may not, where its readers look first."""
    packages = [m for m in product_modules() if m.is_package]
    silent = [relative(m.path) for m in packages if "Charter" not in (ast.get_docstring(m.tree) or "")]

    assert packages
    assert not silent


def test_every_public_object_has_a_docstring() -> None:
    silent = []
    for module in product_modules():
        if not ast.get_docstring(module.tree):
            silent.append(relative(module.path))
        silent += [f"{relative(module.path)}:{node.lineno} {name}" for name, node in _undocumented(module.tree)]

    assert not silent


def _undocumented(tree: ast.Module) -> Iterator[tuple[str, ast.stmt]]:
    """Public classes and functions of a module, and the public methods that public classes without a base define.

    A method of a class that has bases may fulfil a contract which is stated there.
    """
    for node in tree.body:
        if not isinstance(node, Function | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and not node.bases:
            for method in node.body:
                if isinstance(method, Function) and not method.name.startswith("_") and not ast.get_docstring(method):
                    yield f"{node.name}.{method.name}", method


def test_module_names_say_what_is_inside() -> None:
    vague = [relative(m.path) for m in modules() if VAGUE_NAMES & set(m.name.split("."))]

    assert not vague


def test_the_exception_tree_stays_small() -> None:
    errors = next(m for m in product_modules() if m.name == "kauditd.errors")

    assert errors.line_count <= ERRORS_LINES
    assert not list(errors.imports())


# Words. Each rule is put together at run time, so that no rule finds itself.


def lines_with(pattern: re.Pattern[str], *, apart_from: Callable[[Path], bool] = lambda _path: False) -> list[str]:
    found = []
    for path in tracked_files():
        text = text_of(path)
        if text is not None and not apart_from(path) and pattern.search(text):
            lines = enumerate(text.splitlines(), start=1)
            found += [
                f"{relative(path)}:{number}: {line.strip()[:120]}" for number, line in lines if pattern.search(line)
            ]
    return found


def is_recording(path: Path) -> bool:
    """Test data recorded elsewhere may name the paths of the machine it was recorded on (a container's HOME)."""
    return path.is_relative_to(ROOT / "tests/data")


def test_no_left_over_markers() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")

    assert not lines_with(re.compile(r"\b(?:" + "|".join(words) + r")\b"))


def test_no_path_of_the_machine_it_was_written_on() -> None:
    """The checkout, its parent, the interpreter's prefix: none of them exists where the tree goes next."""
    system = {"/", "/usr", "/usr/local", "/opt", "/srv", "/tmp", "/var", "/var/tmp", "/home", "/src", "/root"}
    places = {str(ROOT), str(ROOT.parent), sys.prefix, sys.base_prefix, str(Path.home())} - system
    local = "|".join(re.escape(place) for place in sorted(places) if len(place) > 4)

    assert not lines_with(re.compile(rf"(?<![\w.*/-])(?:{local})(?![\w-])"))


def test_no_path_of_a_person() -> None:
    people = re.compile(r"(?<![\w.*/<>$}-])/(?:ho" + r"me/[a-z]\w*|User" + r"s/\w+|ro" + r"ot/)(?![<{$])")

    assert not lines_with(people, apart_from=is_recording)


def test_no_package_registry_by_name() -> None:
    """Where packages come from is the machine's configuration (a mirror, an offline directory), never the project's."""
    hosts = registry_hosts()
    if not hosts:
        pytest.skip("no package manager on this machine names a registry")

    assert not lines_with(re.compile("|".join(rf"(?<![\w.-]){re.escape(host)}(?![\w-])" for host in sorted(hosts))))


def registry_hosts() -> set[str]:
    """The hosts that pip, go, npm and apt are configured (or built) to fetch from on this machine."""
    told = [
        _output([sys.executable, "-m", "pip", "config", "list"]),
        _output([sys.executable, "-m", "pip", "install", "--help"]),  # states the built-in default index
        _output(["go", "env", "GOPROXY"]).replace(",", " ").replace("|", " "),
        _output(["npm", "config", "get", "registry"]),
    ]
    told += [value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "GOPROXY", "NPM_CONFIG_"))]
    for source in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*.*"))]:
        if source.is_file():
            lines = source.read_text(errors="replace").splitlines()
            told += [line for line in lines if not line.lstrip().startswith("#")]
    urls = re.findall(r"https?://[^\s'\",\])]+", "\n".join(told))
    hosts = {urlsplit(url).hostname or "" for url in urls}
    return {host for host in hosts if "." in host and not host.startswith(("127.", "<"))}


def _output(command: list[str]) -> str:
    """What a command prints, or nothing where it is not installed or fails."""
    if not shutil.which(command[0]):
        return ""
    done = subprocess.run(
        command, cwd="/", capture_output=True, text=True, check=False, timeout=50, stdin=subprocess.DEVNULL
    )
    return done.stdout if done.returncode == 0 else ""


def test_an_ignore_without_reason_is_told_from_one_with() -> None:
    """The rule on ignores looks for something: a code alone or a reason alone does not do."""
    kinds = ("type: " + "ignore", "no" + "qa", "pragma: no " + "cover")
    bare = [f"# {kinds[0]}", f"# {kinds[1]}", f"# {kinds[2]}", f"# {kinds[0]}[misc]", f"# {kinds[1]}: S101"]
    good = [f"# {kinds[0]}[misc]  # the stub lacks it", f"# {kinds[1]}: S101  # a test asserts by assert"]

    assert all(IGNORE.search(comment) for comment in bare + good)
    assert not any(JUSTIFIED.search(comment) for comment in bare)
    assert all(JUSTIFIED.search(comment) for comment in good)
