"""The code that demo agents write: a small Python module per bead, and a test for it if a reviewer requests one.

A module lists the modules that existed when it was written. So the repository shows that a task of a convoy really started
from the work of the tasks that it depends on.
"""

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.domain.orders import OrderedBead

FEATURES: Final = "features"
TESTS: Final = "tests"
_CHECK_SECONDS: Final = 60.0


def module_path(bead: OrderedBead) -> str:
    """The path of a bead's module, relative to the root of the repository."""
    slug = re.sub(r"[^a-z0-9]+", "_", bead.title.lower()).strip("_")[:40].strip("_") or "work"
    return f"{FEATURES}/{slug}_{re.sub('[^a-z0-9]', '', bead.id.lower())[:8]}.py"


def write_module(tree: Path, bead: OrderedBead) -> str:
    """Write the module of a bead, unless it exists, and return its path."""
    path = tree / module_path(bead)
    if path.exists():
        return module_path(bead)
    path.parent.mkdir(exist_ok=True)
    stands_on = sorted(other.stem for other in path.parent.glob("*.py") if other.stem != "__init__")
    title = " ".join(bead.title.replace("\\", " ").replace('"', "'").split())
    lines = [
        f'"""{title}."""',
        "",
        f"BEAD = {bead.id!r}",
        f"BUILDS_ON = {stands_on!r}",
        "",
        "",
        "def describe() -> str:",
        '    """Say what this module is for."""',
        f"    return {title!r}",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return module_path(bead)


def path_of_test(module: str) -> str:
    """The path of a module's test."""
    return f"{TESTS}/test_{Path(module).name}"


def write_test(tree: Path, module: str) -> None:
    """Write a test that imports the module and the modules that it builds on."""
    name = Path(module).stem
    path = tree / path_of_test(module)
    path.parent.mkdir(exist_ok=True)
    lines = [
        "import importlib",
        "import unittest",
        "",
        "",
        "class Test(unittest.TestCase):",
        "    def test_it_describes_itself_and_stands_on_what_it_says(self) -> None:",
        f'        module = importlib.import_module("{FEATURES}.{name}")',
        "        self.assertTrue(module.describe())",
        "        for other in module.BUILDS_ON:",
        f'            importlib.import_module(f"{FEATURES}.{{other}}")',
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


def modules_without_test(tree: Path, changed: Sequence[str]) -> list[str]:
    """The changed modules that have no test."""
    modules = (path for path in changed if path.startswith(f"{FEATURES}/") and not path.endswith("__init__.py"))
    return [path for path in modules if not (tree / path_of_test(path)).exists()]


def problems(tree: Path, changed: Sequence[str]) -> list[str]:
    """The problems that a reviewer finds by running the code: files that do not compile, tests that fail."""
    found = [problem for path in changed if path.endswith(".py") for problem in _compile_problem(tree, path)]
    if not found and any((tree / TESTS).glob("test_*.py")):
        words = [sys.executable, "-B", "-m", "unittest", "discover", "--start-directory", TESTS]
        ran = subprocess.run(words, check=False, cwd=tree, capture_output=True, text=True, timeout=_CHECK_SECONDS)
        found += [] if ran.returncode == 0 else [f"the tests fail:\n{ran.stderr[-1500:]}"]
    return found


def _compile_problem(tree: Path, path: str) -> list[str]:
    try:
        compile((tree / path).read_text(encoding="utf-8"), path, "exec")
    except (SyntaxError, ValueError) as error:
        return [f"{path} does not compile: {error}"]
    return []
