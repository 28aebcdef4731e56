"""Of several waiting heartbeats of one agent only the newest is applied (spec/events.md 3.1)."""

from datetime import timedelta

from shared.domain.times import to_text
from tests.scenarios.stories import beat, outcomes
from tests.towns import T, TownBuilder, a_town, ago

SECOND = timedelta(seconds=1)


def a_worker() -> TownBuilder:
    return (
        a_town()
        .bead("b", status="in_progress", assignee_agent_bead_id="p")
        .agent("p", status="working", hook="b", generation=2)
    )


def said(town: TownBuilder) -> str:
    found: str = town.one("agent_metadata", "p", "last_event_type")
    return found


def test_the_newest_of_two_is_applied_though_it_came_first() -> None:
    town = a_worker()
    report = town.tick(
        beat("p", ago(seconds=2), last_event_type="newer", last_event_at=to_text(T - 3 * SECOND)),
        beat("p", ago(seconds=1), last_event_type="older", last_event_at=to_text(T - 4 * SECOND)),
    )
    assert said(town) == "newer"
    assert outcomes(report) == [("agent_heartbeat", "applied")] * 2
    assert report.metrics.events_drained == 2


def test_the_last_of_two_with_one_time_is_applied() -> None:
    town = a_worker()
    town.tick(
        beat("p", ago(seconds=2), last_event_type="first", last_event_at=to_text(T - SECOND)),
        beat("p", ago(seconds=1), last_event_type="last", last_event_at=to_text(T - SECOND)),
    )
    assert said(town) == "last"


def test_a_beat_of_an_older_generation_does_not_hide_one_of_this_generation() -> None:
    town = a_worker()
    report = town.tick(
        beat("p", ago(seconds=2), last_event_type="this", last_event_at=to_text(T - 2 * SECOND), generation=2),
        beat("p", ago(seconds=1), last_event_type="old", last_event_at=to_text(T - SECOND), generation=1),
    )
    assert said(town) == "this"
    assert [outcome for _, outcome in outcomes(report)] == ["applied", "skipped: stale generation"]
