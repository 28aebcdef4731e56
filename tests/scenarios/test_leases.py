"""Scenarios 240 to 247: a lease that is given away is revoked, and a wrong clock changes nothing."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import pytest

from shared.domain.limits import STOP_REARM_AFTER, just_after
from shared.domain.processes import ProcessState, ProcessStatus
from shared.domain.report import TickReport
from shared.domain.restores import InPlaceRestore
from shared.domain.times import to_text
from shared.images import restoring
from shared.town import database
from tests.scenarios.stories import answers, beat, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago, event

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
YEAR: Final = timedelta(days=365)


def at_work(**columns: Any) -> TownBuilder:
    """P works on B in generation 1, since an hour."""
    given: dict[str, Any] = {"status": "working", "hook": "b", "dispatched_at": ago(hours=1)}
    given |= {"last_dispatch_bead_id": "b", "last_activity_at": ago(seconds=10), **columns}
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", dispatch_attempts=1)
    return town.agent("p", **given)


def stops(town: TownBuilder) -> list[tuple[str, int, str]]:
    """(agent, generation, state) of every stop."""
    return [(subject, generation, state) for _, subject, generation, state in outbox(town, "stop_agent")]


def failed_stops(report: TickReport, at: datetime) -> list[Any]:
    """The stops of a tick are not answered by the runtime."""
    return [
        event(
            "stop_result",
            {
                "effect_id": effect.effect_id,
                "attempt": effect.attempt,
                "generation": effect.generation,
                "ok": False,
                "error": "no answer",
                "passing": True,
            },
            event_id=f"res-{effect.effect_id}-{effect.attempt}",
            agent=effect.subject,
            at=at,
            source="effect",
        )
        for effect in report.effects
        if effect.kind == "stop_agent"
    ]


# --- the network of an agent goes -----------------------------------------------------------------------------------


@scenario(240)
@pytest.mark.parametrize("minutes", [4, 40])
@pytest.mark.parametrize("container", ["unknown", "not asked"])
def test_an_agent_that_comes_back_was_replaced_once_and_is_stopped(minutes: int, container: str) -> None:
    town = at_work()
    now, report, pending = T, town.tick(), list[Any]()
    back = T + minutes * MINUTE
    working = 2
    while now < back + 30 * MINUTE:
        now += 30 * SECOND
        heard = [] if now < back else [beat("p", now, generation=1)]
        if town.one("agent_metadata", "p", "generation") == working:
            heard.append(beat("p", now, generation=working))
        seen = {"p": ProcessStatus("unknown")} if container == "unknown" else None
        report = town.tick(*pending, *heard, at=now, seen=seen)
        pending = answers(report, now + SECOND)
    assert [row[1:3] for row in outbox(town, "dispatch_agent")] == [("p", 2)], "given away once"
    assert stops(town)[0] == ("p", 1, "done")
    assert {generation for _, generation, _ in stops(town)} == {1}, "only the first generation is ever stopped"
    assert (town.doing("p"), town.one("agent_metadata", "p", "generation")) == (("working", "b"), 2)


@scenario(240)
def test_what_a_replaced_generation_reports_changes_nothing_but_its_stop() -> None:
    town = at_work(generation=2)
    before = (town.doing("p"), town.status("b"), town.one("agent_metadata", "p", "last_activity_at"))
    told = {"branch": "gt/p/b", "summary": "late", "generation": 1}
    report = town.tick(event("agent_done", told, agent="p", bead="b"), beat("p", T, generation=1))
    assert outcomes(report) == [
        ("agent_done", "skipped: stale generation"),
        ("agent_heartbeat", "skipped: stale generation"),
    ]
    assert (town.doing("p"), town.status("b"), town.one("agent_metadata", "p", "last_activity_at")) == before
    assert stops(town) == [("p", 1, "claimed")]


# --- stops that fail ------------------------------------------------------------------------------------------------


@scenario(241)
def test_a_stop_that_failed_five_times_is_requested_again_while_the_agent_reports() -> None:
    town = at_work(status="idle", last_dispatch_outcome="alive", last_activity_at=ago(seconds=91))
    report, now = town.tick(), T
    assert stops(town) == [("p", 1, "claimed")]
    while stops(town)[0][2] != "failed":
        now += 5 * MINUTE + SECOND
        report = town.tick(*failed_stops(report, now - SECOND), at=now)
        assert now < T + timedelta(hours=1)
        if not report.effects and stops(town)[0][2] == "expired":
            break
    first = len(stops(town))
    town.tick(beat("p", now, generation=1), at=now + SECOND)
    again = stops(town)
    assert len(again) == first + 1
    assert again[-1][:2] == ("p", 1)
    assert len({row[0] for row in town.rows("SELECT effect_id FROM outbox WHERE kind = 'stop_agent'")}) == len(again)


@scenario(241)
def test_a_stop_is_requested_again_at_most_once_in_five_minutes() -> None:
    town = at_work(generation=2)
    requested = []
    for number in range(41):
        now = T + number * 30 * SECOND
        report = town.tick(beat("p", now, generation=1), beat("p", now, generation=2), at=now)
        requested += [now for effect in report.effects if effect.kind == "stop_agent"]
        town.tick(*answers(report, now + SECOND), at=now + 5 * SECOND)
    assert len(requested) == 4
    assert all(later - earlier > STOP_REARM_AFTER for earlier, later in pairwise(requested))


# --- agents that are gone, work that is done ------------------------------------------------------------------------


@scenario(242)
def test_a_forgotten_agent_is_stopped_and_stopped_again_if_it_reports() -> None:
    town = a_town().agent("p", last_activity_at=ago(hours=24, ms=1), generation=3)
    first = town.tick()
    assert deeds(first, of="garbage") == ["garbage.forget_idle_agent: delete_agent p"]
    assert stops(town) == [("p", 3, "claimed")]
    town.tick(*answers(first, T + SECOND), at=T + 5 * SECOND)
    now = just_after(T + STOP_REARM_AFTER)
    report = town.tick(beat("p", now, generation=3), at=now)
    assert outcomes(report) == [("agent_heartbeat", "skipped: missing")]
    assert stops(town) == [("p", 3, "done"), ("p", 3, "claimed")]


@scenario(243)
def test_finished_work_is_not_stopped_until_a_quarter_of_an_hour_is_over() -> None:
    town = at_work()
    told = {"branch": "gt/p/b", "summary": "ok", "generation": 1}
    town.tick(event("agent_done", told, agent="p", bead="b"))
    assert (town.doing("p"), stops(town)) == (("idle", None), [])
    town.tick(beat("p", T + 15 * MINUTE, generation=1), at=T + 15 * MINUTE)
    assert stops(town) == []
    now = just_after(T + 15 * MINUTE)
    town.tick(beat("p", now, generation=1), at=now)
    assert stops(town) == [("p", 1, "claimed")]


@scenario(243)
@pytest.mark.parametrize("status", ["completed", "failed"])
def test_a_process_that_has_ended_is_not_stopped(status: str) -> None:
    town = at_work()
    town.tick(event("agent_completed", {"status": status, "generation": 1}, agent="p"))
    assert (town.doing("p"), stops(town)) == (("idle", None), [])


@scenario(243)
@pytest.mark.parametrize(
    ("status", "named", "stopped"),
    [("exited", 1, []), ("exited", None, [("p", 1)]), ("not_found", 1, [("p", 1)])],
)
def test_only_an_exit_of_that_generation_proves_that_it_has_ended(
    status: ProcessState, named: int | None, stopped: list[tuple[str, int]]
) -> None:
    town = at_work(last_activity_at=ago(minutes=4), last_dispatch_outcome="alive")
    town.update("beads", "b", last_dispatch_attempt_at=to_text(T))
    town.tick(seen={"p": ProcessStatus(status, generation=named)})
    town.tick(event("bead_cancelled", bead="b", at=T + SECOND), at=T + 5 * SECOND)
    assert [(subject, generation) for subject, generation, _ in stops(town)] == stopped


@scenario(244)
def test_an_effect_that_its_agent_no_longer_wants_is_not_started_in_the_same_tick() -> None:
    town = at_work(last_dispatch_outcome="pending")
    town.insert(
        "outbox",
        effect_id="the-start",
        seq=1,
        kind="dispatch_agent",
        subject="p",
        generation=1,
        payload={"town_id": "t1", "agent_id": "p", "generation": 1, "role": "polecat"},
        deadline=T + MINUTE,
        created_at=ago(seconds=5),
    )
    report = town.tick(event("bead_cancelled", bead="b"))
    assert [effect.kind for effect in report.effects] == ["stop_agent"]


# --- restores -------------------------------------------------------------------------------------------------------


@scenario(245)
def test_after_a_restore_the_processes_of_the_discarded_future_are_stopped_and_nothing_else() -> None:
    town = at_work(status="idle")
    tick = town.tick_no + 1
    restore = InPlaceRestore(tick, 2, T, 1, 1, town.tick_no, T, last_tick=town.tick_no)
    image = restoring.carried_over(town.image(), town.image(), restore, tick_id=f"{tick}-restore-w", previous="")
    restored = TownBuilder(sql=database.open_image(image), tick_no=tick)
    assert restored.one("agent_metadata", "p", "generation") == 2
    now = T + 2 * MINUTE
    report = restored.tick(beat("p", now, generation=1), at=now)
    assert outcomes(report) == [("agent_heartbeat", "skipped: stale generation")]
    assert [(effect.kind, effect.generation) for effect in report.effects if effect.subject == "p"] == [
        ("stop_agent", 1)
    ]
    restored.tick(event("bead_cancelled", bead="b", at=now + SECOND), at=now + 5 * SECOND)
    assert [row[:2] for row in stops(restored)] == [("p", 1)], "no process has generation 2"


@scenario(245)
def test_a_stop_of_the_discarded_future_answers_for_no_stop_after_the_restore() -> None:
    """Seed 28 of the simulation: both had one id, so the second answer was a conflict and its stop stayed without a result."""
    town = at_work(status="idle")
    town.update("agent_metadata", "p", generation=4)
    past, tick = town.image(), town.tick_no + 1
    stopped = town.tick(beat("p", T, generation=3), at=T)
    (before,) = [effect.effect_id for effect in stopped.effects if effect.subject == "p"]
    restore = InPlaceRestore(tick + 1, 3, T, 1, 1, tick - 1, T, last_tick=tick)
    image = restoring.carried_over(past, town.image(), restore, tick_id=f"{tick + 1}-restore-w", previous="")
    restored = TownBuilder(sql=database.open_image(image), tick_no=tick + 1)
    now = T + 2 * MINUTE
    late = restored.tick(*answers(stopped, now), at=now)
    assert outcomes(late) == [("stop_result", "skipped: missing")]
    again = restored.tick(beat("p", now, generation=3), at=now + SECOND)
    (after,) = [effect.effect_id for effect in again.effects if effect.subject == "p"]
    assert after != before
    report = restored.tick(*answers(again, now + 2 * SECOND), at=now + 2 * SECOND)
    assert outcomes(report) == [("stop_result", "applied")]


# --- clocks ---------------------------------------------------------------------------------------------------------


@scenario(246)
@pytest.mark.parametrize("wrong", [timedelta(0), YEAR, -YEAR], ids=["right", "a year ahead", "last year"])
def test_the_watch_works_as_if_a_heartbeat_were_dated_now(wrong: timedelta) -> None:
    town = at_work(dispatched_at=to_text(T), last_activity_at=to_text(T))
    nudged = None
    for number in range(1, 40):
        now = T + number * 30 * SECOND
        dated = event(
            "agent_heartbeat",
            {"generation": 1, "last_event_type": "x", "last_event_at": to_text(T + 30 * SECOND + wrong)},
            agent="p",
            at=now,
            created_at=now + wrong,
        )
        report = town.tick(dated, at=now)
        assert outcomes(report)[-1] == ("agent_heartbeat", "applied")
        if nudged is None and deeds(report, of="liveness"):
            nudged = now
    assert nudged == T + 16 * MINUTE


@scenario(246)
@pytest.mark.parametrize("at", [T + YEAR, T - YEAR], ids=["a year ahead", "last year"])
def test_a_heartbeat_that_does_not_say_when_it_was_sent_is_not_believed_beyond_dispatch_and_receipt(
    at: datetime,
) -> None:
    town = at_work(dispatched_at=to_text(T - MINUTE))
    report = town.tick(beat("p", T, generation=1, last_event_at=to_text(at)))
    assert deeds(report, of="liveness") == []
    assert town.one("agent_metadata", "p", "last_event_at") == to_text(T if at > T else T - MINUTE)


@scenario(247)
@pytest.mark.parametrize("wrong", [YEAR, -YEAR], ids=["a year ahead", "last year"])
def test_a_mayor_that_waits_is_believed_whatever_its_clock_shows(wrong: timedelta) -> None:
    town = (
        a_town().key("mayor_working_since", to_text(T - 5 * MINUTE)).update("agent_metadata", "mayor", status="working")
    )
    for age, outcome in ((6 * MINUTE, "skipped: stale"), (4 * MINUTE, "applied")):
        fired = {"fired_at": to_text(T - age + wrong)}
        said = event("mayor_waiting", fired, agent="mayor", at=T, created_at=T + wrong, event_id=f"said-{age.seconds}")
        assert outcomes(town.copy().tick(said)) == [("mayor_waiting", outcome)]
