"""Scenarios 117 to 122: work on a hook must progress."""

from datetime import datetime, timedelta

import pytest

from shared.domain import limits
from shared.domain.times import to_text
from tests.scenarios.stories import BOUNDARY, Given, around, beat, deeds, draining, outbox, settling
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago

SECOND = timedelta(seconds=1)
WARNED = ["liveness.warn: send_nudge p warn"]
ESCALATED = ["liveness.escalate: send_nudge p escalate", "liveness.escalate: create_triage_request p stuck_agent"]
STOPPED = [
    "liveness.force_stop: transition_agent p stalled",
    "liveness.force_stop: stop_agent p",
    "liveness.force_stop: create_triage_request p stuck_agent",
]


def a_quiet_worker(last_event: datetime | str | None, **agent: object) -> TownBuilder:
    """P works on B and beats; the last thing that it did is as long ago as given."""
    return (
        a_town()
        .bead("b", status="in_progress", assignee_agent_bead_id="p")
        .agent("p", **{"status": "working", "hook": "b", "last_event_at": last_event, **agent})  # type: ignore[arg-type]
    )


def requests(town: TownBuilder) -> list[tuple[str, str]]:
    """(title, assignee) of the triage requests."""
    return [
        (row[0], row[1])
        for row in town.rows(
            "SELECT title, assignee_agent_bead_id FROM beads WHERE labels = '[\"gt:triage-request\"]' ORDER BY created_at"
        )
    ]


# --- G1: warn ---------------------------------------------------------------------------------------


@scenario(117)
@pytest.mark.parametrize(("quiet_for", "warned"), around(limits.GUPP_WARN_AFTER), ids=BOUNDARY)
def test_a_worker_without_progress_is_warned_after_a_quarter_of_an_hour(quiet_for: timedelta, warned: bool) -> None:
    town = a_quiet_worker(T - quiet_for)
    report = town.tick()
    assert deeds(report) == (WARNED if warned else [])
    if not warned:
        assert report.next_due == T - quiet_for + limits.GUPP_WARN_AFTER + MS


@scenario(117)
def test_a_warning_is_an_urgent_nudge_that_ends_after_an_hour_and_is_given_once() -> None:
    town = a_quiet_worker(ago(minutes=15, ms=1))
    first, second = town.ticks(2)
    assert (deeds(first), deeds(second)) == (WARNED, [])
    [(nudge, *shown)] = town.rows(
        "SELECT nudge_id, agent_bead_id, mode, priority, source, created_at, expires_at, message FROM agent_nudges"
    )
    assert shown == [
        "p",
        "immediate",
        "urgent",
        "reconciler:warn",
        to_text(T),
        to_text(T + timedelta(hours=1)),
        "WARN: no progress on your hook for 15 minutes. Go on, or report what holds you.",
    ]
    assert outbox(town) == [("send_nudge", nudge, 0, "claimed")]


@scenario(117)
@pytest.mark.parametrize(
    ("tools", "wanted"), [('["bash"]', []), ("[]", WARNED), ("{not json", WARNED), ('[{"name":"edit"}]', [])]
)
def test_running_tools_hold_a_warning_back_and_unreadable_ones_do_not(tools: str, wanted: list[str]) -> None:
    assert deeds(a_quiet_worker(ago(minutes=15, ms=1), active_tools=tools).tick()) == wanted


@scenario(118)
@pytest.mark.parametrize(("age", "again"), around(limits.NUDGE_WINDOW), ids=BOUNDARY)
def test_a_warning_is_repeated_after_more_than_an_hour(age: timedelta, again: bool) -> None:
    town = a_quiet_worker(ago(minutes=20))
    nudge = {"mode": "immediate", "priority": "urgent", "source": "reconciler:warn", "delivered_at": T - age + SECOND}
    town.insert("agent_nudges", nudge_id="n", agent_bead_id="p", message="WARN", created_at=T - age, **nudge)
    report = town.tick()
    assert deeds(report) == (WARNED if again else [])
    if not again:
        assert report.next_due == T - age + limits.NUDGE_WINDOW + MS


@scenario(118)
@pytest.mark.parametrize(("agent", "source"), [("q", "reconciler:warn"), ("p", "reconciler:escalate"), ("p", "triage")])
def test_other_nudges_do_not_count_as_a_warning(agent: str, source: str) -> None:
    town = a_quiet_worker(ago(minutes=20)).agent("q")
    town.insert(
        "agent_nudges", nudge_id="n", agent_bead_id=agent, message="x", source=source, created_at=ago(minutes=1)
    )
    assert deeds(town.tick()) == WARNED


# --- G2: escalate -----------------------------------------------------------------------------------


@scenario(119)
@pytest.mark.parametrize("tools", ["[]", '["bash"]'])
@pytest.mark.parametrize(("quiet_for", "escalated"), around(limits.GUPP_ESCALATE_AFTER), ids=BOUNDARY)
def test_a_worker_without_progress_is_reported_after_an_hour(quiet_for: timedelta, escalated: bool, tools: str) -> None:
    town = a_quiet_worker(T - quiet_for, active_tools=tools)
    report = town.tick()
    assert deeds(report) == (ESCALATED if escalated else WARNED if tools == "[]" else [])
    if escalated:
        assert requests(town) == [("Triage: GUPP escalation", "p")]
        assert town.rows("SELECT source, message FROM agent_nudges") == [
            (
                "reconciler:escalate",
                "ESCALATE: no progress on your hook for 60 minutes. Finish, ask for help or report what holds you.",
            )
        ]


@scenario(119)
def test_an_escalation_is_repeated_after_more_than_an_hour() -> None:
    town = a_quiet_worker(ago(minutes=90))
    town.insert(
        "agent_nudges",
        nudge_id="n",
        agent_bead_id="p",
        message="x",
        source="reconciler:escalate",
        created_at=ago(hours=1),
    )
    first = town.tick()
    assert (deeds(first), first.next_due) == ([], T + MS)
    assert deeds(town.tick(at=T + MS)) == ESCALATED


# --- G3: stop ---------------------------------------------------------------------------------------


@scenario(120)
@pytest.mark.parametrize(("quiet_for", "stopped"), around(limits.GUPP_FORCE_STOP_AFTER), ids=BOUNDARY)
def test_a_worker_without_progress_is_stopped_after_two_hours(quiet_for: timedelta, stopped: bool) -> None:
    town = a_quiet_worker(T - quiet_for)
    assert deeds(town.tick()) == (STOPPED if stopped else ESCALATED)
    assert town.doing("p") == ("stalled" if stopped else "working", "b")
    assert town.one("agent_metadata", "p", "stalled_at") == (to_text(T) if stopped else None)


@scenario(120)
def test_a_worker_is_stopped_and_reported_once() -> None:
    town = a_quiet_worker(ago(hours=2, ms=1))
    first = town.tick()
    assert deeds(first) == STOPPED
    assert requests(town) == [("Triage: GUPP force stop", "p")]
    for report in town.ticks(100, start=T + 5 * SECOND):
        assert deeds(report, of="liveness") == []
    assert [row[:3] for row in outbox(town, "stop_agent") if row[1] == "p"] == [("stop_agent", "p", 1)]
    assert requests(town) == [("Triage: GUPP force stop", "p")]
    assert town.doing("p") == ("stalled", "b")


@scenario(120)
def test_a_stalled_agent_is_still_reported_in_the_second_hour() -> None:
    """An agent can be stalled before two hours are over, for instance by an import."""
    town = a_quiet_worker(ago(minutes=90), status="stalled", stalled_at=ago(minutes=80))
    assert deeds(town.tick()) == ESCALATED


@scenario(120)
@pytest.mark.parametrize(("stalled_for", "retired"), around(limits.STALLED_IDLE_AFTER), ids=BOUNDARY)
def test_a_stalled_agent_belongs_to_its_retirement_after_two_and_a_half_hours(
    stalled_for: timedelta, retired: bool
) -> None:
    town = a_quiet_worker(ago(minutes=90), status="stalled", stalled_at=T - stalled_for)
    rules = {line.partition(":")[0] for line in deeds(town.tick())}
    assert rules == ({"agents.retire_stalled"} if retired else {"liveness.escalate"})


@scenario(120)
@pytest.mark.parametrize(
    ("last_activity_at", "wanted"),
    [(ago(hours=2, minutes=30), ESCALATED), (ago(hours=2, minutes=30, ms=1), []), (None, ESCALATED)],
)
def test_an_agent_that_stalled_nobody_knows_when_is_measured_by_its_last_sign_of_life(
    last_activity_at: datetime | None, wanted: list[str]
) -> None:
    town = a_quiet_worker(ago(minutes=90), status="stalled", stalled_at=None, last_activity_at=last_activity_at)
    assert deeds(town.tick()) == wanted


@scenario(117, 119, 120)
@pytest.mark.parametrize("tier", [limits.GUPP_WARN_AFTER, limits.GUPP_ESCALATE_AFTER, limits.GUPP_FORCE_STOP_AFTER])
def test_a_quiet_worker_is_looked_at_the_moment_the_next_tier_begins(tier: timedelta) -> None:
    town = a_quiet_worker(T - tier + 10 * SECOND)
    for source in ("reconciler:warn", "reconciler:escalate"):
        nudge = {"source": source, "created_at": ago(minutes=1), "delivered_at": ago(minutes=1)}
        town.insert("agent_nudges", nudge_id=source, agent_bead_id="p", message="x", **nudge)
    report = town.tick()
    assert (deeds(report), report.next_due) == ([], T + 10 * SECOND + MS)


# --- Whom the tiers leave alone ---------------------------------------------------------------------


@scenario(121)
@pytest.mark.parametrize("hook", [None, "b"])
def test_a_silent_mayor_is_left_alone(hook: str | None) -> None:
    """Not even in an image where somebody gave it a hook."""
    town = a_town().bead("b", status="in_progress")
    town.update("agent_metadata", "mayor", status="working", last_event_at=ago(hours=3), current_hook_bead_id=hook)
    assert deeds(town.tick(), of="liveness") == []


@scenario(121)
@pytest.mark.parametrize("circumstance", [draining, settling])
@pytest.mark.parametrize("hours", [0.5, 1.5, 3])
def test_nobody_is_pushed_while_the_town_drains_or_settles(circumstance: Given, hours: float) -> None:
    town = circumstance(a_quiet_worker(ago(hours=hours)))
    assert deeds(town.tick()) == []
    assert town.doing("p") == ("working", "b")


@scenario(121)
@pytest.mark.parametrize("last_event", [T + MS, T + timedelta(hours=3), "yesterday, I think"])
def test_an_activity_in_the_future_or_unreadable_counts_for_nothing(last_event: datetime | str) -> None:
    report = a_quiet_worker(last_event).tick()
    assert (deeds(report), report.alerts) == ([], ())


@scenario(121)
@pytest.mark.parametrize("status", ["idle", "dead"])
def test_an_agent_that_rests_is_not_pushed(status: str) -> None:
    assert deeds(a_quiet_worker(ago(minutes=90), status=status).tick(), of="liveness") == []


@scenario(121)
@pytest.mark.parametrize("status", ["working", "stalled"])
def test_an_agent_of_whom_nothing_is_known_is_not_pushed(status: str) -> None:
    stalled_at = ago(minutes=1) if status == "stalled" else None
    town = a_quiet_worker(None, status=status, last_activity_at=None, stalled_at=stalled_at)
    report = town.tick()
    assert (deeds(report, of="liveness"), report.alerts) == ([], ())


@scenario(121)
def test_without_a_watermark_the_last_sign_of_life_counts() -> None:
    town = a_quiet_worker(None, status="stalled", stalled_at=ago(minutes=1), last_activity_at=ago(minutes=16))
    assert deeds(town.tick()) == WARNED


@scenario(121)
@pytest.mark.parametrize("bead_status", ["closed", "failed"])
def test_an_agent_on_a_bead_that_is_over_is_not_pushed(bead_status: str) -> None:
    town = a_quiet_worker(ago(hours=3)).update("beads", "b", status=bead_status)
    assert deeds(town.tick(), of="liveness") == []


@scenario(122)
def test_a_worker_that_is_silent_too_belongs_to_the_heartbeat_rule() -> None:
    town = a_quiet_worker(ago(hours=3), last_activity_at=ago(seconds=91))
    assert deeds(town.tick()) == ["agents.heartbeat_lost: transition_agent p idle"]


@scenario(117, 119, 120)
@pytest.mark.lengthy
def test_an_agent_that_never_progresses_climbs_every_tier_at_its_time() -> None:
    """The town is looked at only when it says that it is due, and the agent beats all the time."""
    town = a_quiet_worker(T)
    told: list[tuple[timedelta, list[str]]] = []
    now = T
    while now < T + timedelta(hours=2, minutes=1):
        report = town.tick(beat("p", now, generation=1), at=now)
        if deeds(report, of="liveness"):
            told.append((now - T, deeds(report, of="liveness")))
        now = max(report.next_due or now, now + 5 * SECOND)
    assert [lines for _, lines in told] == [
        WARNED,
        ESCALATED,
        [*STOPPED[:2], f"{STOPPED[2]} (skipped: already)"],
    ]
    times = [limits.GUPP_WARN_AFTER, limits.GUPP_ESCALATE_AFTER, limits.GUPP_FORCE_STOP_AFTER]
    assert all(timedelta() < at - after <= 5 * SECOND for (at, _), after in zip(told, times, strict=True))
