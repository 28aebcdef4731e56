"""Every answer is one frozen model: no second form of it beside the model, and one way of naming in the whole document.

`as_json` is left to what is stored or sent in a form that others rely on. Each of these is listed here with its reason.
"""

import ast
import json
from collections.abc import Iterator
from typing import Any, Final

from infra.ops import openapi
from tests import documented
from tests.conventions.sources import files_under, name_of

STORED: Final = {
    "shared/actions/base.py: Action.as_json": "an action as the journal stores it",
    "shared/domain/restores.py: InPlaceRestore.as_json": "a restore in a journal row and in the town key `restores`",
    "shared/domain/processes.py: ProcessStatus.as_json": "the status of an agent in the inputs of a journal row",
    "shared/domain/report.py: AppliedEvent.as_json": "an event in the outputs of a journal row",
    "shared/domain/report.py: JudgedAction.as_json": "an action in the outputs of a journal row",
    "shared/domain/report.py: BrokenInvariant.as_json": "a violation in the outputs of a journal row",
    "shared/domain/senders.py: Sender.as_json": "the sender of an event in an inbox object, an image and a journal row",
    "shared/domain/tick.py: Envelope.as_json": "an event in an inbox object and in the inputs of a journal row",
    "shared/domain/tick.py: Archived.as_json": "the beads that may leave, in the inputs of a journal row",
    "shared/domain/tick.py: Observations.as_json": "the observations in the inputs of a journal row",
    "shared/domain/tick.py: TickInput.as_json": "the column `inputs` of the journal",
    "shared/domain/wire.py: WireObject.as_json": "orders, which agents of older images read",
    "shared/events/episodes.py: Episode.as_json": "an episode in the town key `forge_episodes`",
    "shared/replay/recordings/changes.py: as_json": "the rows of a recording",
    "shared/town/writing/beads.py: Failure.as_json": "the metadata of a line of the audit trail",
}

TYPED_DICTS: Final = {
    "shared/adapters/local_supervisor.py: AsUser": "the named arguments of `subprocess` for a process with a user of its own",
    "shared/ports/town_past.py: JournalRow": "a row of the journal as it is stored: its names are those of the columns",
    "shared/town/town_keys.py: TriageParts": "the named arguments of a write: parts of a town key as they are stored",
}

FOREIGN: Final = (
    "shared/adapters/github/app.py",
    "infra/agents/town_agent/github_shapes.py",
    "infra/agents/town_agent/gitlab_shapes.py",
)
"""Modules that only read answers of forges: no answer of ours is in them."""

STORED_FORMS: Final = ("Envelope", "JournalRow")
"""Components that are in snake_case because they are stored so. Posted events are, too: agents of every version post them."""


Definition = ast.ClassDef | ast.FunctionDef


def _definitions() -> Iterator[tuple[str, Definition]]:
    """Every class and function, with its file and, for a method, its class."""
    for path in files_under("shared", "functions", "infra"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for holder in ast.walk(tree):
            if isinstance(holder, ast.Module | ast.ClassDef):
                prefix = f"{holder.name}." if isinstance(holder, ast.ClassDef) else ""
                for node in holder.body:
                    if isinstance(node, Definition):
                        yield f"{name_of(path)}: {prefix}{node.name}", node


def test_as_json_makes_only_what_is_stored_or_sent() -> None:
    found = {name for name, node in _definitions() if node.name == "as_json"}
    assert found == set(STORED)


def test_no_answer_is_a_typed_dict() -> None:
    found = {
        name
        for name, node in _definitions()
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base) == "TypedDict" for base in node.bases)
        and not name.startswith(FOREIGN)
    }
    assert found == set(TYPED_DICTS)


def test_every_key_of_every_answer_is_in_camel_case_except_the_columns_of_a_row() -> None:
    document = json.loads(openapi.TARGET.read_text(encoding="utf-8"))
    components = document["components"]["schemas"]
    posted = documented.below("Event")
    named = {
        f"{component}.{name}"
        for component, schema in components.items()
        if component not in {*STORED_FORMS, *posted}
        for name in _keys_of(schema)
    }
    assert {name for name in named if "_" in name.partition(".")[2]} == set()


def _keys_of(schema: Any) -> Iterator[str]:
    """Every property name in a schema, those under `row` left out."""
    if isinstance(schema, list):
        for each in schema:
            yield from _keys_of(each)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties
            yield from _keys_of([inner for name, inner in properties.items() if name != "row"])
        yield from _keys_of([inner for name, inner in schema.items() if name != "properties"])
