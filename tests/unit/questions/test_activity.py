"""How much a town did in the last hour, as its status says it: every action of its ticks, and every effect that failed."""

from datetime import timedelta
from typing import Final

import pytest

from shared.domain import acted
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions import tick_list
from shared.questions.activity import LastHour
from shared.questions.status import status
from tests.replayed import a_busy_world, past_of
from tests.towns import TOWN, T, a_town, ago
from tests.worlds import World, a_world

_EFFECT: Final = (
    "INSERT INTO outbox (effect_id, seq, kind, subject, generation, payload, state, deadline, created_at, finished_at) "
    "VALUES (:id, :seq, :kind, :subject, 1, '{}', :state, :at, :at, :at)"
)


def hour_of(world: World) -> LastHour:
    return drive(status(TOWN, world.around)).last_hour


def test_the_actions_of_an_hour_are_those_of_its_ticks() -> None:
    world = a_busy_world()
    hour = hour_of(world)
    every = drive(tick_list.ticks(TOWN, past_of(world), limit=500)).ticks
    told = [each.row["outputs"]["metrics"]["actionsEmitted"] for each in every if each.time >= hour.since]
    assert hour.actions == sum(told) > 0
    assert (hour.actions, hour.slot_minutes, len(hour.actions_by_slot)) == (sum(hour.actions_by_slot), 2, acted.SLOTS)


def test_an_hour_later_nothing_is_left_although_no_tick_ran() -> None:
    world = a_busy_world()
    world.clock.move(hours=1, minutes=2)
    assert (hour_of(world).actions, hour_of(world).failures) == (0, 0)


@pytest.mark.parametrize(("kind", "subject"), [("poll_pr", "review"), ("dispatch_agent", "agent")])
def test_effects_that_failed_or_expired_are_failures_of_the_time_at_which_they_ended(kind: str, subject: str) -> None:
    town = a_town()
    for number, (state, minutes) in enumerate([("failed", 1), ("expired", 5), ("done", 5), ("failed", 61)]):
        row = {"id": f"e-{number}", "seq": number, "kind": kind, "subject": subject, "state": state}
        town.sql.execute(_EFFECT, {**row, "at": to_text(ago(minutes=minutes))})
    hour = hour_of(a_world(town))
    assert hour.failures == 2
    ended = [hour.since + index * timedelta(minutes=2) for index, count in enumerate(hour.failures_by_slot) if count]
    assert ended == [acted.start_of(acted.slot_of(T - timedelta(minutes=minutes))) for minutes in (5, 1)]
