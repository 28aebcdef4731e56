"""Two directions that import-linter cannot hold while some of the modules are still to be written."""

import ast
from typing import Final

import pytest

from tests.conventions.sources import files_under, imports_of, name_of

SHARED_BY_ENTRY_POINTS: Final = {
    "access",
    "api",
    "claims",
    "audit",
    "boundary",
    "headers",
    "ingestion",
    "log",
    "pace",
    "paths",
    "problems",
    "queries",
    "schedule",
    "settings",
    "wiring",
}


def test_rules_never_import_what_writes_a_town() -> None:
    writers = [
        f"{name_of(path)}:{line}: {name}"
        for path in files_under("shared/rules")
        for line, name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if name == "shared.town.writing" or name.startswith("shared.town.writing.")
    ]
    assert writers == []


def test_entry_points_do_not_know_one_another() -> None:
    acquainted = [
        f"{name_of(path)}:{line}: {name}"
        for path in files_under("functions")
        for line, name in imports_of(ast.parse(path.read_text(encoding="utf-8")))
        if _is_stranger(name_of(path), name)
    ]
    assert acquainted == []


def _is_stranger(path: str, imported: str) -> bool:
    own, parts = path.split("/"), imported.split(".")
    if parts[0] != "functions" or len(parts) < 2 or len(own) < 3:
        return False
    return parts[1] not in {own[1], *SHARED_BY_ENTRY_POINTS}


@pytest.mark.parametrize(
    ("path", "imported", "stranger"),
    [
        ("functions/tick/app.py", "functions.worker.app", True),
        ("functions/tick/app.py", "functions.schedule", False),
        ("functions/tick/app.py", "functions.settings.FunctionSettings", False),
        ("functions/tick/app.py", "shared.engine.tick", False),
        ("functions/wiring.py", "functions.settings.FunctionSettings", False),
    ],
)
def test_a_stranger_is_another_entry_point(path: str, imported: str, *, stranger: bool) -> None:
    assert _is_stranger(path, imported) is stranger
