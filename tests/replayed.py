"""Replays for tests: a world that keeps its past, and windows of it run again."""

from datetime import datetime, timedelta
from typing import Any

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions import dry_run_call
from shared.replay import faithful, replay_call
from shared.replay.replayed import Replay
from shared.replay.time_window import HTTP, WHOLE_DAY, PageLimits, Window
from shared.replay.what_if import run
from shared.replay.what_if.overrides import Overrides
from shared.replay.what_if.run import WhatIf
from tests import histories
from tests.towns import T, TownBuilder
from tests.worlds import World


def a_world_with_a_past(*towns: TownBuilder, kept_versions: int = 100_000) -> World:
    """A world whose store keeps every version of every head, or so many."""
    world = World()
    world.objects = MemoryObjects(kept_versions=kept_versions, now=world.clock.now)
    for town in towns:
        world.put_in(town)
    return world


def a_busy_world() -> World:
    """The long history of `tests.histories`: 120 ticks with everything in them, the last one at the world's time."""
    world = a_world_with_a_past()
    for _ in histories.told(world, dry_runs=False):
        pass
    return world


def past_of(world: World) -> StoredPast:
    """What is kept of the past, as a request reads it."""
    assert isinstance(world.objects, MemoryObjects)
    return StoredPast(world.objects, world.objects)


def replayed(
    world: World,
    start: datetime = T,
    end: datetime | None = None,
    *,
    page: PageLimits = WHOLE_DAY,
    after: int | None = None,
) -> Replay:
    """A window run again; to the world's present time unless told otherwise."""
    wanted = Window(start, end or world.clock.now(), after)
    return drive(faithful.replay("t1", past_of(world), wanted, page=page))


def otherwise(world: World, overrides: Overrides, *, start: datetime = T, end: datetime | None = None) -> WhatIf:
    """A window run with something changed."""
    return drive(run.what_if("t1", past_of(world), Window(start, end or world.clock.now()), overrides))


def asked(world: World, body: object, *, town_id: str = "t1", page: PageLimits = HTTP) -> dict[str, Any]:
    """The answer of replay-events."""
    answer: Any = document(drive(replay_call.replay_events(town_id, past_of(world), world.around, body, page=page)))
    return dict(answer)


def asked_for(world: World, start: datetime, end: datetime, **more: Any) -> dict[str, Any]:
    """The answer of replay-events for a window."""
    return asked(world, {"from": to_text(start), "to": to_text(end), **more})


def dry_run_of(world: World, body: object = None, *, town_id: str = "t1") -> dict[str, Any]:
    """The answer of reconcile-dry-run."""
    answer: Any = document(drive(dry_run_call.reconcile_dry_run(town_id, world.around, body, worker_id="debug")))
    return dict(answer)


SECOND = timedelta(seconds=1)
