"""Deploy release N, N+1 with a migration, and N again, as docs/runbook/roll-back.md describes.

Release N is this code without its newest migration: its schema is the one that a real release wrote.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.errors import SchemaMismatch
from shared.ports.steps import drive
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.town import database, migrations, schemas
from tests.properties.starts import begin
from tests.towns import TOWN, event
from tests.upgrades.older import as_of_the_first_release
from tests.upgrades.test_unticked_towns import OLDEST, a_world
from tests.worlds import World

BEFORE = schemas.NEWEST - 1
_KNOWN_EVENTS = next(
    statement.replace("CREATE TABLE", "CREATE TEMP TABLE IF NOT EXISTS")
    for statement in migrations.MIGRATIONS[-1].statements
    if statement.startswith("CREATE TABLE known_events")
)


@contextmanager
def release_before() -> Iterator[None]:
    """While it lasts, this code knows the schema before the newest one, makes towns with it, and migrates to it.

    This code needs a table that the release before has not: `known_events` is one of the connection, which no image has.
    """
    for version in range(schemas.OLDEST, schemas.NEWEST + 1):
        schemas._known(version)  # what each release wrote is read once, before the newest one is another
    apply = migrations.apply_pending
    known = tuple(each for each in migrations.MIGRATIONS if each.version <= BEFORE)
    made = Path(schemas.__file__).with_name("former") / f"{BEFORE:04}.sql"

    def create(sql: sqlite3.Connection) -> None:
        sql.execute(f"PRAGMA application_id = {schemas.APPLICATION_ID}")
        sql.execute(f"PRAGMA user_version = {BEFORE}")
        sql.executescript(made.read_text(encoding="utf-8"))

    def apply_pending(sql: sqlite3.Connection) -> tuple[str, ...]:
        with database.migrating(sql):
            sql.execute(_KNOWN_EVENTS)
        return apply(sql, migrations=known)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schemas, "NEWEST", BEFORE)
        patched.setattr(database, "SCHEMA_VERSION", BEFORE)
        patched.setattr(schemas, "create", create)
        patched.setattr(migrations, "apply_pending", apply_pending)
        yield


def schema_of(world: World) -> int:
    with database.opened(world.image(TOWN).image) as sql:
        return database.schema_version(sql)


@pytest.fixture
def upgraded(tmp_path: Path) -> tuple[World, int]:
    """A town that release N ticked and release N+1 has migrated, and the last commit of release N."""
    life = begin("busy")
    world = a_world(tmp_path, life, as_of_the_first_release(life.town.image()), OLDEST)
    life.close()
    with release_before():
        assert world.run(town_id=TOWN).outcome == "committed"
        assert schema_of(world) == BEFORE
        last = world.image(TOWN).txid
    world.clock.move(seconds=10)
    assert world.run(town_id=TOWN).outcome == "committed"
    assert schema_of(world) == BEFORE + 1
    world.clock.move(seconds=10)
    return world, last


def restored(world: World, txid: int) -> None:
    assert isinstance(world.objects, DirectoryObjects)
    kept = KeptPast(world.objects, world.objects, TOWN)
    old = drive(kept.at_txid(txid))
    drive(restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id="back"))


def test_the_older_release_refuses_a_migrated_town_and_changes_nothing_and_the_newer_one_goes_on(
    upgraded: tuple[World, int],
) -> None:
    world, _ = upgraded
    before = world.image(TOWN)
    world.post(event("town_started", event_id="meanwhile"), town_id=TOWN)
    with release_before(), pytest.raises(SchemaMismatch, match="this code knows schemas up to"):
        world.run(town_id=TOWN)
    assert world.image(TOWN).etag == before.etag
    assert len(world.inbox(TOWN)) == 1
    world.clock.move(seconds=10)
    assert world.run(town_id=TOWN).outcome == "committed"
    assert world.inbox(TOWN) == ()


def test_the_older_release_restores_its_own_commit_in_place_and_goes_on(upgraded: tuple[World, int]) -> None:
    """The runbook promised it, and the restore itself refused the newest commit, whose schema it did not know."""
    world, last = upgraded
    newest = world.image(TOWN).facts
    with release_before():
        restored(world, last)
        assert schema_of(world) == BEFORE
        facts = world.image(TOWN).facts
        assert facts.tick_no > newest.tick_no  # no number of the newer release is used again
        assert facts.epoch > newest.epoch
        world.clock.move(seconds=10)
        assert world.run(town_id=TOWN).outcome == "committed"
        with database.opened(world.image(TOWN).image) as sql:
            generations = sql.execute("SELECT generation, ended_generation FROM agent_metadata").fetchall()
        assert generations
        assert all(generation is None or generation >= (ended or 0) for generation, ended in generations)


def test_after_that_the_newer_release_can_be_deployed_again_and_applies_what_waits(upgraded: tuple[World, int]) -> None:
    world, last = upgraded
    with release_before():
        restored(world, last)
        world.clock.move(seconds=10)
        world.run(town_id=TOWN)
    world.post(event("town_started", event_id="meanwhile"), town_id=TOWN)
    world.clock.move(seconds=10)
    assert world.run(town_id=TOWN).outcome == "committed"
    assert world.inbox(TOWN) == ()
    assert schema_of(world) == BEFORE + 1
