"""Every answer is read back from its JSON: what a command shows of an API is what it shows of a store."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from shared.domain.shapes import document, read
from shared.history.retained_past import StoredPast
from shared.ports.steps import Steps, drive
from shared.questions import bead_list, bead_view, event_list, explain, rosters, status, tick_list
from shared.questions.dry_run_call import reconcile_dry_run
from shared.questions.filters import BeadFilter, EventFilter
from tests.replayed import a_busy_world, past_of
from tests.towns import TOWN
from tests.worlds import World


@pytest.fixture(scope="module")
def world() -> World:
    return a_busy_world()


Question = Callable[[World, StoredPast], Steps[Any]]
QUESTIONS: Final[dict[str, Question]] = {
    "status": lambda world, _: status.status(TOWN, world.around),
    "dry run": lambda world, _: reconcile_dry_run(TOWN, world.around, {"observe": True}, worker_id="w"),
    "beads": lambda world, _: bead_list.beads(TOWN, world.store, BeadFilter(), now=world.clock.now()),
    "convoys": lambda world, _: bead_list.convoys(TOWN, world.store),
    "agents": lambda world, _: rosters.agents(TOWN, world.store),
    "settings": lambda world, _: rosters.settings(TOWN, world.store),
    "events": lambda world, past: event_list.events(TOWN, world.store, past, EventFilter()),
    "ticks": lambda _, past: tick_list.ticks(TOWN, past),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_is_read_back_from_its_json(world: World, question: str) -> None:
    assert_read_back(drive(QUESTIONS[question](world, past_of(world))))


def test_every_bead_and_every_agent_is_read_back(world: World) -> None:
    past, now = past_of(world), world.clock.now()
    rows = world.town().rows("SELECT bead_id, type FROM beads ORDER BY bead_id")
    for number, (bead_id, kind) in enumerate(rows):
        assert_read_back(drive(bead_view.bead(TOWN, bead_id, world.store)))
        if number % 10 == 0:
            tell = explain.explain_agent if kind == "agent" else explain.explain_bead
            assert_read_back(drive(tell(TOWN, bead_id, past, now=now)))


def assert_read_back(answer: Any) -> None:
    said = json.loads(json.dumps(document(answer)))
    assert said == document(answer)
    assert document(read(type(answer), said)) == said
