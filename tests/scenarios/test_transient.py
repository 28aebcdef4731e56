"""Scenarios 210, 211 and 214: heartbeats leave no trace but their times, and what is observed is news once."""

from datetime import datetime, timedelta

import pytest

from shared.domain.processes import ProcessState, ProcessStatus
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.town.known_events import content_digest
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event, outcome_of
from tests.worlds import World, a_world

AGENTS = [f"p{number:02}" for number in range(20)]


def twenty_agents_at_work() -> TownBuilder:
    town = a_town()
    for agent in AGENTS:
        bead = f"bead-of-{agent}"
        town.bead(bead, status="in_progress", assignee_agent_bead_id=agent)
        town.agent(agent, status="working", hook=bead, last_event_at=ago(seconds=5))
    return town


def a_beat(agent: str, *, at: datetime, generation: int = 1) -> Envelope:
    return event("agent_heartbeat", {"generation": generation, "last_event_at": to_text(at)}, agent=agent, at=at)


# 210: a day of heartbeats


@scenario(210)
@pytest.mark.slow
def test_a_day_of_heartbeats_leaves_no_row_and_the_town_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds of heartbeats a tick; the journal rows of the last hour stay, older ones lie elsewhere.

    The ticks of the first hour are replayed; the others are like them.
    """
    town = twenty_agents_at_work()
    minute = timedelta(minutes=1)
    sizes: list[int] = []
    for number in range(24 * 60):
        now = T + number * minute
        if number == 60:
            monkeypatch.setattr(TownBuilder, "replays", False)
        beats = [a_beat(agent, at=at) for at in (now - minute / 2, now) for agent in AGENTS]
        report = town.tick(*beats, at=now, published_to=max(0, number - 60))
        assert [seen.outcome for seen in report.events] == ["applied"] * 40
        assert {judged.rule for judged in report.actions} <= {"housekeeping.refresh_token"}
        if number % 240 == 239:
            sizes.append(len(town.image()))

    assert town.rows("SELECT COUNT(*) FROM town_events WHERE event_type = 'agent_heartbeat'") == [(0,)]
    assert max(sizes) == sizes[0]
    assert {town.doing(agent)[0] for agent in AGENTS} == {"working"}
    assert town.rows("SELECT DISTINCT last_activity_at FROM agent_metadata WHERE role = 'polecat'") == [
        (to_text(T + 1_439 * minute),)
    ]


@scenario(210)
def test_no_heartbeat_wakes_the_town_by_itself() -> None:
    world = a_world(twenty_agents_at_work())
    world.look()
    due = world.markers()

    world.clock.move(seconds=10)
    world.post(*[a_beat(agent, at=world.clock.now()) for agent in AGENTS])
    world.post(event("agent_status", {"message": "thinking"}, agent="p00", at=world.clock.now()))

    assert world.markers() == due
    assert world.look().runs == []
    assert len(world.inbox()) == 2
    world.clock.at = T + timedelta(seconds=60)
    [run] = world.look().runs
    assert run.tick is not None
    assert [seen.outcome for seen in run.tick.events] == ["applied"] * 21
    assert world.inbox() == ()
    assert [seen["event_type"] for seen in world.journal()[-1]["inputs"]["new_events"]].count("agent_heartbeat") == 20
    assert world.town().one("agent_metadata", "p00", "agent_status_message") == "thinking"


@scenario(210)
def test_a_run_that_finds_only_signs_of_life_leaves_them_to_the_next_watch() -> None:
    world = a_world(twenty_agents_at_work())
    world.look()
    world.clock.move(seconds=10)
    world.post(*[a_beat(agent, at=world.clock.now()) for agent in AGENTS])

    early = world.run(force=False)
    world.clock.at = T + timedelta(seconds=60)
    [watch] = world.look().runs

    assert (early.outcome, early.next_due) == ("not_due", T + timedelta(seconds=60))
    assert watch.outcome == "committed"
    assert world.inbox() == ()


@scenario(210)
def test_signs_of_life_in_a_town_that_nobody_watches_are_taken_after_a_minute() -> None:
    world = a_world(a_town().agent("p").key("next_due_at", to_text(T + timedelta(hours=1))))
    batch = world.post(a_beat("p", at=T), at=T)

    runs = world.live_through(timedelta(seconds=60) - MS, every=timedelta(seconds=1))
    world.clock.move(ms=1)
    [last] = world.look().runs

    assert {run.outcome for run in runs} == {"not_due"}
    assert len(runs) == 1
    assert last.outcome == "committed"
    assert batch not in world.inbox()


@scenario(210)
def test_a_batch_that_holds_anything_else_wakes_the_town() -> None:
    world = a_world(twenty_agents_at_work())
    world.look()

    world.clock.move(seconds=10)
    world.post(a_beat("p00", at=world.clock.now()), event("bead_cancelled", bead="bead-of-p01", at=world.clock.now()))

    [run] = world.look().runs
    assert run.outcome == "committed"


@pytest.mark.illegal_state
@scenario(210)
def test_a_heartbeat_that_fails_stays_until_it_is_poisoned() -> None:
    town = a_town().agent("stranger", "witness", "working")
    beat = event("agent_heartbeat", agent="stranger", event_id="beat-of-stranger")

    outcomes = [outcome_of(town.tick(beat, at=T + timedelta(seconds=5 * number)), beat.event_id) for number in range(4)]

    assert outcomes == ["failed", "failed", "poisoned", None]
    assert town.one("town_events", beat.event_id, "outcome", "retry_count") == ("poisoned", 3)


# 211: two heartbeats in one batch


@scenario(211)
def test_of_two_heartbeats_the_newer_counts_though_it_came_first() -> None:
    town = twenty_agents_at_work()
    newer, older = a_beat("p00", at=ago(seconds=1)), a_beat("p00", at=ago(seconds=31))

    report = town.tick(newer, older)

    assert [outcome_of(report, beat.event_id) for beat in (newer, older)] == ["applied", "applied"]
    assert report.metrics.events_drained == 2
    assert town.one("agent_metadata", "p00", "last_activity_at", "last_event_at") == (to_text(ago(seconds=1)),) * 2
    assert town.rows("SELECT 1 FROM town_events") == []


@scenario(211)
def test_of_two_heartbeats_in_one_batch_the_tick_is_given_the_newer() -> None:
    world: World = a_world(twenty_agents_at_work())
    newer = event(
        "agent_heartbeat", {"last_event_at": to_text(ago(seconds=1)), "generation": 1}, agent="p00", event_id="beat-new"
    )
    older = event(
        "agent_heartbeat",
        {"last_event_at": to_text(ago(seconds=31)), "generation": 1},
        agent="p00",
        event_id="beat-old",
    )
    world.post(newer, older)

    world.run()

    [row] = world.journal()
    assert {seen["event_id"]: seen["outcome"] for seen in row["outputs"]["events"]} == {"beat-new": "applied"}
    assert world.inbox() == (), "the outdone one was taken with its batch"
    assert world.town().one("agent_metadata", "p00", "last_event_at") == to_text(ago(seconds=1))


@scenario(211)
def test_heartbeats_of_two_generations_do_not_outdo_each_other() -> None:
    town = twenty_agents_at_work().update("agent_metadata", "p00", generation=2)
    old, new = a_beat("p00", at=ago(seconds=1)), a_beat("p00", at=ago(seconds=31), generation=2)

    report = town.tick(old, new)

    assert outcome_of(report, old.event_id) == "skipped: stale generation"
    assert outcome_of(report, new.event_id) == "applied"


# 214: what is observed


def a_worker() -> TownBuilder:
    """Agent p works on b1 and was last heard of ten seconds ago."""
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b1", last_activity_at=ago(seconds=10))


def observed(town: TownBuilder, *statuses: ProcessState) -> list[list[tuple[str, str]]]:
    """What becomes of these observations, one a tick: type and outcome of the events of each."""
    told = []
    for number, status in enumerate(statuses):
        report = town.tick(at=T + number * MS, seen={"p": ProcessStatus(status, None, 1)})
        told.append([(seen.event_type, seen.outcome) for seen in report.events])
    return told


NEWS = [("container_status", "applied")]


@scenario(214)
def test_each_other_status_is_news_and_changes_nothing() -> None:
    town = a_worker()
    before = town.doing("p")

    told = observed(town, "stopped", "error", "unknown")

    assert told == [NEWS, NEWS, NEWS]
    assert town.doing("p") == before
    assert town.status("b1") == "in_progress"
    rows = town.rows("SELECT content_digest, source FROM town_events ORDER BY seq")
    assert rows == [
        (content_digest(f'{{"generation":1,"status":"{status}"}}'), "observation")
        for status in ("stopped", "error", "unknown")
    ]


@scenario(214)
def test_the_same_status_again_is_no_news() -> None:
    assert observed(a_worker(), "stopped", "stopped", "stopped") == [NEWS, [], []]


@scenario(214)
def test_running_in_between_begins_a_new_episode() -> None:
    assert observed(a_worker(), "stopped", "running", "stopped") == [NEWS, [], NEWS]
