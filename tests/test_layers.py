"""The direction of imports and the purity of ``core``, read from the syntax trees.

The import contracts in pyproject.toml say the same to import-linter; this runs where that is not installed, and it
knows two things more: what counts as a clock or as I/O, and which imports stand inside a function.
"""

import ast
import sys
import tomllib

from tests.tree import ROOT, Import, Module, product_modules, relative

LAYERS = ("errors", "core", "effects", "engine", "api", "daemon")  # each may import itself and those before it
APART = {"cli", "sim", "data"}
TOP_MODULES = {"_version", "__main__"}

IMPURE_MODULES = {
    "asyncio", "concurrent", "ctypes", "fcntl", "ftplib", "getpass", "glob", "http", "importlib", "locale", "logging",
    "mmap", "multiprocessing", "os", "pathlib", "platform", "pwd", "grp", "queue", "random", "resource", "sched",
    "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess",
    "syslog", "tempfile", "threading", "time", "urllib.request", "uuid", "warnings",
}  # fmt: skip
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "compile", "__import__", "breakpoint"}
CLOCK_METHODS = {"now", "utcnow", "today"}  # datetime's
CORE_LIBRARIES = {"ruamel", "msgspec"}  # parsers and writers that touch nothing but their arguments


def part_of(dotted: str) -> str:
    """The sub-package (or top module) of a product module: ``kauditd.core.model`` -> ``core``, ``kauditd`` -> ''."""
    return dotted.split(".")[1] if "." in dotted else ""


def ours(module: Module) -> list[Import]:
    return [i for i in module.imports() if i.top == "kauditd"]


def place(module: Module, line: int) -> str:
    return f"{relative(module.path)}:{line}"


def modules_of(part: str) -> list[Module]:
    found = [m for m in product_modules() if part_of(m.name) == part]
    assert found, f"kauditd.{part} has no module: the test would check nothing"
    return found


def test_every_part_has_a_place_in_the_order() -> None:
    """A new sub-package must be ranked before it may exist."""
    known = {"", *LAYERS, *APART, *TOP_MODULES}

    assert {part_of(m.name) for m in product_modules()} <= known


def test_imports_go_down_only() -> None:
    rank = {name: position for position, name in enumerate(LAYERS)}
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in product_modules()
        for item in ours(module)
        if part_of(module.name) in rank
        and part_of(item.target) in rank
        and rank[part_of(item.target)] > rank[part_of(module.name)]
    ]

    assert not wrong


def test_the_layers_import_the_command_line_never() -> None:
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in product_modules()
        for item in ours(module)
        if part_of(item.target) == "cli" and part_of(module.name) != "cli"
    ]

    assert not wrong


def test_cli_imports_itself_the_version_and_the_standard_library() -> None:
    """``kauditctl`` pays for every import on each call, and it must run where the daemon's libraries are absent."""
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in modules_of("cli")
        for item in module.imports()
        if not f"{item.target}.".startswith(("kauditd.cli.", "kauditd._version."))
        and item.top not in sys.stdlib_module_names
    ]

    assert not wrong


def test_effects_do_not_know_each_other() -> None:
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in modules_of("effects")
        for item in ours(module)
        if part_of(item.target) == "effects" and item.target.split(".")[:3] != module.name.split(".")[:3]
    ]

    assert not wrong


def test_the_simulated_node_is_loaded_by_the_demo_alone() -> None:
    """A product that imports its own stand-ins could fall back on them; ``kauditd demo`` asks for them by name."""
    users = [
        (module, item)
        for module in product_modules()
        for item in ours(module)
        if part_of(item.target) == "sim" and part_of(module.name) != "sim"
    ]
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module, item in users
        if module.name != "kauditd.daemon.main" or not item.inside_function
    ]

    assert not wrong


def test_the_root_package_and_the_errors_import_nothing() -> None:
    bare = [m for m in product_modules() if m.name in {"kauditd", "kauditd.errors", "kauditd._version"}]
    assert len(bare) == 3

    assert not [place(m, i.line) for m in bare for i in m.imports()]


def test_third_party_imports_are_declared() -> None:
    """What the package imports stands in pyproject.toml or in requirements/run.in, so that an installation has it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    declared += (ROOT / "requirements/run.in").read_text().splitlines()
    names = {"".join(c if c.isalnum() or c in "_-." else " " for c in line).split(" ")[0] for line in declared}
    roots = {name.partition(".")[0].replace("-", "_") for name in names if name}
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in product_modules()
        for item in module.imports()
        if item.top not in sys.stdlib_module_names and item.top not in {"kauditd", *roots}
    ]

    assert not wrong


def test_core_imports_nothing_that_reaches_the_world() -> None:
    wrong = [
        f"{place(module, item.line)} imports {item.target}"
        for module in modules_of("core")
        for item in module.imports()
        if item.top in IMPURE_MODULES
        or item.target in IMPURE_MODULES | {"urllib"}
        or (item.top not in sys.stdlib_module_names and item.top not in {"kauditd", *CORE_LIBRARIES})
    ]

    assert not wrong


def test_core_opens_nothing_and_reads_no_clock() -> None:
    wrong = []
    for module in modules_of("core"):
        for node in ast.walk(module.tree):
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                    wrong.append(f"{place(module, node.lineno)} calls {name}()")
                case ast.Call(func=ast.Attribute(value=ast.Name(id="io"), attr=name)) if name.startswith("open"):
                    wrong.append(f"{place(module, node.lineno)} calls io.{name}()")
                case ast.Call(func=ast.Attribute(attr=name)) if name in CLOCK_METHODS:
                    wrong.append(f"{place(module, node.lineno)} calls .{name}()")
                case ast.Call(func=ast.Attribute(attr="fromtimestamp")) if len(node.args) + len(node.keywords) < 2:
                    wrong.append(f"{place(module, node.lineno)} calls .fromtimestamp() and so reads the local zone")

    assert not wrong


def test_nothing_keeps_state_in_a_module() -> None:
    """No ``global``, and no list, dict or set under a variable's name: an upper-case name is a promise to leave it."""
    wrong = []
    for module in product_modules():
        wrong += [place(module, n.lineno) for n in ast.walk(module.tree) if isinstance(n, ast.Global)]
        for node in module.tree.body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and _is_mutable(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [t.id for t in targets if isinstance(t, ast.Name)]
                wrong += [f"{place(module, node.lineno)} {n}" for n in names if not n.strip("_").isupper()]

    assert not [entry for entry in wrong if not entry.endswith("__all__")]


def _is_mutable(value: ast.expr | None) -> bool:
    match value:
        case ast.List() | ast.Dict() | ast.Set() | ast.ListComp() | ast.DictComp() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id=name)):
            return name in {"list", "dict", "set", "bytearray", "deque", "defaultdict"}
        case _:
            return False
