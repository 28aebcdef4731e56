"""Scenario 183: what a town forgets, and when. Forgetting never wakes a town."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of

NUDGE: dict[str, Any] = {"agent_bead_id": "mayor", "message": "x", "created_at": ago(days=60)}
EFFECT: dict[str, Any] = {"generation": 1, "payload": {}, "created_at": ago(days=60), "deadline": ago(days=60)}


def a_processed_event(
    town: TownBuilder,
    event_id: str,
    *,
    processed_at: datetime,
    seq: int = 1,
    source: str = "ingest",
    outcome: str = "applied",
) -> TownBuilder:
    return town.key("next_seq", seq + 1).insert(
        "town_events",
        event_id=event_id,
        seq=seq,
        event_type="bead_updated",
        source=source,
        created_at=processed_at,
        received_at=processed_at,
        processed_at=processed_at,
        outcome=outcome,
    )


def kept(town: TownBuilder, table: str, column: str) -> list[Any]:
    return [row[0] for row in town.rows(f"SELECT {column} FROM {table} ORDER BY {column}")]


@scenario(183)
@pytest.mark.parametrize(
    ("processed_at", "restore_window", "stays"),
    [
        pytest.param(ago(days=7), timedelta(days=7), True, id="exactly 7 days"),
        pytest.param(ago(days=7, ms=1), timedelta(days=7), False, id="one millisecond more"),
        pytest.param(ago(days=7, ms=1), timedelta(days=14), True, id="a longer restore window"),
        pytest.param(ago(days=14), timedelta(days=14), True, id="exactly a longer restore window"),
        pytest.param(ago(days=14, ms=1), timedelta(days=14), False, id="more than a longer restore window"),
        pytest.param(ago(days=7), timedelta(days=1), True, id="a shorter restore window takes nothing away"),
    ],
)
def test_poisoned_events_are_kept_seven_days_and_as_long_as_can_be_restored(
    processed_at: datetime, restore_window: timedelta, stays: bool
) -> None:
    town = a_processed_event(a_town(), "poisoned", processed_at=processed_at, outcome="poisoned")

    report = town.tick(restore_window=restore_window)

    assert kept(town, "town_events", "event_id") == (["poisoned"] if stays else [])
    assert report.quiet is stays  # forgetting is a change, and a change is committed


@scenario(649)
@pytest.mark.parametrize(
    ("days", "restore_window", "stays"),
    [
        pytest.param(7, timedelta(days=7), True, id="until the end of the seventh day"),
        pytest.param(8, timedelta(days=7), False, id="not the day after"),
        pytest.param(8, timedelta(days=14), True, id="a longer restore window"),
        pytest.param(15, timedelta(days=14), False, id="more than a longer restore window"),
        pytest.param(7, timedelta(days=1), True, id="a shorter restore window takes nothing away"),
    ],
)
def test_an_event_is_known_for_seven_days_and_as_long_as_can_be_restored(
    days: int, restore_window: timedelta, stays: bool
) -> None:
    town = a_processed_event(a_town(), "processed", processed_at=ago(days=days))

    report = town.tick(restore_window=restore_window)

    assert kept(town, "town_events", "event_id") == []
    assert kept(town, "known_events", "outcome") == (["applied"] if stays else [])
    assert not report.quiet


@scenario(649)
def test_one_tick_forgets_what_is_known_among_5000_numbers_and_a_later_one_does_not_hold_them_up() -> None:
    town = a_town()
    for number in (1, 2, 3, 5000, 5001):
        on = to_text(T if number == 1 else ago(days=9))[:10]
        town.insert("known_events", event=f"e{number}", seq=number, content="c", outcome="applied", processed_on=on)

    town.tick()
    assert kept(town, "known_events", "seq") == [1, 5001]


def a_town_that_has_applied(*events: Envelope) -> TownBuilder:
    """A town from which the rows of these events have left."""
    town = a_town().bead("b", title="as it was")
    town.tick(*events, at=ago(days=6))
    town.tick(at=ago(days=5))
    assert kept(town, "town_events", "event_id") == []
    return town


@scenario(649)
def test_an_event_whose_row_has_left_is_recognized_and_told_from_a_conflict() -> None:
    first = event("bead_updated", {"title": "changed once"}, bead="b", event_id="first")
    town = a_town_that_has_applied(first)
    town.tick(event("bead_updated", {"title": "changed again"}, bead="b", event_id="second"), at=ago(days=4))

    again = town.tick(first, at=T)
    assert (again.events, town.one("beads", "b", "title")) == ((), "changed again")
    assert town.value("counters")["conflicts"] == 0

    for number, other in enumerate(
        (
            replace(first, payload='{"title":"other"}'),
            replace(first, bead_id="c"),
            replace(first, agent_id="toast"),
            replace(first, event_type="bead_cancelled"),
        )
    ):
        conflict = town.tick(other, at=T + timedelta(seconds=number + 1))
        assert outcome_of(conflict, "first") == "conflict"
    assert town.one("beads", "b", "title") == "changed again"


@scenario(649)
@pytest.mark.parametrize(
    ("source", "digests"), [("ingest", 1), ("operator", 1), ("effect", 0), ("observation", 0), ("derived", 0)]
)
def test_whatever_was_sent_leaves_a_digest_and_what_the_town_made_leaves_none(source: str, digests: int) -> None:
    town = a_processed_event(a_town(), "over", processed_at=ago(hours=7), source=source)

    town.tick()

    assert (kept(town, "town_events", "event_id"), len(kept(town, "known_events", "event"))) == ([], digests)


@scenario(649)
def test_an_event_without_an_outcome_leaves_too() -> None:
    """An import may have such a row: its town had marked it as processed and said no more."""
    town = a_processed_event(a_town(), "imported", processed_at=ago(hours=7)).update(
        "town_events", "imported", outcome=None
    )

    town.tick()

    assert (kept(town, "town_events", "event_id"), kept(town, "known_events", "outcome")) == ([], [None])


@scenario(183)
@pytest.mark.parametrize(
    ("source", "outcome", "processed_at", "stays"),
    [
        pytest.param("effect", "applied", ago(hours=6), True, id="a result, after exactly 6 hours"),
        pytest.param("effect", "applied", ago(hours=6, ms=1), False, id="a result, after a millisecond more"),
        pytest.param("observation", "skipped: missing", ago(hours=6, ms=1), False, id="an observation"),
        pytest.param("derived", "applied", ago(hours=6, ms=1), False, id="a derived event"),
        pytest.param("derived", "poisoned", ago(days=6), True, id="a poisoned one can be sent again"),
        pytest.param("derived", "poisoned", ago(days=7, ms=1), False, id="a poisoned one as long as any other"),
        pytest.param("operator", "applied", ago(hours=6), True, id="an operator's, after exactly 6 hours"),
        pytest.param("operator", "applied", ago(hours=6, ms=1), False, id="an operator's, after a millisecond more"),
        pytest.param("ingest", "skipped: missing", ago(hours=6, ms=1), False, id="an agent's"),
    ],
)
def test_the_rows_of_processed_events_are_kept_six_hours(
    source: str, outcome: str, processed_at: datetime, stays: bool
) -> None:
    """The journal has the events, and lists show them from there."""
    town = a_processed_event(a_town(), "made", processed_at=processed_at, source=source, outcome=outcome)

    town.tick()

    assert kept(town, "town_events", "event_id") == (["made"] if stays else [])


@scenario(183)
def test_a_result_that_is_posted_again_when_its_event_is_forgotten_changes_nothing() -> None:
    town = a_town().bead("b1")
    (start,) = (effect for effect in town.tick().effects if effect.kind == "dispatch_agent")
    result = {"effect_id": start.effect_id, "attempt": 1, "generation": start.generation, "outcome": "started"}
    told = event("dispatch_result", result, agent=start.subject, event_id=f"res-{start.effect_id}-1", source="effect")
    town.tick(told, at=T + MS)
    later = T + limits.EVENT_ROWS_KEPT + timedelta(hours=1)
    town.tick(at=later)
    assert told.event_id not in kept(town, "town_events", "event_id")
    before = town.rows("SELECT * FROM outbox WHERE effect_id = ?", start.effect_id)

    again = town.tick(told, at=later + MS)

    assert outcome_of(again, told.event_id) == "skipped: late"
    assert town.rows("SELECT * FROM outbox WHERE effect_id = ?", start.effect_id) == before


@scenario(183)
def test_a_copy_that_waited_for_eight_days_in_the_rest_of_a_backlog_is_recognized() -> None:
    """The town stood still with half of its backlog. Meanwhile the ids of the other half would have become old enough to forget."""
    town = a_town().bead("b", title="as it was")
    town.tick(
        event("bead_updated", {"title": "changed once"}, bead="b", event_id="first", at=ago(days=8)), at=ago(days=8)
    )
    town.tick(
        event("bead_updated", {"title": "changed again"}, bead="b", event_id="second", at=ago(days=8)),
        at=ago(days=8, ms=-1),
    )
    other = event("bead_updated", {"priority": "high"}, bead="b", event_id="other", at=ago(days=8))
    town.tick(other, at=T, more_waiting=True)

    copy = event("bead_updated", {"title": "changed once"}, bead="b", event_id="first", at=ago(days=7, ms=1))
    town.tick(copy, at=T + MS, more_waiting=False)

    assert town.one("beads", "b", "title") == "changed again"
    assert kept(town, "town_events", "event_id") == ["other"]


@pytest.mark.illegal_state
@scenario(183)
def test_an_event_that_is_pending_for_30_days_stays() -> None:
    town = a_town().agent("stranger", "witness")  # what names this row fails, and stays pending
    old = event("agent_heartbeat", agent="stranger", event_id="old-beat", at=ago(days=30))

    report = town.tick(old)

    assert outcome_of(report, "old-beat") == "failed"
    assert town.one("town_events", "old-beat", "processed_at", "retry_count") == (None, 1)


@scenario(183)
def test_reads_are_forgotten_after_an_hour_and_other_effects_after_half_a_day() -> None:
    town = a_town().agent("at-work", status="working", generation=3, hook=None)
    rows = [
        ("poll-kept", "poll_pr", ago(hours=1)),
        ("poll-gone", "poll_pr", ago(hours=1, ms=1)),
        ("token-gone", "refresh_token", ago(hours=1, ms=1)),
        ("model-gone", "update_model", ago(hours=1, ms=1)),
        ("stop-kept", "stop_agent", ago(hours=12)),
        ("stop-gone", "stop_agent", ago(hours=12, ms=1)),
    ]
    for seq, (effect_id, kind, finished_at) in enumerate(rows):
        columns = {"kind": kind, "subject": effect_id, "state": "done", "finished_at": finished_at, **EFFECT}
        town.insert("outbox", effect_id=effect_id, seq=seq, **columns)

    town.tick()

    assert kept(town, "outbox", "effect_id") == ["poll-kept", "stop-kept"]


@scenario(183)
def test_the_dispatch_of_the_present_generation_of_an_agent_stays_however_old() -> None:
    """Its order is read when the agent reports, and an agent may work for days."""
    town = a_town().agent("toast", generation=3)
    for generation in (2, 3):
        columns = {**EFFECT, "kind": "dispatch_agent", "subject": "toast", "generation": generation, "state": "done"}
        town.insert("outbox", effect_id=f"start-{generation}", seq=generation, finished_at=ago(days=5), **columns)

    town.tick()

    assert kept(town, "outbox", "effect_id") == ["start-3"]


@scenario(183)
def test_the_exits_of_an_agent_are_forgotten_after_two_days_but_for_its_last_row() -> None:
    """An agent stays in the image, so its trail grew for as long as the town lived."""
    town = a_town().agent("busy").agent("quiet").bead("b")
    rows = [
        ("busy", "agent_exited", ago(hours=48, ms=1)),
        ("busy", "created", ago(days=9)),
        ("quiet", "agent_exited", ago(days=9)),
        ("b", "agent_exited", ago(days=9)),
        ("busy", "agent_exited", ago(hours=47, minutes=59)),
        ("busy", "agent_exited", ago(hours=1)),
        ("b", "closed", ago(days=9)),
    ]
    for seq, (bead_id, event_type, created_at) in enumerate(rows):
        columns = {"bead_id": bead_id, "event_type": event_type, "created_at": created_at}
        town.insert("bead_events", bead_event_id=f"row-{seq}", seq=seq, **columns)

    for number in range(limits.ARCHIVE_LOOK_EVERY):
        town.tick(
            event("bead_updated", {"title": f"{number}"}, bead="b", event_id=f"update-{number}"), at=T + number * MS
        )

    left = town.rows("SELECT seq FROM bead_events WHERE seq < 7 ORDER BY seq")
    assert [seq for (seq,) in left] == [1, 2, 3, 4, 5, 6]


@scenario(183)
def test_delivered_nudges_are_forgotten_after_seven_days_and_others_never() -> None:
    town = a_town()
    town.insert("agent_nudges", nudge_id="gone", delivered_at=ago(days=7, ms=1), **NUDGE)
    town.insert("agent_nudges", nudge_id="kept", delivered_at=ago(days=7), **NUDGE)
    town.insert("agent_nudges", nudge_id="waits", **NUDGE)

    town.tick()

    assert kept(town, "agent_nudges", "nudge_id") == ["kept", "waits"]


@scenario(183)
def test_one_tick_forgets_5000_rows_oldest_first() -> None:
    town = a_town()
    for number in range(5_003):
        a_processed_event(town, f"e{number:04}", seq=number, processed_at=ago(days=9) + number * MS)

    first = town.tick()
    left = kept(town, "town_events", "event_id")
    town.tick(at=T + timedelta(seconds=5))

    assert left == ["e5000", "e5001", "e5002"]
    assert first.next_due is None  # what is left waits for the next tick that has another reason
    assert kept(town, "town_events", "event_id") == []


@scenario(183)
def test_journal_rows_go_only_once_they_are_published() -> None:
    town = a_town().bead("b1", status="in_progress").agent("p", status="working", hook="b1")
    for number in range(10):
        town.tick(at=T + timedelta(seconds=5 * number))

    town.tick(at=T + timedelta(seconds=50), published_to=7)

    assert [row[0] for row in town.rows("SELECT tick_no FROM ticks ORDER BY tick_no")] == [8, 9, 10, 11, 12]


@scenario(183)
def test_the_audit_trail_is_kept_for_ever() -> None:
    town = a_town().bead("b1")
    town.tick(event("bead_cancelled", bead="b1"))
    trail = town.rows("SELECT seq, event_type FROM bead_events ORDER BY seq")

    town.tick(at=T + timedelta(days=800))

    assert town.rows("SELECT seq, event_type FROM bead_events ORDER BY seq") == trail != []


@scenario(183)
def test_retention_never_makes_a_town_due() -> None:
    town = a_processed_event(a_town(), "processed", processed_at=ago(days=6, hours=23))

    report = town.tick(event("town_configured", {"config": {"merge_strategy": "pr"}}))
    again = town.tick(at=T + timedelta(seconds=5))

    assert report.next_due is not None  # the new configuration is looked at once
    assert again.next_due is None
