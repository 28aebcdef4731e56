"""Scenario 191: an image that is not this town's newest one is refused, told, and never replaced by an empty town."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import AccessDenied, DamagedImage, SchemaMismatch, StoreUnavailable, UnknownTown, WrongTown
from shared.ports.object_store import StoredObject
from shared.runner.run_report import PassReport
from shared.town import database
from tests.scenarios.table import scenario
from tests.towns import a_town
from tests.worlds import World, a_world

HEAD = "towns/t1/head"


def another_towns_head(world: World) -> None:
    found = world.objects.get("towns/t2/head")
    assert found is not None
    world.objects.put(HEAD, found.body)


def another_towns_image_under_this_towns_name(world: World) -> None:
    """The manifest says t1, the database inside says t2."""
    other = a_town("t2")
    world.objects.delete(HEAD)
    other.town_id = "t1"
    world.put_in(other)


def an_older_schema(world: World) -> None:
    town = a_town()
    town.sql.set_authorizer(None)
    town.sql.execute("PRAGMA user_version = 0")
    world.objects.delete(HEAD)
    world.put_in(town)


def a_newer_schema(world: World) -> None:
    town = a_town()
    town.sql.set_authorizer(None)
    town.sql.execute(f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}")
    world.objects.delete(HEAD)
    world.put_in(town)


def another_application(world: World) -> None:
    town = a_town()
    town.sql.set_authorizer(None)
    town.sql.execute("PRAGMA application_id = 42")
    world.objects.delete(HEAD)
    world.put_in(town)


def a_flipped_bit(world: World) -> None:
    found = world.objects.get(HEAD)
    assert found is not None
    body = bytearray(found.body)
    body[len(body) // 2] ^= 1
    world.objects.put(HEAD, bytes(body))


def half_an_object(world: World) -> None:
    found = world.objects.get(HEAD)
    assert found is not None
    world.objects.put(HEAD, found.body[: len(found.body) // 2])


def nothing_at_all(world: World) -> None:
    world.objects.delete(HEAD)


WRONG = [
    pytest.param(another_towns_head, WrongTown, id="the head of t2"),
    pytest.param(another_towns_image_under_this_towns_name, WrongTown, id="the image of t2 under the name of t1"),
    pytest.param(an_older_schema, SchemaMismatch, id="a schema that no release wrote"),
    pytest.param(a_newer_schema, SchemaMismatch, id="the schema of a newer release"),
    pytest.param(another_application, SchemaMismatch, id="a database that is no town"),
    pytest.param(a_flipped_bit, DamagedImage, id="a flipped bit"),
    pytest.param(half_an_object, DamagedImage, id="half an object"),
    pytest.param(nothing_at_all, UnknownTown, id="a missing object"),
]


def look_at(wrong: Callable[[World], None]) -> tuple[World, PassReport, StoredObject | None]:
    """A pass over t1, which went wrong, and over t2, which has work to do; and what lay at the head of t1 before."""
    world = a_world(a_town(), a_town("t2").bead("b1"))
    wrong(world)
    before = world.objects.get(HEAD)
    return world, world.look(), before


@scenario(191)
@pytest.mark.parametrize(("wrong", "error"), WRONG)
def test_a_wrong_image_is_refused_and_told(wrong: Callable[[World], None], error: type[Exception]) -> None:
    world, done, _ = look_at(wrong)

    assert [(failed.town_id, type(failed.error)) for failed in done.failed] == [("t1", error)]
    [alert] = world.alerts.raised
    assert (alert.kind, alert.fingerprint) == ("town_failed", ("town_failed", error.__name__, "t1"))
    assert alert.tags["townId"] == "t1"
    assert alert.extra["hint"]


@scenario(191)
@pytest.mark.parametrize(("wrong", "error"), WRONG)
def test_a_wrong_image_stays_as_it_is_and_no_empty_town_is_made(
    wrong: Callable[[World], None], error: type[Exception]
) -> None:
    world, _, before = look_at(wrong)

    assert world.objects.get(HEAD) == before
    with pytest.raises(error):
        world.run()
    assert world.objects.get(HEAD) == before


@scenario(191)
@pytest.mark.parametrize(("wrong", "error"), WRONG)
def test_the_other_towns_go_on(wrong: Callable[[World], None], error: type[Exception]) -> None:
    world, done, _ = look_at(wrong)

    assert [(run.town_id, run.outcome) for run in done.runs] == [("t2", "committed")]
    assert len(world.runtime.seen("start")) == 1


@scenario(191)
def test_a_town_whose_image_was_damaged_is_looked_at_again() -> None:
    """Its marker stays, so that it goes on by itself once somebody has restored it."""
    world = a_world(a_town().bead("b1"))
    good = world.objects.get(HEAD)
    assert good is not None
    a_flipped_bit(world)
    world.look()

    world.objects.put(HEAD, good.body)
    [run] = world.look().runs

    assert run.outcome == "committed"


@scenario(191)
def test_a_warm_worker_does_not_trust_what_it_remembers() -> None:
    """The town was ticked before; then its head was damaged. The image in memory is not used in its place."""
    world = a_world(a_town().bead("b1"))
    world.look()
    a_flipped_bit(world)

    world.clock.move(seconds=5)
    done = world.look()

    assert [type(failed.error) for failed in done.failed] == [DamagedImage]


@scenario(191)
def test_no_access_is_told_and_a_store_that_is_away_is_waited_for() -> None:
    world = a_world(a_town().bead("b1"))
    denied = _Refusing(world, AccessDenied("get towns/t1/head: no rights"))
    away = _Refusing(world, StoreUnavailable("get towns/t1/head: 503"))

    refused = replace(world, objects=denied).look()
    assert [type(failed.error) for failed in refused.failed] == [AccessDenied]
    assert [alert.kind for alert in world.alerts.raised] == ["town_failed"]

    waited = replace(world, objects=away).look()
    assert [type(failed.error) for failed in waited.failed] == [StoreUnavailable]
    assert len(world.alerts.raised) == 1


@scenario(191)
def test_a_town_that_was_never_created_is_refused_by_every_way_in() -> None:
    world = World()

    with pytest.raises(UnknownTown):
        world.run(town_id="nowhere")
    with pytest.raises(UnknownTown):
        world.dry_run(town_id="nowhere")

    assert world.objects.list("").keys == ()


class _Refusing(MemoryObjects):
    """An object store with the markers of another one, of which no other object can be read."""

    def __init__(self, world: World, error: Exception) -> None:
        super().__init__()
        self._error = error
        for key in world.objects.list("due/").keys:
            self.put(key, b"")

    def get(self, key: str) -> StoredObject | None:
        raise self._error
