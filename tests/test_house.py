"""The house rules of lib/netwright, and of the tests themselves, read off the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lib" / "netwright"
# From the ground up. A floor imports from itself and from below.
FLOORS = (
    {"paths", "files", "device", "ranks"},
    {"nets"},
    {"weights"},
    {"images", "transforms", "imagenet", "figures", "pages"},
    {"toys"},
    {"models", "inference", "trained"},
    {"datasets", "bench"},
    {"evaluate"},
    {"tune"},
    {"probing"},
    {"explain"},
    {"views"},
    {"lessons", "notebooks", "workbook"},
    {"grading", "editions"},
    {"cli", "__main__", "doctor"},
    {"__init__"},  # only names its exports; they are imported when they are asked for
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}
FILES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def module_name(path: Path) -> str:
    """``netwright.nets.resnet`` for its path; a package's ``__init__.py`` is the package."""
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path) for path in FILES}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it, by its full name."""
    inside = path.is_relative_to(PACKAGE)  # else there is no package that a relative import could mean
    package = path.relative_to(PACKAGE.parent).parent.parts if inside else ()
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= names & MODULES
            if names - MODULES:  # something that the module itself holds
                found.add(base)
    return found


def room(module: str) -> str:
    return (module.split(".") + ["__init__"])[1]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_never_climb(path):
    here = room(module_name(path))
    assert here in FLOOR, f"Say in FLOORS where {here} stands."
    climbing = {
        module for module in imports(path) & MODULES - {"netwright"} if FLOOR.get(room(module), 0) > FLOOR[here]
    }
    assert climbing == set()
    if here not in ("cli", "__main__"):
        assert "netwright" not in imports(path), "import the rooms, not the front door"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_library_never_imports_its_peers(path):
    assert {name.split(".")[0] for name in imports(path)} & {"timm", "torchvision", "mmpretrain", "pytest"} == set()


def test_no_file_is_imported_by_nobody():
    outside = [ROOT / "hubconf.py", *(ROOT / "notebooks" / "source").glob("*.py")]
    used = set().union(*(imports(path) for path in outside if path.exists()))
    used = used.union(*(imports(path) - {module_name(path)} for path in FILES))
    # The front door names its rooms in a table.
    front = ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    named = {node.value for node in front if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    used |= named | {f"netwright.{name.removeprefix('.')}" for name in named}
    used |= {parent for name in used for parent in (name.rpartition(".")[0],)}
    assert MODULES - used - {"netwright", "netwright.__main__"} == set()


@pytest.mark.parametrize("path", sorted((PACKAGE / "nets").rglob("*.py")), ids=lambda path: path.name)
def test_a_net_is_at_most_300_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def can_fail(function: ast.FunctionDef) -> bool:
    """Whether a test asserts, expects an exception, or hands over to a function or a process that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            checked = any(keyword.arg == "check" and ast.unparse(keyword.value) == "True" for keyword in node.keywords)
            if checked or name in ("raises", "warns", "fail") or name.startswith(("assert_", "expect")):
                return True
    return False


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_every_test_can_fail(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if hasattr(node, "args")]
    named = [node for node in functions if getattr(node, "name", "").startswith("test")]
    assert [node.name for node in named if not can_fail(node)] == []


def test_import_netwright_brings_no_slow_package():
    code = "import sys, torch; before = set(sys.modules); import netwright; print(*sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = {name.split(".")[0] for name in done.stdout.split()}
    slow = {"matplotlib", "PIL", "timm", "torchvision", "IPython", "ipywidgets", "jupyterlab", "nbformat", "httpx"}
    assert brought & slow == set()
