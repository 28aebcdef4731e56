"""Every question is answered about a town with damaged rows: it is needed most there."""

from typing import Any

import pytest

from shared.domain.shapes import document
from shared.ports.steps import drive
from shared.questions import bead_list, bead_view, rosters, status
from shared.questions.filters import BeadFilter
from tests.towns import TOWN, a_town
from tests.worlds import World, a_world

pytestmark = pytest.mark.illegal_state


@pytest.fixture
def damaged() -> World:
    town = a_town().agent("stranger", "witness", "working").bead("torn", created_at="yesterday", labels="{no")
    town.convoy("c", status="asleep").bead("lost", status="failed", updated_at="never")
    return a_world(town)


def test_a_status_names_what_cannot_be_read_and_shows_the_rest(damaged: World) -> None:
    shown = document(drive(status.status(TOWN, damaged.around)))
    assert {row["key"] for row in shown["unreadable"]} >= {"torn", "stranger"}
    assert "torn" in {bead["beadId"] for bead in shown["beads"]}


def test_lists_show_a_word_outside_its_set_as_it_is_stored_and_no_time_that_cannot_be_read(damaged: World) -> None:
    agents = by_id(document(drive(rosters.agents(TOWN, damaged.store)))["agents"], "agentId")
    beads = by_id(
        document(drive(bead_list.beads(TOWN, damaged.store, BeadFilter(), now=damaged.clock.now())))["beads"], "beadId"
    )
    assert agents["stranger"]["role"] == "witness"
    assert (beads["torn"]["createdAt"], beads["torn"]["labels"]) == (None, [])


def test_one_bead_is_shown_whatever_is_in_its_row(damaged: World) -> None:
    torn, convoy, stranger = (
        document(drive(bead_view.bead(TOWN, bead_id, damaged.store)))["bead"] for bead_id in ("torn", "c", "stranger")
    )
    assert (torn["createdAt"], torn["labels"]) == (None, "{no")
    assert (convoy["status"], convoy["convoy"]["staged"]) == ("asleep", False)
    assert stranger["agent"]["role"] == "witness"


def by_id(lines: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    return {line[name]: line for line in lines}
