"""Scenario 215: the hourly sweep finds what nobody was told of, and ticks nobody itself."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.domain.errors import OutOfTime
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.runner import worker
from shared.runner.life import ENDING, SLOWEST_EFFECT, WORKER_TURN, Life
from shared.runner.sweep import SweepReport, sweep
from tests.scenarios.table import scenario
from tests.towns import MS, T, a_town, event
from tests.worlds import World, a_world, in_order


def _two_towns() -> World:
    """t1 wants a tick now, t2 in an hour."""
    world = a_world(a_town("t1").bead("b1", labels=["gt:held"]))
    later = a_town("t2").bead("b2", labels=["gt:held"]).key("next_due_at", "2026-01-10T13:00:00.000Z")
    return world.put_in(later)


def _sweep(world: World) -> SweepReport:
    return in_order(sweep(world.around))


def _markers(world: World) -> list[str]:
    return [key.removeprefix("due/") for key in world.objects.list("due/").keys]


@scenario(215)
def test_a_marker_that_was_deleted_by_hand_is_restored_and_the_town_ticks() -> None:
    world = _two_towns()
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    world.objects.put("due/20260110T130000Z/t2", b"")
    assert world.look().runs == []
    report = _sweep(world)
    assert (report.towns, [marker.town_id for marker in report.restored]) == (2, ["t1"])
    assert [run.town_id for run in world.look().runs] == ["t1"]


@scenario(215)
def test_no_marker_that_is_there_is_moved() -> None:
    world = _two_towns()
    before = _markers(world)
    assert _sweep(world).restored == []
    assert _markers(world) == before


@scenario(215)
@pytest.mark.parametrize(
    ("due", "restored"), [(T - MS, ["t1"]), (T, ["t1"]), (T + MS, [])], ids=["was", "now", "later"]
)
def test_a_town_that_is_due_and_has_only_a_later_marker_gets_one_for_now(due: datetime, restored: list[str]) -> None:
    world = a_world(a_town().bead("b", labels=["gt:held"]).key("next_due_at", to_text(due)))
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    world.objects.put("due/20260110T130000Z/t1", b"")
    assert [marker.town_id for marker in _sweep(world).restored] == restored


@scenario(215)
def test_the_sweep_ticks_nobody() -> None:
    world = _two_towns()
    before = [world.image(town).txid for town in ("t1", "t2")]
    _sweep(world)
    assert [world.image(town).txid for town in ("t1", "t2")] == before


@scenario(215)
def test_an_event_that_waits_unheard_wakes_its_town_at_the_next_sweep() -> None:
    world = a_world(a_town().key("next_due_at", "2026-01-11T12:00:00.000Z").bead("b1"))
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    world.objects.put("due/20260111T120000Z/t1", b"")
    world.post(event("bead_cancelled", bead="b1"), wake=False)
    assert world.look().runs == []
    assert [marker.at for marker in _sweep(world).restored] == [T]
    world.clock.move(seconds=1)
    (run,) = world.look().runs
    assert run.tick is not None
    assert run.tick.events[0].outcome == "applied"


@scenario(215)
def test_an_idle_town_is_at_most_looked_at_and_never_committed() -> None:
    world = a_world(a_town())
    world.runtime.container = "none"
    world.live_through(timedelta(minutes=1))
    before = world.image().txid
    for _ in range(3):
        world.clock.move(hours=1)
        _sweep(world)
        assert all(run.outcome in ("quiet", "not_due") for run in world.look().runs)
    assert world.image().txid == before
    assert _markers(world) == []


def test_a_town_that_cannot_be_read_does_not_hold_up_the_others() -> None:
    world = _two_towns()
    for key in world.objects.list("due/").keys:
        world.objects.delete(key)
    world.objects.put("towns/t0/head", b"damaged")
    report = _sweep(world)
    assert [failed.town_id for failed in report.failed] == ["t0"]
    assert [marker.town_id for marker in report.restored] == ["t1", "t2"]


def test_a_worker_whose_life_ends_commits_nothing_and_calls_nobody() -> None:
    world = a_world(a_town().bead("b1"))
    late = replace(world.around, life=Life(T + ENDING - timedelta(milliseconds=1), WORKER_TURN))
    with pytest.raises(OutOfTime, match="too late"):
        drive(worker.run_town("t1", late, worker_id="late", force=True))
    assert world.image().txid == 1
    assert world.runtime.processes == {}

    too_short_for_a_start = replace(world.around, life=Life(T + ENDING, WORKER_TURN))
    assert drive(worker.run_town("t1", too_short_for_a_start, worker_id="short", force=True)).outcome == "no_time"
    assert world.runtime.processes == {}

    in_time = replace(world.around, life=Life(T + SLOWEST_EFFECT + ENDING, WORKER_TURN))
    assert drive(worker.run_town("t1", in_time, worker_id="in-time", force=True)).outcome == "committed"
