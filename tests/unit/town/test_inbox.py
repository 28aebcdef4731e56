"""New events are stored together, as they would be stored one by one."""

from dataclasses import replace
from datetime import timedelta

from shared.domain import limits
from shared.domain.tick import Envelope
from tests.towns import T, TownBuilder, a_town, event

A_DAY = timedelta(days=1)


def notes(first: int, last: int, title: str = "t") -> list[Envelope]:
    """Beads of these numbers are filed; no rule touches them."""
    return [
        event(
            "bead_created",
            {"bead": {"bead_id": f"b{number}", "type": "issue", "title": title, "labels": ["gt:held"]}},
            event_id=f"note-{number:04}",
        )
        for number in range(first, last)
    ]


def a_town_that_knows(events: list[Envelope]) -> TownBuilder:
    """Half of these events have a row, of the other half only a digest is left."""
    town = a_town()
    town.tick(*events[::2])
    town.tick(at=T + limits.EVENT_ROWS_KEPT + timedelta(seconds=1))
    town.tick(*events[1::2], at=T + limits.EVENT_ROWS_KEPT + timedelta(seconds=2))
    assert {len(town.rows("SELECT 1 FROM known_events")), len(town.rows("SELECT 1 FROM town_events"))} >= {
        len(events) // 2
    }
    return town


def test_of_many_events_those_are_stored_that_the_town_does_not_know() -> None:
    """The ids are asked for fifty at a time: those that are known lie in several parts, and so do those that are not."""
    known = notes(0, 120)
    town = a_town_that_knows(known)
    report = town.tick(*notes(60, 260), at=T + A_DAY)
    assert [each.event_id for each in report.events] == [f"note-{number:04}" for number in range(120, 260)]


def test_an_event_that_comes_twice_in_one_batch_is_stored_once() -> None:
    (told,) = notes(0, 1)
    assert [each.event_id for each in a_town().tick(told, told, *notes(1, 3), told).events] == [
        "note-0000",
        "note-0001",
        "note-0002",
    ]


def test_an_id_that_stands_for_something_else_is_a_conflict_wherever_it_stands() -> None:
    town = a_town_that_knows(notes(0, 4))
    others = [replace(each, payload=each.payload.replace('"t"', '"other"')) for each in notes(0, 4)]
    report = town.tick(*notes(4, 60), *others, *notes(60, 70), notes(60, 61, title="other")[0], at=T + A_DAY)
    conflicts = [each.event_id for each in report.events if each.outcome == "conflict"]
    assert conflicts == ["note-0000", "note-0001", "note-0002", "note-0003", "note-0060"]
    assert len(report.events) == len(conflicts) + 66
