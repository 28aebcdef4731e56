"""A town that earlier code made is opened, replayed and continued by this code, and nothing of it is lost."""

import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.times import from_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.replay.faithful import replay
from shared.replay.replayed import Replay
from shared.replay.time_window import Window
from shared.runner.code_version import code_version
from tests.fakes import FakeClock
from tests.towns import event
from tests.worlds import World

DEMO = Path(__file__).with_name("demo-town.tar.gz")
TOWN = "demo"
FIRST_TICK = from_text("2026-11-28T20:29:29.077Z")


@pytest.fixture
def world(tmp_path: Path) -> World:
    with tarfile.open(DEMO) as packed:
        packed.extractall(tmp_path, filter="data")
    objects = DirectoryObjects(tmp_path)
    world = World(objects=objects)
    world.clock = FakeClock(drive(world.store.load(TOWN)).facts.time + timedelta(minutes=1))
    return world


def replayed(world: World) -> Replay:
    assert isinstance(world.objects, DirectoryObjects)
    return drive(replay(TOWN, StoredPast(world.objects, world.objects), Window(FIRST_TICK, world.clock.now(), None)))


def test_its_past_comes_out_as_it_was_and_is_told_as_the_work_of_other_code(world: World) -> None:
    again = replayed(world)
    assert len(again.ticks) == 38
    assert again.divergence is None
    assert {(part.kind, part.equal) for part in again.segments} == {("what_if", True)}
    assert code_version() not in {part.code_version for part in again.segments}


def test_it_goes_on_and_its_new_ticks_replay_as_the_work_of_this_code(world: World) -> None:
    before = drive(world.store.load(TOWN))
    new = {"bead_id": "after-the-upgrade", "type": "issue", "title": "Oil the gate", "labels": ["gt:held"]}
    world.post(event("bead_created", {"bead": new}, event_id="made-after-the-upgrade"), town_id=TOWN)
    run = world.run(town_id=TOWN)
    assert run.outcome == "committed"
    assert (run.image.txid, run.image.facts.tick_no) == (before.txid + 1, before.facts.tick_no + 1)
    assert run.tick is not None
    assert [applied.outcome for applied in run.tick.events] == ["applied"]

    world.clock.move(minutes=1)
    again = replayed(world)
    assert again.divergence is None
    last = again.segments[-1]
    assert (last.kind, last.equal, last.code_version) == ("replay", True, code_version())
    assert last.first_tick == last.last_tick == run.image.facts.tick_no
