"""Whatever locks a file does it with `shared.adapters.file_locks`, which waits for no lock without a limit."""

import ast
from typing import Final

from tests.conventions.sources import files_under, name_of

HOME: Final = "shared/adapters/file_locks.py"
WITHOUT_WAITING: Final = {
    "shared/storage/scratch.py": "below the adapters; a directory that is in use is passed over",
}


def locks(tree: ast.AST) -> list[str]:
    """The calls that lock a file, as they are written."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [ast.unparse(call) for call in calls if ast.unparse(call.func) in ("fcntl.flock", "fcntl.lockf", "flock")]


def test_only_one_module_waits_for_locks_of_files() -> None:
    found = {
        name_of(path): text
        for path in files_under("functions", "infra", "shared")
        for text in locks(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert set(found) == {HOME, *WITHOUT_WAITING}
    assert all("LOCK_NB" in text for text in found.values())
