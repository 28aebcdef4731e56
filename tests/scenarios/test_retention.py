"""Scenario 183: what a town forgets, and when. Forgetting never wakes a town."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of

NUDGE: dict[str, Any] = {"agent_bead_id": "mayor", "message": "x", "created_at": ago(days=60)}
EFFECT: dict[str, Any] = {"generation": 1, "payload": {}, "created_at": ago(days=60), "deadline": ago(days=60)}


def a_processed_event(town: TownBuilder, event_id: str, *, processed_at: datetime, seq: int = 1) -> TownBuilder:
    return town.key("next_seq", seq + 1).insert(
        "town_events",
        event_id=event_id,
        seq=seq,
        event_type="bead_updated",
        source="ingest",
        created_at=processed_at,
        received_at=processed_at,
        processed_at=processed_at,
        outcome="applied",
    )


def kept(town: TownBuilder, table: str, column: str) -> list[str]:
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
def test_processed_events_are_kept_seven_days_and_as_long_as_can_be_restored(
    processed_at: datetime, restore_window: timedelta, stays: bool
) -> None:
    town = a_processed_event(a_town(), "processed", processed_at=processed_at)

    report = town.tick(restore_window=restore_window)

    assert kept(town, "town_events", "event_id") == (["processed"] if stays else [])
    assert report.quiet is stays  # forgetting is a change, and a change is committed


@pytest.mark.illegal_state
@scenario(183)
def test_an_event_that_is_pending_for_30_days_stays() -> None:
    town = a_town().agent("stranger", "witness")  # what names this row fails, and stays pending
    old = event("agent_heartbeat", agent="stranger", event_id="old-beat", at=ago(days=30))

    report = town.tick(old)

    assert outcome_of(report, "old-beat") == "failed"
    assert town.one("town_events", "old-beat", "processed_at", "retry_count") == (None, 1)


@scenario(183)
def test_reads_are_forgotten_after_an_hour_and_other_effects_after_seven_days() -> None:
    town = a_town()
    rows = [
        ("poll-kept", "poll_pr", ago(hours=1)),
        ("poll-gone", "poll_pr", ago(hours=1, ms=1)),
        ("token-gone", "refresh_token", ago(hours=1, ms=1)),
        ("model-gone", "update_model", ago(hours=1, ms=1)),
        ("stop-kept", "stop_agent", ago(days=7)),
        ("stop-gone", "stop_agent", ago(days=7, ms=1)),
    ]
    for seq, (effect_id, kind, finished_at) in enumerate(rows):
        columns = {"kind": kind, "subject": effect_id, "state": "done", "finished_at": finished_at, **EFFECT}
        town.insert("outbox", effect_id=effect_id, seq=seq, **columns)

    town.tick()

    assert kept(town, "outbox", "effect_id") == ["poll-kept", "stop-kept"]


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
