"""Every metadata key of the town is defined once, in shared/domain/notes.py; the reserved ones are those of the specification."""

import ast
import re
from collections.abc import Iterator
from typing import Final

from shared.domain.notes import NOTES, RESERVED
from tests.conventions.sources import ROOT, files_under, name_of

HOME: Final = "shared/domain/notes.py"
NAMES: Final = frozenset(note.name for note in NOTES)
NOT_RESERVED: Final = {"kind", "triage_request_id", "comments"}
"""Keys of escalations, which only the town creates, and what is told to an agent. Producers may use these names too."""
READ_BY_PEOPLE: Final = {
    "shared/adapters/prompts/__init__.py": "a prompt names whatever the metadata of the bead holds",
    "shared/questions/": "answers show the metadata as it is stored",
}
_IN_SQL: Final = re.compile(r"'\$\.(\w+)'")


def test_the_specification_lists_every_reserved_key() -> None:
    page = (ROOT / "docs" / "spec" / "data-model.md").read_text(encoding="utf-8")
    section = page.partition("## 2. Metadata keys")[2].partition("- All keys above")[0]
    remarks = r"\([^)]*\)|^- [A-Z][^:]*:|after resolution|Triage batches:|Fix-up beads:"
    keys = re.findall(r"\w+", re.sub(remarks, " ", section, flags=re.MULTILINE))
    assert set(keys) == RESERVED


def test_what_is_not_reserved_is_said_here() -> None:
    assert NAMES - RESERVED == NOT_RESERVED


def metadata_places(tree: ast.AST) -> Iterator[str]:
    """Names of notes in `metadata["x"]`, `metadata.get("x")` and in dictionaries that are called metadata."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).endswith("metadata"):
            yield from _text(node.slice)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("metadata.get", "metadata.pop")):
            yield from _text(node.args[0])
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("set_metadata") and len(node.args) > 2:
            yield from (name for key in getattr(node.args[2], "keys", ()) for name in _text(key))


def _text(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value


def test_nobody_names_a_note_by_string() -> None:
    found = {
        f"{name_of(path)}: {name}"
        for path in files_under("shared")
        if name_of(path) != HOME and not name_of(path).startswith(tuple(READ_BY_PEOPLE))
        for name in metadata_places(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set()


def test_sql_that_looks_into_metadata_names_notes() -> None:
    """A statement is one constant text, so it spells the key; a key that is renamed or misspelt is found here."""
    found = {
        (name_of(path), name)
        for path in files_under("shared/town", "shared/engine", "shared/events")
        for name in _IN_SQL.findall(path.read_text(encoding="utf-8"))
    }
    assert found
    assert {name for _, name in found} <= NAMES
