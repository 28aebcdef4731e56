"""A tick reads the names of agents once; whatever changes one is seen by the next agent of the same tick."""

from collections.abc import Callable

import pytest

from shared.domain.states import Role
from shared.town import database
from shared.town.town import Town
from shared.town.writing import agents, beads
from shared.town.writing.agents import POLECAT_NAMES
from tests.towns import a_town
from tests.unit.actions.builders import on

FIRST, SECOND = POLECAT_NAMES[:2]


def hired(town: Town) -> tuple[str, str]:
    """A new agent at work: its id and its name."""
    agent_id = agents.get_or_create(town, Role.POLECAT, "rig-1")
    town.sql.execute("UPDATE agent_metadata SET status = 'working' WHERE bead_id = ?", (agent_id,))
    return agent_id, named(town, agent_id)


def named(town: Town, agent_id: str) -> str:
    return str(town.sql.execute("SELECT title FROM beads WHERE bead_id = ?", (agent_id,)).fetchone()[0])


def takes_another_title(town: Town, agent_id: str) -> None:
    beads.set_fields(town, agent_id, {"title": SECOND})


@pytest.mark.parametrize(
    ("change", "then"), [(beads.delete, FIRST), (takes_another_title, POLECAT_NAMES[2])], ids=["deleted", "renamed"]
)
def test_the_name_of_the_next_agent_follows_from_what_the_others_are_called_now(
    change: Callable[[Town, str], object], then: str
) -> None:
    rows = a_town()
    town = on(rows).town
    first, name = hired(town)
    assert name == FIRST
    change(town, first)
    assert hired(town)[1] == then


def test_the_name_of_an_agent_whose_creation_is_undone_is_free_again() -> None:
    rows = a_town()
    town = on(rows).town
    hired(town)
    noted = town.noted()
    with pytest.raises(ZeroDivisionError), database.savepoint(town.sql):
        fails_after(hired(town)[1] == SECOND)
    town.forget_since(noted)
    assert hired(town)[1] == SECOND


def fails_after(as_expected: bool) -> None:
    """An action that goes wrong at its end."""
    assert as_expected
    raise ZeroDivisionError


def test_a_refinery_whose_row_cannot_be_read_is_not_replaced_by_a_second_one() -> None:
    """A rig has one refinery; another one beside it would review what the first one still holds."""
    rows = a_town().agent("f", "refinery")
    rows.update("agent_metadata", "f", last_activity_at="soon")
    town = on(rows).town
    assert agents.get_or_create(town, Role.REFINERY, "rig-1") == "f"


def test_a_polecat_whose_row_cannot_be_read_gets_no_work() -> None:
    rows = a_town().agent("p").agent("q")
    rows.update("agent_metadata", "p", last_activity_at="soon")
    town = on(rows).town
    assert agents.get_or_create(town, Role.POLECAT, "rig-1") == "q"
