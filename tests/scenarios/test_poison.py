"""Scenarios 141 to 144: an event that cannot be applied is tried three times, and holds nobody up."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from shared.domain import limits
from shared.domain.secret_texts import digest_of
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.intake import ingest
from shared.intake.redrive import copy_of, id_of_copy
from shared.town.inbox import Fact
from tests.scenarios.outside import audits
from tests.scenarios.stories import BOUNDARY, deeds, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, event, text

pytestmark = pytest.mark.illegal_state  # a row that cannot be read is what makes an event fail

BAD = "bad-event"


def at(seconds: int) -> datetime:
    """So many seconds after T."""
    return T + timedelta(seconds=seconds)


def a_town_with_a_broken_bead() -> TownBuilder:
    """Nothing can be done with bead `broken`: its metadata is no object."""
    return a_town().bead("broken", "issue", "in_review", metadata="[1]", labels=["gt:held"])


def bad() -> Envelope:
    """An event whose application raises in that town."""
    return event("bead_updated", {"title": "New"}, bead="broken", event_id=BAD)


def stored(town: TownBuilder, event_id: str = BAD) -> tuple[object, ...]:
    """What the inbox knows of an event."""
    row: tuple[object, ...] = town.one(
        "town_events", event_id, "retry_count", "outcome", "processed_at", "poisoned_at", "last_error"
    )
    return row


@scenario(141)
def test_an_event_that_cannot_be_applied_is_tried_three_times_and_then_poisoned() -> None:
    town = a_town_with_a_broken_bead()
    behind = [
        event("bead_created", {"bead": {"bead_id": f"b{number}", "type": "molecule", "title": "x"}})
        for number in range(10)
    ]
    first = town.tick(bad(), *behind)
    error = stored(town)[4]
    assert outcomes(first) == [("bead_updated", "failed"), *[("bead_created", "applied")] * 10]
    assert stored(town) == (1, None, None, None, error)
    assert (first.pending_after, first.next_due, first.metrics.events_drained) == (1, at(5), 10)

    second = town.tick(at=at(5))
    assert outcomes(second) == [("bead_updated", "failed")]
    assert [seen.attempt for seen in second.events] == [2]
    assert stored(town) == (2, None, None, None, error)

    third = town.tick(at=at(10))
    assert outcomes(third) == [("bead_updated", "poisoned")]
    assert stored(town) == (3, "poisoned", text(at(10)), text(at(10)), error)
    assert (third.metrics.events_poisoned, third.metrics.events_drained, third.pending_after) == (1, 1, 0)
    assert town.value("counters") == {"conflicts": 0, "poisoned": 1}

    fourth = town.tick(at=at(15))
    assert outcomes(fourth) == []
    assert town.one("beads", "broken", "title") == "broken"


@scenario(141)
def test_a_poisoned_event_is_told_once_with_everything_that_is_known_of_it() -> None:
    town = a_town_with_a_broken_bead()
    reports = [town.tick(bad()), *town.ticks(5, start=at(5))]
    told = [[alert for alert in report.alerts if alert.kind == "event_poisoned"] for report in reports]
    assert [len(each) for each in told] == [0, 0, 1, 0, 0, 0]
    (alert,) = told[2]
    assert alert.fingerprint == ("event_poisoned", "bead_updated", "RowUnreadable")
    assert alert.extra == {
        "event_id": BAD,
        "event_type": "bead_updated",
        "payload_bytes": len('{"title":"New"}'),
        "payload_sha256": digest_of('{"title":"New"}'),
        "retry_count": 3,
        "error": "RowUnreadable",
        "error_sha256": digest_of(str(stored(town)[4])),
    }
    assert "New" not in str(alert)


@scenario(141)
def test_an_event_that_can_be_applied_after_all_is_applied_by_the_second_attempt() -> None:
    town = a_town_with_a_broken_bead()
    town.tick(bad())
    town.update("beads", "broken", metadata={})
    assert outcomes(town.tick(at=at(5))) == [("bead_updated", "applied")]
    assert town.one("beads", "broken", "title") == "New"
    assert stored(town)[:2] == (1, "applied")


@scenario(142)
@pytest.mark.parametrize(
    "damage",
    [
        lambda fact: replace(fact, event_type="bead_teleported"),
        lambda fact: replace(fact, payload='{"title":'),
        lambda fact: replace(fact, payload="[]"),
        lambda fact: replace(fact, payload='{"title":1}'),
        lambda fact: replace(fact, payload='{"tilte":"New"}'),
        lambda fact: replace(fact, bead_id=None),
    ],
    ids=["unknown type", "no JSON", "no object", "wrong type", "unknown field", "missing envelope field"],
)
def test_what_nobody_can_read_is_poisoned_alone_at_its_first_attempt(damage: object) -> None:
    assert callable(damage)
    town = a_town().bead("b", "issue", labels=["gt:held"])
    before = event("bead_updated", {"title": "One"}, bead="b", event_id="good-before")
    after = event("bead_updated", {"body": "Two"}, bead="b", event_id="good-after")
    unreadable = damage(event("bead_updated", {"title": "Three"}, bead="b", event_id=BAD))
    report = town.tick(before, unreadable, after)
    assert [outcome for _, outcome in outcomes(report)] == ["applied", "poisoned", "applied"]
    assert stored(town)[:4] == (1, "poisoned", text(T), text(T))
    assert str(stored(town)[4]).startswith("UnreadableEvent: ")
    assert [alert.kind for alert in report.alerts] == ["event_poisoned"]
    assert town.one("beads", "b", "title", "body") == ("One", "Two")
    assert outcomes(town.tick(at=at(5))) == []


@scenario(142)
@pytest.mark.parametrize(
    ("age", "outcome"),
    [
        (limits.EVENT_RETENTION - MS, "applied"),
        (limits.EVENT_RETENTION, "applied"),
        (limits.EVENT_RETENTION + MS, "poisoned"),
    ],
    ids=BOUNDARY,
)
def test_an_event_that_is_older_than_what_is_remembered_is_poisoned(age: timedelta, outcome: str) -> None:
    town = a_town().bead("b", "issue", labels=["gt:held"])
    old = event("bead_updated", {"title": "New"}, bead="b", event_id=BAD, created_at=T - age)
    assert outcomes(town.tick(old)) == [("bead_updated", outcome)]
    assert stored(town)[4] == ("too old" if outcome == "poisoned" else None)


@scenario(143)
def test_what_an_event_wrote_before_it_raised_is_undone() -> None:
    town = (
        a_town().bead("t1", "issue", "in_progress").bead("t2", "issue", "in_progress").convoy("c", tracked=["t1", "t2"])
    )
    town.agent("p", status="working", hook="t1").agent("witness", role="witness", status="working", hook="t2")
    seen = town.copy()
    report = town.tick(event("convoy_closed", {"convoy_id": "c"}, event_id=BAD))
    assert outcomes(report) == [("convoy_closed", "failed")]
    # t1 was closed and P unhooked before the row of the witness raised: neither is visible.
    assert [town.status(bead) for bead in ("t1", "t2", "c")] == ["in_progress", "in_progress", "open"]
    assert (town.doing("p"), audits(town, "t1", "status_changed")) == (("working", "t1"), [])
    assert deeds(report, of="event:convoy_closed") == []

    seen.update("agent_metadata", "witness", role="polecat")
    seen.tick(event("convoy_closed", {"convoy_id": "c"}))
    assert (seen.status("t1"), seen.doing("p")) == ("closed", ("idle", None))


@scenario(144)
def test_an_operator_sends_a_poisoned_event_again_and_the_poisoned_one_stays_as_it_is() -> None:
    town = a_town_with_a_broken_bead()
    town.tick(bad())
    town.ticks(2, start=at(5))
    town.update("beads", "broken", metadata={})
    before = town.rows("SELECT * FROM town_events")
    (row,) = town.rows(
        "SELECT event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, retry_count "
        "FROM town_events"
    )
    copy = copy_of(Fact(*row), id_of_copy(row[0], 1))
    copies = ingest.batch_of([copy], received_at=at(60), source=EventSource.OPERATOR)
    report = town.tick(*copies.envelopes, at=at(60))
    assert [(seen.event_id, seen.outcome) for seen in report.events] == [("bad-event:r1", "applied")]
    assert town.one("beads", "broken", "title") == "New"
    assert town.rows("SELECT * FROM town_events WHERE event_id = ?", BAD) == before
    assert town.one("town_events", "bad-event:r1", "source", "outcome") == ("operator", "applied")


@scenario(141)
def test_the_error_of_an_event_is_one_line_without_a_stack() -> None:
    town = a_town_with_a_broken_bead()
    town.tick(bad())
    error = str(stored(town)[4])
    assert (error.startswith("RowUnreadable: "), error.splitlines(), len(error) <= 500) == (True, [error], True)
