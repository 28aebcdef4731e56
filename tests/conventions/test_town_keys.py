"""Every town key is defined once, in shared/town/town_keys.py, and nobody else knows its name."""

import ast
import re
from typing import Final

from shared.town.town_keys import KEYS
from tests.conventions.sources import ROOT, files_under, name_of

HOME: Final = "shared/town/town_keys.py"
OTHER_SQL: Final = {
    "shared/town/database.py": "it checks the identity and stores the schema version of an image that may not be a town",
    "shared/images/dump.py": "it dumps whole tables",
    "shared/moving/fencing.py": "it deletes the keys of the old installation",
}
WORDS_OF_OTHERS: Final = frozenset(
    {
        "breaker",
        "clock",
        "config",
        "counters",
        "drain",
        "id",
        "paused",
        "schema_version",
        "tick_id",
        "tick_no",
        "triage",
    }
)
"""Names that mean other things in other places as well. SQL that names them is found by `_STATEMENT`."""
ELSEWHERE: Final = {
    "next_due_at": {"shared/town/journal.py"},  # the journal's outputs have the same name for it
    "container_instance_id": {  # the heartbeat's field has the same name, and so has that of a sign of life
        "shared/events/agents.py",
        "shared/domain/processes.py",
        "shared/adapters/control_answers.py",
    },
}

_STATEMENT: Final = re.compile(r"\b(FROM|INTO|UPDATE) town\b(?!_)")


def _texts(source: str) -> list[str]:
    tree = ast.parse(source)
    return [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]


def test_the_specification_lists_every_town_key() -> None:
    page = (ROOT / "docs" / "spec" / "data-model.md").read_text(encoding="utf-8")
    section = page.partition("### 1.11 town")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| ([a-z_, ]+) \|", section, re.MULTILINE)
    assert {name for row in rows for name in row.split(", ")} == set(KEYS)


def test_only_the_keys_themselves_read_and_write_their_table() -> None:
    found = {
        name_of(path)
        for path in files_under("shared", "functions", "infra")
        if any(_STATEMENT.search(text) for text in _texts(path.read_text(encoding="utf-8")))
    }
    assert found - {HOME, *OTHER_SQL, "infra/devstack/drain_test.py"} == set()


def test_nobody_else_names_a_town_key_by_string() -> None:
    wanted = set(KEYS) - WORDS_OF_OTHERS
    found = {
        f"{name_of(path)}: {text}"
        for path in files_under("shared")
        if name_of(path) != HOME
        for text in _texts(path.read_text(encoding="utf-8"))
        if text in wanted and name_of(path) not in ELSEWHERE.get(text, set())
    }
    assert found == set()
