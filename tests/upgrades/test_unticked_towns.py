"""A town that no tick has migrated yet: every question answers as about the same town in the newest schema, every command
works, and the image stays as it is until a tick.
"""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.shapes import document
from shared.history.retained_past import StoredPast
from shared.moving.transfer import import_town
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.questions import bead_list, bead_view, explain, rosters
from shared.questions.dry_run import rehearse
from shared.questions.event_list import events
from shared.questions.filters import BeadFilter, EventFilter
from shared.questions.next_due import next_due
from shared.questions.snapshot import next_input
from shared.questions.status import status
from shared.questions.tick_list import ticks
from shared.replay.faithful import replay
from shared.replay.time_window import Window
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.telemetry.waiting_counts import WaitingCounts
from shared.town import database, migrations, schemas
from tests.fakes import FakeClock
from tests.integration.townctl_calls import Townctl
from tests.properties.life import Life
from tests.properties.starts import begin
from tests.towns import TOWN
from tests.upgrades.older import as_of_the_first_release, demo_image
from tests.worlds import World

OLDEST = schemas.OLDEST
LIVES = ("busy", "in review", "landing", "pull requests", "stalled", "tired", "talkative", "paused", "imported")


def migrated(image: bytes) -> bytes:
    with database.opened(image) as sql:
        database.begin(sql)
        migrations.apply_pending(sql)
        database.commit(sql)
        return database.image_of(sql)


def a_world(folder: Path, life: Life, image: bytes, schema: int) -> World:
    """A world on a directory, with this image as the town's only commit."""
    world = World(objects=DirectoryObjects(folder))
    world.clock = FakeClock(life.now)
    number = life.town.value("tick_no")
    facts = CommitFacts(f"{number}-old", number, life.now, life.next_due, schema)
    drive(world.store.create(TOWN, image, facts))
    world.clock.move(seconds=10)
    return world


@pytest.fixture(params=LIVES)
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[World, World]:
    """The town in the oldest schema, and the same town in the newest."""
    life = begin(request.param)
    older = as_of_the_first_release(life.town.image())
    both = (
        a_world(tmp_path / "older", life, older, OLDEST),
        a_world(tmp_path / "newer", life, migrated(older), database.SCHEMA_VERSION),
    )
    life.close()
    return both


def past_of(world: World) -> StoredPast:
    assert isinstance(world.objects, DirectoryObjects)
    return StoredPast(world.objects, world.objects)


def explained(world: World, agent: bool) -> list[Any]:
    beads = drive(bead_list.beads(TOWN, world.store, BeadFilter(), now=world.clock.now())).beads
    ask = explain.explain_agent if agent else explain.explain_bead
    wanted = [bead.bead_id for bead in beads if (bead.type == "agent") == agent]
    return [document(drive(ask(TOWN, bead_id, past_of(world), now=world.clock.now()))) for bead_id in wanted]


def shown(world: World) -> list[Any]:
    beads = drive(bead_list.beads(TOWN, world.store, BeadFilter(), now=world.clock.now())).beads
    return [document(drive(bead_view.bead(TOWN, bead.bead_id, world.store))) for bead in beads]


def due(world: World) -> Any:
    image = world.image(TOWN)
    with migrations.readable(image.image) as sql:
        return next_due(image, next_input(sql, image.facts.tick_no, "", at=world.clock.now()))


def rehearsed(world: World) -> Any:
    found = drive(rehearse(TOWN, world.around, worker_id="dry"))
    return [document(found.report.actions), found.if_started, found.waiting, found.report.next_due]


def nothing_replayed(world: World) -> Any:
    again = drive(replay(TOWN, past_of(world), Window(world.clock.now(), world.clock.now(), None)))
    return [again.ticks, document(again.state_snapshot), document(again.next_actions)]


def state(world: World) -> Any:
    """The status, without the size of the image, which a migration changes."""
    told = document(drive(status(TOWN, world.around)))
    sizes = [alarm.pop("value") for alarm in told["alarms"] if alarm["alarm"] == "image-large"]
    assert sizes == [len(world.image(TOWN).image)]
    return told


QUESTIONS: dict[str, Callable[[World], Any]] = {
    "status": state,
    "beads": lambda world: document(drive(bead_list.beads(TOWN, world.store, BeadFilter(), now=world.clock.now()))),
    "each bead": shown,
    "convoys": lambda world: document(drive(bead_list.convoys(TOWN, world.store))),
    "agents": lambda world: document(drive(rosters.agents(TOWN, world.store))),
    "settings": lambda world: document(drive(rosters.settings(TOWN, world.store))),
    "events": lambda world: document(drive(events(TOWN, world.store, past_of(world), EventFilter()))),
    "ticks": lambda world: document(drive(ticks(TOWN, past_of(world)))),
    "explain bead": lambda world: explained(world, agent=False),
    "explain agent": lambda world: explained(world, agent=True),
    "next due": due,
    "dry run": rehearsed,
    "replay of nothing": nothing_replayed,
}


@pytest.mark.lengthy
def test_every_question_about_an_old_town_is_answered_as_about_the_same_town_of_the_newest_schema(
    twins: tuple[World, World],
) -> None:
    older, newer = twins
    before = older.image(TOWN).image
    for name, ask in QUESTIONS.items():
        assert ask(older) == ask(newer), name
    assert older.image(TOWN).image == before


@pytest.mark.lengthy
def test_the_next_tick_of_an_old_town_migrates_it_and_does_what_it_does_in_the_newest_schema(
    twins: tuple[World, World],
) -> None:
    older, newer = twins
    runs = [world.run() for world in twins]
    assert runs[0].outcome == "committed", "a tick that only migrates is no quiet tick"
    done = [(run.tick.actions, run.tick.effects, run.tick.next_due) for run in runs if run.tick is not None]
    assert done[0] == done[1]
    assert WaitingCounts().of(runs[0]) == WaitingCounts().of(runs[1])
    assert older.image(TOWN).facts.schema_version == database.SCHEMA_VERSION
    if runs[1].outcome == "committed":
        assert QUESTIONS["status"](older) == QUESTIONS["status"](newer)


@pytest.mark.lengthy
def test_an_old_town_goes_through_an_export_and_is_the_same_town(twins: tuple[World, World]) -> None:
    older, newer = twins
    missed = []
    for world in twins:
        body = world.export(TOWN)
        missed.append(drive(import_town("copy", body, world.around, worker_id="w")).content.not_read)
    assert missed[0] == missed[1]
    copies = [world.image("copy").image for world in twins]
    assert copies[0] == copies[1]
    assert older.image(TOWN).facts.schema_version == OLDEST
    assert newer.image(TOWN).facts.schema_version == database.SCHEMA_VERSION


def test_an_old_commit_is_restored_in_the_newest_schema(tmp_path: Path) -> None:
    life = begin("busy")
    world = a_world(tmp_path, life, as_of_the_first_release(life.town.image()), OLDEST)
    life.close()
    assert isinstance(world.objects, DirectoryObjects)
    first = world.image(TOWN)
    world.run()
    kept = KeptPast(world.objects, world.objects, TOWN)
    old = drive(kept.at_txid(first.txid))
    drive(restore_in_place(world.store, kept, old, now=world.clock.now(), worker_id="w"))
    restored = world.image(TOWN)
    with database.opened(restored.image) as sql:
        assert (database.schema_version(sql), restored.facts.schema_version) == (database.SCHEMA_VERSION,) * 2
        ended = sql.execute("SELECT generation, ended_generation FROM agent_metadata ORDER BY bead_id").fetchall()
    assert all(generation == known for generation, known in ended)
    world.clock.move(seconds=10)
    assert world.run().outcome == "committed"


def shape_of(image: bytes) -> dict[str, list[Any]]:
    """The columns of each table, and the indexes with their texts."""
    sql = sqlite3.connect(":memory:")
    sql.deserialize(image)
    tables = [row[0] for row in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
    shape: dict[str, list[Any]] = {
        table: [row[1:] for row in sql.execute(f"PRAGMA table_info({table})").fetchall()] for table in tables
    }
    indexes = sql.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name")
    shape["indexes"] = [(name, " ".join(text.split())) for name, text in indexes]
    sql.close()
    return shape


def test_a_migrated_town_has_the_tables_and_indexes_of_a_new_one() -> None:
    assert shape_of(migrated(demo_image())) == shape_of(database.new_image())


COMMANDS = [
    "town list",
    f"town status {TOWN}",
    f"setting list {TOWN}",
    f"bead list {TOWN}",
    f"agent list {TOWN}",
    f"convoy list {TOWN}",
    f"event list {TOWN}",
    f"dry-run {TOWN}",
    f"ticks {TOWN}",
    f"replay {TOWN} --from 2026-06-01T00:00:00Z",
    f"points {TOWN}",
    f"restore {TOWN} --txid 1 --to FOLDER/restored.sqlite",
    f"restore {TOWN} --txid 1 --in-place",
    f"flush {TOWN}",
    f"retention {TOWN}",
    f"export {TOWN} FOLDER/town.jsonl",
    "import FOLDER/image.sqlite other",
    f"litestream config {TOWN} --files FOLDER/restored",
    f"tick {TOWN}",
    f"tick {TOWN} --force",
    f"event post {TOWN} --type town_started --payload {{}}",
    "doctor",
]


@pytest.mark.lengthy
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_works_on_an_old_town(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    life = begin("busy")
    image = as_of_the_first_release(life.town.image())
    a_world(tmp_path / "data", life, image, OLDEST)
    life.close()
    (tmp_path / "image.sqlite").write_bytes(image)
    called = Townctl(tmp_path / "data", capsys)(*command.replace("FOLDER", str(tmp_path)).split(), "--json")
    assert called.code in (0, 1), (called.out, called.err)
    assert json.loads(called.out)
    assert "no such column" not in called.out
