"""Producers' times are ages (spec/events.md 1, rule 11): a wrong clock changes nothing that the watch does."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.times import from_text, to_text
from shared.events.ages import on_our_clock, on_our_clock_if_plausible
from shared.intake import ingest
from tests.towns import MS
from tests.unit.events.builders import NOON, ATown, a_town, ago

YEAR = timedelta(days=365)
DISPATCHED = ago(hours=1)
CLOCKS = {
    "right": timedelta(0),
    "a year ahead": YEAR,
    "a year behind": -YEAR,
    "ten minutes ahead": timedelta(minutes=10),
}


def a_polecat(**columns: Any) -> ATown:
    given = {"status": "working", "generation": 2, "dispatched_at": DISPATCHED, "last_activity_at": ago(seconds=40)}
    return (
        a_town()
        .with_rig()
        .with_bead("b1", status="in_progress", rig_id="rig-1", assignee_agent_bead_id="p1")
        .with_agent("p1", hook="b1", rig_id="rig-1", **{**given, **columns})
    )


def a_mayor(status: str = "working") -> ATown:
    town = a_town().with_agent("m", role="mayor", status=status)
    return town.with_key("mayor_working_since", ago(minutes=5)).with_key("mayor_waiting_since", ago(minutes=5))


def beat(town: ATown, at: str, *, occurred_at: str | None = None, agent: str = "p1", **envelope: Any) -> None:
    town.hears("agent_heartbeat", {"last_event_at": at}, agent_id=agent, occurred_at=occurred_at, **envelope)


def watermark(town: ATown) -> Any:
    return town.agent("p1")["last_event_at"]


@pytest.mark.parametrize("wrong", CLOCKS.values(), ids=CLOCKS)
def test_an_activity_is_as_old_as_its_producer_says_whatever_its_clock_shows(wrong: timedelta) -> None:
    town = a_polecat()
    clock = NOON + wrong
    beat(town, to_text(clock - timedelta(minutes=3)), occurred_at=to_text(clock))
    assert watermark(town) == ago(minutes=3)


@pytest.mark.parametrize("wrong", CLOCKS.values(), ids=CLOCKS)
def test_an_activity_counts_from_the_receipt_of_its_heartbeat(wrong: timedelta) -> None:
    town = a_polecat()
    clock = NOON + wrong
    at, received = to_text(clock - timedelta(minutes=3)), ago(minutes=1)
    beat(town, at, occurred_at=to_text(clock), received_at=received)
    assert watermark(town) == ago(minutes=4)


def test_an_activity_later_than_its_heartbeat_counts_as_just_now() -> None:
    town = a_polecat()
    beat(town, to_text(NOON + YEAR), occurred_at=ago(minutes=2))
    assert watermark(town) == to_text(NOON)


def test_without_a_time_of_the_heartbeat_the_future_counts_as_just_now() -> None:
    town = a_polecat()
    beat(town, to_text(NOON + YEAR))
    assert watermark(town) == to_text(NOON)


def test_an_activity_before_the_dispatch_counts_from_the_dispatch() -> None:
    town = a_polecat()
    beat(town, to_text(NOON - YEAR))
    assert watermark(town) == DISPATCHED


def test_an_age_beyond_the_calendar_counts_from_the_dispatch() -> None:
    town = a_polecat()
    beat(town, "0001-01-01T00:00:00.000Z", occurred_at="9999-12-31T00:00:00.000Z")
    assert watermark(town) == DISPATCHED


def test_in_a_town_that_does_not_know_the_dispatch_an_old_activity_is_old() -> None:
    town = a_polecat(dispatched_at=None)
    beat(town, ago(hours=3))
    assert watermark(town) == ago(hours=3)


def test_an_activity_never_goes_back() -> None:
    town = a_polecat(last_event_at=ago(minutes=2))
    beat(town, ago(minutes=3))
    assert watermark(town) == ago(minutes=2)


def test_a_future_that_an_earlier_release_stored_ends_with_the_next_heartbeat() -> None:
    town = a_polecat(last_event_at=to_text(NOON + YEAR))
    beat(town, ago(minutes=3))
    assert watermark(town) == ago(minutes=3)


# the mayor


@pytest.mark.parametrize("wrong", CLOCKS.values(), ids=CLOCKS)
def test_a_mayor_waits_if_it_fired_after_it_began_to_work_whatever_its_clock_shows(wrong: timedelta) -> None:
    clock = NOON + wrong
    for age, outcome in ((timedelta(minutes=4), "applied"), (timedelta(minutes=6), "skipped: stale")):
        payload = {"fired_at": to_text(clock - age)}
        told = a_mayor().outcome("mayor_waiting", payload, agent_id="m", occurred_at=to_text(clock))
        assert told == outcome


@pytest.mark.parametrize("fired_at", [to_text(NOON + YEAR), to_text(NOON - YEAR)], ids=["a year ahead", "last year"])
def test_a_report_of_an_impossible_time_counts_as_just_now(fired_at: str) -> None:
    assert a_mayor().outcome("mayor_waiting", {"fired_at": fired_at}, agent_id="m") == "applied"


@pytest.mark.parametrize("wrong", CLOCKS.values(), ids=CLOCKS)
def test_a_waiting_mayor_works_again_after_an_activity_since_then(wrong: timedelta) -> None:
    clock = NOON + wrong
    for age, status in ((timedelta(minutes=4), "working"), (timedelta(minutes=6), "waiting")):
        town = a_mayor("waiting")
        beat(town, to_text(clock - age), occurred_at=to_text(clock), agent="m")
        assert town.agent("m")["status"] == status


# ingest


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [("agent_heartbeat", {}), ("mayor_waiting", {"fired_at": "2025-01-10T12:00:00Z"})],
)
def test_an_event_that_tells_an_age_is_never_too_old(event_type: str, payload: dict[str, Any]) -> None:
    event = {"event_id": "event-0001", "event_type": event_type, "agent_id": "p1", "payload": payload}
    dated = {**event, "occurred_at": to_text(NOON - limits.EVENT_RETENTION - YEAR)}
    (kept,) = ingest.batch_of([dated], received_at=NOON).envelopes
    assert from_text(kept.created_at) < from_text(kept.received_at)


@dataclass(frozen=True)
class Told:
    """The times of an event."""

    created_at: str
    received_at: str


@pytest.mark.parametrize(
    ("older", "counts"), [(-MS, True), (0 * MS, True), (MS, False)], ids=["younger", "at", "older"]
)
def test_without_a_time_of_the_event_what_is_older_than_any_event_counts_as_just_now(
    older: timedelta, counts: bool
) -> None:
    at = NOON - limits.EVENT_RETENTION - older
    undated = Told(to_text(NOON), to_text(NOON))
    assert on_our_clock_if_plausible(undated, at) == (at if counts else NOON)
    dated = Told(to_text(NOON - MS), to_text(NOON))
    assert on_our_clock_if_plausible(dated, at) == at + MS


@pytest.mark.parametrize(("told", "at"), [(YEAR, NOON), (MS, NOON), (0 * MS, NOON), (-MS, NOON - MS)], ids=str)
def test_nothing_happened_later_than_its_event_was_received(told: timedelta, at: datetime) -> None:
    occurred = NOON - 2 * YEAR
    assert on_our_clock(Told(to_text(occurred), to_text(NOON)), occurred + told) == at
