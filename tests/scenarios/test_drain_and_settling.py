"""Scenarios 162 to 166: a town whose container goes away, and a town after an outage."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain.processes import ProcessStatus
from shared.domain.report import TickReport
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.events.containers import drain_nonce
from tests.scenarios.table import scenario
from tests.towns import MS, TOWN, T, TownBuilder, a_town, actions, ago, event, outcome_of, rules_of, types_of

EVICTION = event("container_eviction", event_id="eviction-1")
NONCE = drain_nonce(TOWN, "eviction-1")


def a_draining_town() -> TownBuilder:
    """b1 is ready and waits for the drain that began a minute ago to end."""
    return a_town().bead("b1").key("drain", {"nonce": NONCE, "started_at": to_text(ago(minutes=1))})


def a_heartbeat(*, instance: str | None, at: datetime = T, generation: int = 2) -> Envelope:
    payload = {"generation": generation, "last_event_at": to_text(at)}
    return event(
        "agent_heartbeat", payload | ({"container_instance_id": instance} if instance else {}), agent="p", at=at
    )


# 162: eviction


@scenario(162)
def test_an_eviction_stops_every_dispatch_of_the_same_tick() -> None:
    town = (
        a_town()
        .bead("b1")
        .bead("b2")
        .agent("p", hook="b2")
        .review("m1")
        .bead("q1", labels=["gt:triage-request"], rig_id=None)
    )

    report = town.tick(EVICTION)

    assert outcome_of(report, "eviction-1") == "applied"
    assert "dispatch_agent" not in types_of(report)
    assert "start_triage_batch" not in types_of(report)
    assert town.value("drain") == {"nonce": NONCE, "started_at": to_text(T)}
    assert town.waiting() == {"draining": 4}  # both beads, the review and the question to triage


@scenario(162)
def test_a_drain_lasts_seven_minutes_and_ends_by_itself() -> None:
    town = a_town().bead("b1")
    began = town.tick(EVICTION)

    lasting = town.tick(at=T + timedelta(milliseconds=420_000))
    over = town.tick(at=T + timedelta(milliseconds=420_001))

    assert began.next_due == T + timedelta(milliseconds=420_001)
    assert actions(lasting, rule="beads.dispatch_ready") == []
    assert town.value("drain") is None
    assert types_of(over, rule="beads.dispatch_ready") == ["dispatch_agent"]


@scenario(162)
def test_a_newer_eviction_replaces_the_drain_that_is_on() -> None:
    town = a_draining_town()

    town.tick(event("container_eviction", event_id="eviction-2"))

    assert town.value("drain") == {"nonce": drain_nonce(TOWN, "eviction-2"), "started_at": to_text(T)}


# 163: the container is back


@scenario(163)
def test_a_heartbeat_from_another_container_ends_the_drain() -> None:
    town = a_draining_town().key("container_instance_id", "old").bead("b2", status="in_progress")
    town.agent("p", status="working", hook="b2", generation=2)

    report = town.tick(a_heartbeat(instance="new"))

    assert [applied.outcome for applied in report.events] == ["applied"]
    assert town.value("drain") is None
    assert town.value("container_instance_id") == "new"
    assert types_of(report, rule="beads.dispatch_ready") == ["dispatch_agent"]


@scenario(163)
@pytest.mark.parametrize(
    ("known", "instance", "generation"),
    [
        pytest.param("old", "old", 2, id="the same container"),
        pytest.param("old", None, 2, id="a heartbeat that names no container"),
        pytest.param(None, "new", 2, id="the first container that the town hears of"),
        pytest.param("old", "new", 1, id="an agent of an old generation"),
    ],
)
def test_no_other_heartbeat_ends_the_drain(known: str | None, instance: str | None, generation: int) -> None:
    town = a_draining_town().key("container_instance_id", known).bead("b2", status="in_progress")
    town.agent("p", status="working", hook="b2", generation=2)

    report = town.tick(a_heartbeat(instance=instance, generation=generation))

    assert [applied.outcome for applied in report.events] == [
        "applied" if generation == 2 else "skipped: stale generation"
    ]
    assert town.value("drain") is not None
    assert actions(report, rule="beads.dispatch_ready") == []
    assert town.value("container_instance_id") == ("new" if known is None else known)


@scenario(163)
def test_a_wrong_nonce_is_rejected_and_the_drain_goes_on() -> None:
    town = a_draining_town()

    report = town.tick(event("container_ready", {"nonce": "guessed"}, event_id="ready-01"))

    assert outcome_of(report, "ready-01") == "rejected: wrong nonce"
    assert town.value("drain") is not None
    assert actions(report, rule="beads.dispatch_ready") == []


@scenario(163)
def test_the_right_nonce_ends_the_drain() -> None:
    town = a_draining_town()

    report = town.tick(event("container_ready", {"nonce": NONCE}, event_id="ready-01"))

    assert outcome_of(report, "ready-01") == "applied"
    assert town.value("drain") is None
    assert types_of(report, rule="beads.dispatch_ready") == ["dispatch_agent"]


@scenario(163)
def test_ready_without_a_drain_is_accepted_and_changes_nothing() -> None:
    town = a_town()

    report = town.tick(event("container_ready", {"nonce": "anything"}, event_id="ready-01"))

    assert outcome_of(report, "ready-01") == "applied"
    assert town.value("drain") is None
    assert report.actions == ()


# 164: when settling begins


def a_silent_worker(*, last_tick: datetime) -> TownBuilder:
    """Agent p works on b1 and was last heard of two minutes and one millisecond ago."""
    town = a_town().key("last_tick_at", to_text(last_tick)).bead("b1", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", status="working", hook="b1", last_activity_at=ago(ms=120_001))


@scenario(164)
def test_three_minutes_between_ticks_are_no_outage() -> None:
    town = a_silent_worker(last_tick=ago(ms=180_000))

    report = town.tick()

    assert town.value("settling_until") is None
    assert rules_of(report)[0] == "agents.heartbeat_lost"


@scenario(164)
def test_one_millisecond_more_is_an_outage_and_the_town_settles_for_90_s() -> None:
    town = a_silent_worker(last_tick=ago(ms=180_001))

    report = town.tick()

    assert town.value("settling_until") == to_text(T + timedelta(seconds=90))
    assert actions(report, rule="agents.heartbeat_lost") == []


@scenario(164)
def test_a_review_in_progress_makes_a_town_settle_too() -> None:
    town = a_town().key("last_tick_at", to_text(ago(hours=1)))
    town.review("m1", "in_progress", pr_url="https://github.com/acme/main-rig/pull/1", updated_at=ago(hours=1))

    report = town.tick()

    assert town.value("settling_until") == to_text(T + timedelta(seconds=90))
    assert types_of(report, rule="reviews.poll_pull_request") == ["poll_pr"]


@scenario(164)
def test_a_town_without_work_in_progress_never_settles() -> None:
    town = a_town().key("last_tick_at", to_text(ago(days=3))).bead("b1").agent("p").review("m1")

    report = town.tick()

    assert town.value("settling_until") is None
    assert "beads.dispatch_ready" in rules_of(report)


@scenario(164)
def test_a_new_outage_while_settling_starts_it_again() -> None:
    town = a_silent_worker(last_tick=ago(ms=180_001))
    town.tick()

    again = T + timedelta(milliseconds=180_001)
    town.tick(at=again)

    assert town.value("settling_until") == to_text(again + timedelta(seconds=90))


# 165: an outage of 45 minutes


@scenario(165)
def test_healthy_agents_survive_an_outage_of_45_minutes() -> None:
    outage = ago(minutes=45)
    town = a_town().key("last_tick_at", to_text(outage)).bead("ready", created_at=outage, updated_at=outage)
    agents = [f"p{number}" for number in range(10)]
    for agent in agents:
        bead = f"bead-of-{agent}"
        town.bead(bead, status="in_progress", assignee_agent_bead_id=agent, updated_at=outage)
        town.agent(agent, status="working", hook=bead, last_activity_at=outage, last_event_at=outage)
    town.review("m1", "in_progress", pr_url="https://github.com/acme/main-rig/pull/1", updated_at=outage)

    reports = [town.tick(seen={agent: ProcessStatus("running", None, 1) for agent in agents})]
    for step in range(1, 19):  # the last one is the first that settling does not hold back
        now = T + timedelta(seconds=5 * step)
        back = [agent for number, agent in enumerate(agents) if step >= number + 3 and (step - number) % 6 == 3]
        beats = [_beat(agent, at=now) for agent in back]
        reports.append(town.tick(*beats, at=now, seen={agent: ProcessStatus("running", None, 1) for agent in agents}))

    assert {town.doing(agent) for agent in agents} == {("working", f"bead-of-{agent}") for agent in agents}
    assert {town.status(f"bead-of-{agent}") for agent in agents} == {"in_progress"}
    assert town.status("m1") == "in_progress"
    assert town.rows("SELECT nudge_id FROM agent_nudges") == []
    assert town.value("settling_until") is None
    asked_for = {rule for report in reports for rule in rules_of(report)}
    assert asked_for == {"beads.dispatch_ready", "reviews.poll_pull_request"}
    assert types_of(reports[0], rule="beads.dispatch_ready") == ["dispatch_agent"]
    assert types_of(reports[0], rule="reviews.poll_pull_request") == ["poll_pr"]


def _beat(agent: str, *, at: datetime) -> Envelope:
    return event("agent_heartbeat", {"generation": 1, "last_event_at": to_text(at)}, agent=agent, at=at)


# 166: when settling ends


@scenario(166)
def test_a_silent_agent_is_lost_exactly_when_settling_ends() -> None:
    town = a_silent_worker(last_tick=ago(ms=180_001))
    started = town.tick()

    waits = town.tick(at=T + timedelta(milliseconds=89_999))
    acts = town.tick(at=T + timedelta(milliseconds=90_000))

    assert started.next_due == T + timedelta(seconds=60)  # it is watched meanwhile
    assert waits.next_due == T + timedelta(milliseconds=90_000)
    assert actions(waits, rule="agents.heartbeat_lost") == []
    assert types_of(acts, rule="agents.heartbeat_lost") == ["transition_agent"]
    assert town.value("settling_until") is None
    assert town.doing("p") == ("idle", "b1")


@scenario(166)
@pytest.mark.parametrize(
    ("rule", "built"),
    [
        pytest.param("agents.heartbeat_never_seen", lambda town: _works(town, last_activity_at=None), id="A1"),
        pytest.param(
            "agents.retire_stalled",
            lambda town: _works(town, status="stalled", stalled_at=ago(hours=3)),
            id="A4",
        ),
        pytest.param(
            "beads.reopen_lost", lambda town: town.bead("b2", status="in_progress", updated_at=ago(hours=1)), id="B3"
        ),
        pytest.param(
            "reviews.reopen_abandoned",
            lambda town: town.review("m1", "in_progress", updated_at=ago(hours=1)),
            id="R3",
        ),
        pytest.param(
            "reviews.reopen_stuck",
            lambda town: town.review("m1", "in_progress", updated_at=ago(hours=1)).agent(
                "f", "refinery", "dead", hook="m1", last_activity_at=ago(hours=1)
            ),
            id="R2",
        ),
        pytest.param("liveness.warn", lambda town: _works(town, last_event_at=ago(minutes=16)), id="G1"),
    ],
)
def test_recovery_by_time_waits_for_the_end_of_settling(rule: str, built: Callable[[TownBuilder], TownBuilder]) -> None:
    def judged(settling_until: datetime) -> TickReport:
        town = a_town().key("settling_until", to_text(settling_until))
        return built(town).tick()

    assert actions(judged(T + MS), rule=rule) == []
    assert actions(judged(T), rule=rule) != []


def _works(town: TownBuilder, **columns: Any) -> TownBuilder:
    town.bead("b1", status="in_progress", assignee_agent_bead_id="p")
    return town.agent("p", **{"status": "working", "hook": "b1", **columns})
