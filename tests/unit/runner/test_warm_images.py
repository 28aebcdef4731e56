"""The databases that stay open between runs: used only for the very image that they show."""

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.ports.town_store import TownImage
from shared.storage import keys
from shared.town import database
from shared.town.large_images import LargeImage
from tests.towns import a_town, event
from tests.unit.runner.test_no_room import LargeTowns
from tests.worlds import World, a_world


def _a_world_that_has_ticked() -> World:
    """Its loop has committed a tick, and keeps the town's database open."""
    world = a_world(a_town().bead("b1"))
    world.post(event("bead_updated", {"body": "more"}, bead="b1"))
    world.clock.move(seconds=7)
    assert [run.outcome for run in world.look().runs] == ["committed"]
    return world


def test_the_next_run_finds_the_database_as_the_last_one_has_left_it() -> None:
    world = _a_world_that_has_ticked()
    image = world.image()
    with world.warm.opened(image) as first:
        assert database.image_of(first.sql) == image.image
    with world.warm.opened(image) as again:
        assert again.sql is first.sql


def test_ticks_of_an_open_database_make_the_images_that_they_make_from_bytes() -> None:
    cold, warm = _a_world_that_has_ticked(), _a_world_that_has_ticked()
    for _ in range(4):
        cold.warm = type(cold.warm)(open_limit=0)
        for world in (cold, warm):
            world.clock.move(seconds=40)
            world.look()
        assert warm.image().image == cold.image().image


def test_an_image_that_somebody_else_has_committed_is_opened_anew() -> None:
    world = _a_world_that_has_ticked()
    world.post(event("bead_updated", {"body": "still more"}, bead="b1"))
    world.run()  # by another worker, which knows nothing of the loop's databases
    newest = world.image()
    with world.warm.opened(newest) as town:
        assert database.image_of(town.sql) == newest.image


def test_what_a_lost_race_has_left_in_a_database_is_never_seen_again() -> None:
    world = _a_world_that_has_ticked()
    image = world.image()
    with world.warm.opened(image) as lost:
        lost.sql.execute("DELETE FROM ticks")
        lost.shows = None
    with world.warm.opened(image) as town:
        assert database.image_of(town.sql) == image.image


def test_a_run_that_fails_leaves_no_database_open() -> None:
    world = _a_world_that_has_ticked()
    image = world.image()
    with pytest.raises(KeyError), world.warm.opened(image) as failing:
        raise KeyError("a bug")
    with world.warm.opened(image) as town:
        assert town.sql is not failing.sql


def test_no_more_databases_stay_open_than_are_allowed() -> None:
    world = _a_world_that_has_ticked()
    world.warm.open_limit = 1
    image = world.image()
    other = replace(image, town_id="other")
    with world.warm.opened(other) as first:
        pass
    with world.warm.opened(image):
        pass
    with world.warm.opened(other) as again:
        assert again.sql is not first.sql


def test_a_head_that_says_later_is_believed_without_its_image() -> None:
    """The warm image cannot even be opened, and nobody notices before the town is due."""
    world = _a_world_that_has_ticked()
    world.live_through(timedelta(seconds=20))
    unreadable = replace(world.image(), content=b"no database")
    world.warm.forget(unreadable.town_id)
    world.warm.keep(unreadable)
    due = unreadable.facts.next_due
    assert due is not None
    assert due > world.clock.now()
    world.objects.put(keys.due_marker(unreadable.town_id, world.clock.now()).key, b"")
    report = world.look()
    assert [(run.outcome, run.next_due) for run in report.runs] == [("not_due", due)]


@pytest.fixture
def large() -> LargeTowns:
    """A loop has committed a tick of a town whose image lies in a file."""
    world = LargeTowns()
    world.put_in(a_town().bead("b1"))
    _let_it_tick(world)
    return world


def _let_it_tick(world: World) -> None:
    world.post(event("bead_updated", {"body": "more"}, bead="b1"))
    world.clock.move(seconds=7)
    assert [run.outcome for run in world.look().runs] == ["committed"]


def _warm_image(world: World) -> TownImage:
    (image,) = world.warm.images.values()
    assert isinstance(image.content, LargeImage)
    return image


def test_the_file_of_a_large_image_stays_open_from_run_to_run(large: LargeTowns) -> None:
    with large.warm.opened(_warm_image(large)) as first:
        pass
    _let_it_tick(large)
    with large.warm.opened(_warm_image(large)) as again:
        assert again.sql is first.sql
    assert _warm_image(large).image == large.image().image


def test_a_file_that_has_shown_another_image_meanwhile_shows_the_newest_one_again(large: LargeTowns) -> None:
    """The image before it was read: for a lost race, a check or a page that somebody asked for."""
    before = _warm_image(large)
    _let_it_tick(large)
    newest = _warm_image(large)
    wanted = newest.image
    assert before.image != wanted
    with large.warm.opened(newest) as town:
        assert town.sql.execute("SELECT COUNT(*) FROM ticks").fetchone() == (2,)
    _let_it_tick(large)
    assert _warm_image(large).image == large.image().image


def test_a_run_on_an_older_image_of_the_same_file_opens_it_anew(large: LargeTowns) -> None:
    before = _warm_image(large)
    _let_it_tick(large)
    with large.warm.opened(before) as town:
        assert town.sql.execute("SELECT COUNT(*) FROM ticks").fetchone() == (1,)


def test_the_file_of_an_image_that_another_worker_has_replaced_is_closed_as_soon_as_that_is_known(
    large: LargeTowns,
) -> None:
    """Its disk space is free again then, and not when the town is run next."""
    with large.warm.opened(_warm_image(large)) as town:
        pass
    large.post(event("bead_updated", {"body": "still more"}, bead="b1"))
    large.run()
    large.warm.keep(large.image())
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        town.sql.execute("SELECT 1")
