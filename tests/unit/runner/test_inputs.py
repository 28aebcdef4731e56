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
    return BeforeTick(config={}, last_tick_at=last, next_due=due, interval=5 * SECOND, watched=(), own_clock=False)


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


def a_beat(number: int, *, agent: str = "toast", last: str | None = None) -> dict[str, object]:
    """A heartbeat as its container sends it."""
    told = {"generation": 3, **({} if last is None else {"last_event_at": last})}
    return {
        "event_id": f"beat-{agent}-{number:04}",
        "event_type": "agent_heartbeat",
        "agent_id": agent,
        "payload": told,
    }


def beats(number: int, *bodies: dict[str, object]) -> InboxObject:
    """One object of the inbox, received so many seconds after T."""
    at = T + timedelta(seconds=number)
    batch = ingest.batch_of(list(bodies), received_at=at, source=EventSource.INGEST)
    return InboxObject(f"towns/t1/inbox/{to_milliseconds(at)}-b{number}.json", batch.body)


def test_a_heartbeat_that_a_newer_one_outdoes_is_left_out_and_its_batch_is_taken_with_the_newer_one() -> None:
    inbox = (beats(0, a_beat(0), a_beat(1, agent="moss")), beats(30, a_beat(2)), beats(60, a_beat(3)))
    reading = read_batches(InboxReading(inbox, more=False))
    assert [event.event_id for event in reading.envelopes] == ["beat-moss-0001", "beat-toast-0003"]
    assert [ids for _, ids in reading.taken] == [
        ("beat-toast-0003", "beat-moss-0001"),
        ("beat-toast-0003",),
        ("beat-toast-0003",),
    ]


def test_the_newest_heartbeat_is_the_one_with_the_latest_activity() -> None:
    later, earlier = to_text(T - timedelta(seconds=5)), to_text(T - timedelta(seconds=50))
    reading = read_batches(
        InboxReading((beats(0, a_beat(0, last=later)), beats(30, a_beat(1, last=earlier))), more=False)
    )
    assert [event.event_id for event in reading.envelopes] == ["beat-toast-0000"]


def test_batches_of_heartbeats_stay_if_the_tick_was_given_none_of_them() -> None:
    """A tick with a fixed input deleted batches all of whose heartbeats had been left out of what it did not read."""
    reading = read_batches(InboxReading((beats(0, a_beat(0)), beats(30, a_beat(1))), more=False))
    world = a_world(a_town())
    given = fix_input(
        world.around,
        world.image(),
        about(),
        now=T,
        worker_id="w",
        reading=Reading((), (), more=False),
        observations=Observations(asked=False),
        code="c",
    )
    assert taken_by(reading, given) == ()


def test_a_town_takes_all_heartbeats_of_a_minute_and_its_journal_has_one_of_each_agent() -> None:
    world = a_world(a_town().agent("toast", status="working", generation=3))
    for second in (0, 30):
        world.post(
            event("agent_heartbeat", {"generation": 3}, agent="toast", event_id=f"beat-{second:04}"),
            at=T + second * SECOND,
        )
    world.clock.move(minutes=1)
    world.run()
    (row,) = world.journal()
    assert [each["event_id"] for each in row["inputs"]["new_events"]] == ["beat-0030"]
    assert world.inbox() == ()
