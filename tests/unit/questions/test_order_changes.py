"""A failed bead says what was changed in its orders since work was done last: nothing connected the crash with the change."""

import pytest

from infra.reference.settings import every_setting, readers
from shared.ports.steps import drive
from shared.questions import order_changes
from shared.questions.explain import explain_bead
from shared.questions.failures import FailedLine
from shared.questions.setting_changes import words_of
from shared.questions.status import status
from shared.questions.town_view import town_view
from tests.broken_towns import RIG, a_town_that_a_change_broke
from tests.replayed import past_of
from tests.towns import event
from tests.worlds import World

ITSELF = {"git_url", "default_branch"}
"""What an order carries of a rig besides its settings."""


@pytest.fixture(scope="module")
def world() -> World:
    return a_town_that_a_change_broke()


def changed(failed: FailedLine | None) -> list[tuple[str | None, str]]:
    assert failed is not None
    return [(each.by, words_of(each.changes)) for each in failed.changed]


THE_CHANGE = [("ben", "merge_strategy of rig r none -> pr")]


def test_the_status_names_the_change_that_the_order_carried_and_no_other_one(world: World) -> None:
    [failed] = drive(status("t1", world.around, past=lambda: past_of(world))).failed
    assert changed(failed) == THE_CHANGE
    assert failed.holds_back == ("paint",)


def test_the_page_and_the_explanation_of_the_bead_say_the_same(world: World) -> None:
    [failed] = drive(town_view("t1", world.around, past_of(world))).status.failed
    told = drive(explain_bead("t1", "door", past_of(world), now=world.clock.now()))
    assert told.failed == failed


def test_a_bead_that_waits_for_it_is_explained_with_its_failure(world: World) -> None:
    told = drive(explain_bead("t1", "paint", past_of(world), now=world.clock.now()))
    assert told.failed is not None
    assert (told.failed.bead_id, told.failed.newest_start is not None) == ("door", True)
    assert changed(told.failed) == THE_CHANGE


def test_a_past_time_at_which_it_had_failed_already_knows_the_change_too(world: World) -> None:
    told = drive(explain_bead("t1", "door", past_of(world), now=world.clock.now(), at=world.clock.now()))
    assert changed(told.failed) == THE_CHANGE


def test_a_bead_that_was_done_is_explained_without_a_failure(world: World) -> None:
    assert drive(explain_bead("t1", "floor", past_of(world), now=world.clock.now())).failed is None


def test_a_change_after_the_last_start_is_not_named() -> None:
    world = a_town_that_a_change_broke()
    world.post(event("rig_registered", {**RIG, "config": {"merge_strategy": "direct"}}, event_id="change-03"))
    world.run()
    [failed] = drive(status("t1", world.around, past=lambda: past_of(world))).failed
    assert changed(failed) == THE_CHANGE


def test_the_settings_of_an_order_are_those_that_the_making_of_an_order_reads() -> None:
    """`infra.reference` finds the readers of each setting in the code."""
    read = [each for each in every_setting().settings if "shared/actions/start_context.py" in readers(each)]
    assert {each.name for each in read if each.name is not None} == order_changes.OF_TOWNS
    assert {each.of_rig for each in read if each.of_rig is not None} | ITSELF == order_changes.OF_RIGS
