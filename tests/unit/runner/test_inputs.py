"""What a tick is given: which marker led to it, how much of the inbox, what time it is."""

from datetime import datetime, timedelta

import pytest

from shared.domain import limits
from shared.domain.states import EventSource
from shared.domain.tick import Envelope, Observations
from shared.domain.times import to_milliseconds, to_text
from shared.images.summary import BeforeTick
from shared.intake import ingest
from shared.ports.waiting_room import DueMarker, InboxObject, InboxReading
from shared.runner.inputs import Reading, as_marked, fix_input, read_batches, taken_by
from tests.towns import MS, T, a_town, event
from tests.worlds import a_world

SECOND = timedelta(seconds=1)


def about(*, due: datetime | None = T, last: datetime | None = None) -> BeforeTick:
    return BeforeTick(config={}, last_tick_at=last, next_due=due, interval=5 * SECOND, watched=())


def marker(at: datetime) -> DueMarker:
    return DueMarker(f"due/{to_text(at)}", "t1", at)


@pytest.mark.parametrize(
    ("due", "kept"),
    [(T - MS, False), (T, True), (T + SECOND - MS, True), (T + SECOND, False)],
    ids=["before its second", "its first", "its last", "the next second"],
)
def test_a_due_time_counts_if_a_marker_of_its_second_led_here(due: datetime, kept: bool) -> None:
    assert as_marked(about(due=due), (marker(T),)).next_due == (due if kept else None)
    assert as_marked(about(due=due), (marker(T - timedelta(hours=1)), marker(T))).next_due == (due if kept else None)


def test_a_due_time_stands_where_no_marker_led_here() -> None:
    assert as_marked(about(), ()).next_due == T
    assert as_marked(about(due=None), (marker(T),)).next_due is None


@pytest.mark.parametrize(
    ("wall", "now"), [(-SECOND, MS), (0 * MS, MS), (MS, MS), (2 * MS, 2 * MS)], ids=["behind", "same", "next", "later"]
)
def test_time_goes_on_by_a_millisecond_at_least(wall: timedelta, now: timedelta) -> None:
    world = a_world(a_town())
    given = fix_input(
        world.around,
        world.image(),
        about(last=T),
        now=T + wall,
        worker_id="w",
        reading=Reading((), (), more=False),
        observations=Observations(asked=False),
        code="c",
    )
    assert given.now == T + now


def a_batch(number: int, count: int) -> InboxObject:
    """One object of the inbox with so many events."""
    bodies = [{"event_id": f"event-{number}-{each:04}", "event_type": "nudge_timeout"} for each in range(count)]
    batch = ingest.batch_of(bodies, received_at=T, source=EventSource.INGEST)
    return InboxObject(f"towns/t1/inbox/{to_milliseconds(T) + number}-b{number}.json", batch.body)


@pytest.mark.parametrize(("last", "taken", "more"), [(99, 11, False), (100, 11, False)])
def test_batches_are_taken_whole_up_to_a_thousand_events(last: int, taken: int, more: bool) -> None:
    objects = [a_batch(number, 90) for number in range(10)] + [a_batch(10, last)]
    reading = read_batches(InboxReading(tuple(objects), more=False))
    assert (len(reading.envelopes), len(reading.taken), reading.more) == (900 + last, taken, more)


def test_a_batch_that_is_taken_in_part_stays() -> None:
    objects = [a_batch(number, 91) for number in range(11)]
    reading = read_batches(InboxReading(tuple(objects), more=False))
    assert (len(reading.envelopes), len(reading.taken), reading.more) == (limits.EVENTS_PER_TICK, 10, True)


def test_only_a_batch_whose_every_event_was_given_is_taken() -> None:
    given = fixed_events("a", "b")
    reading = Reading(given, (("first", ("a",)), ("second", ("b", "c")), ("third", ("c",))), more=False)
    world = a_world(a_town())
    tick_input = fix_input(
        world.around,
        world.image(),
        about(),
        now=T,
        worker_id="w",
        reading=reading,
        observations=Observations(asked=False),
        code="c",
    )
    assert taken_by(reading, tick_input) == ("first",)


def fixed_events(*ids: str) -> tuple[Envelope, ...]:
    return tuple(event("convoy_started", bead="c", event_id=each) for each in ids)
