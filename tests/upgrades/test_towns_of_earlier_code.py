"""A town that earlier code made is opened, replayed and continued by this code, and nothing of it is lost."""

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
from tests.upgrades.older import DEMO_TOWN as TOWN
from tests.upgrades.older import unpacked
from tests.worlds import World

FIRST_TICK = from_text("2026-11-28T20:29:29.077Z")


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(objects=unpacked(tmp_path))
    world.clock = FakeClock(drive(world.store.load(TOWN)).facts.time + timedelta(minutes=1))
    return world


def replayed(world: World) -> Replay:
    assert isinstance(world.objects, DirectoryObjects)
    return drive(replay(TOWN, StoredPast(world.objects, world.objects), Window(FIRST_TICK, world.clock.now(), None)))


def test_its_past_is_run_again_as_a_what_if_and_differs_only_where_the_rules_have_changed(world: World) -> None:
    again = replayed(world)
    assert len(again.ticks) == 38
    assert (again.divergence, again.stopped) == (None, None)
    assert {part.kind for part in again.segments} == {"what_if"}
    assert code_version() not in {part.code_version for part in again.segments}
    first = again.ticks[0]
    assert (first.equal, first.differences) == (True, ())
    assert first.note is not None
    assert (
        "before the schema changed (0002_identity_and_lease_times, 0003_senders, 0004_usage, 0005_wide_rows, 0006_known_events)"
        in first.note
    )
    assert {tick.equal for tick in again.ticks} <= {True, False}
    assert all(each.table == "ticks" for tick in again.ticks for each in tick.differences), (
        "a migration is no difference"
    )


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
