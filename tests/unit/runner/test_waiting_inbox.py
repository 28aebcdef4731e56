"""Events that wait in the inbox are pending too: in the tick's metrics, in both alarms and in the status."""

from datetime import timedelta
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.tick import TickInput
from shared.intake import ingest
from shared.ports.steps import drive
from shared.questions.status import TownStatus, status
from shared.telemetry.emf import values_of
from tests.scenarios.table import scenario
from tests.towns import T, a_town
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)


def flooded(batches: int, *, each: int) -> World:
    """A town in whose inbox so many batches wait, one a second, the last of them now."""
    world = a_world(a_town().bead("b1", labels=["gt:held"]))
    for number in range(batches):
        at = T + number * SECOND
        events: list[dict[str, Any]] = [
            {
                "event_id": f"update-{number}-{one}",
                "event_type": "bead_updated",
                "bead_id": "b1",
                "payload": {"title": "x"},
            }
            for one in range(each)
        ]
        batch = ingest.batch_of(events, received_at=at)
        drive(world.store.post("t1", batch.body, received_at=at, batch_id=f"b{number}", wake=True))
    world.clock.at = T + batches * SECOND
    return world


def of(world: World) -> TownStatus:
    return drive(status("t1", world.around))


@scenario(606)
@pytest.mark.parametrize(("batches", "each"), [(25, 100), (26, 97)], ids=["whole batches", "batches taken in part"])
def test_events_that_one_tick_does_not_take_are_counted_and_raise_both_alarms(batches: int, each: int) -> None:
    """Seen: 2,500 events waited, the gauge said 0, and the alarm was silent."""
    world = flooded(batches, each=each)
    total = batches * each
    before = of(world)
    assert (before.events.pending, before.events.oldest_pending_since) == (total, T)
    assert {alarm.alarm for alarm in before.alarms if alarm.raised} == {"events-pile-up"}

    shown = world.dry_run()
    run = world.run()
    figures = values_of(run)
    assert figures["pendingEventCount"] == total - 1_000
    assert shown.report.pending_after == total - 1_000
    assert (
        figures["oldestPendingEventMs"] == (world.clock.now() - (T + (1_000 // each) * SECOND)).total_seconds() * 1000
    )
    assert of(world).events.pending == total - 1_000

    world.clock.move(minutes=6)
    assert {alarm.alarm for alarm in of(world).alarms if alarm.raised} == {"events-pile-up", "event-waits-long"}
    for _ in range(2):
        run = world.run()
        world.clock.move(seconds=5)
    assert values_of(run)["pendingEventCount"] == 0
    assert values_of(run)["oldestPendingEventMs"] == 0
    assert of(world).events.pending == 0


@scenario(606)
def test_batches_that_are_not_even_read_count_as_one_event_each() -> None:
    world = flooded(1_205, each=1)
    assert of(world).events.pending == 1_205
    assert values_of(world.run())["pendingEventCount"] == 205


@scenario(606)
def test_what_waits_is_part_of_the_recorded_input() -> None:
    world = flooded(12, each=100)
    given = world.dry_run().report.input
    world.run()
    [row] = world.journal()
    assert (row["inputs"]["waiting"], row["inputs"]["waiting_since"]) == (200, "2026-01-10T12:00:10.000Z")
    recorded = TickInput.from_record(row)
    assert (recorded.waiting, recorded.waiting_since) == (given.waiting, given.waiting_since) == (200, T + 10 * SECOND)
    world.clock.move(seconds=5)
    world.run()
    assert "waiting" not in world.journal()[-1]["inputs"], "nothing stays behind, so the row is as short as ever"


def test_an_inbox_that_one_tick_takes_costs_no_further_listing() -> None:
    world = flooded(3, each=2)
    assert isinstance(world.objects, MemoryObjects)
    listed: list[str] = []
    real = world.objects.list

    def seen(prefix: str, *, after: str = "", limit: int = 1000) -> Any:
        listed.append(prefix)
        return real(prefix, after=after, limit=limit)

    world.objects.list = seen  # type: ignore[method-assign]
    world.run()
    assert listed.count("towns/t1/inbox/") == 1
