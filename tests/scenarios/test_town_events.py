"""Scenarios 153 to 157 and 192 to 195: the mayor, settings, repositories, escalations, nudges."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.report import TickReport
from shared.domain.times import to_text
from tests.scenarios.outside import answer, audits, beads_labelled, effects, escalations, outcomes_of
from tests.scenarios.stories import BOUNDARY, around, beat, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, outcome_of, text

SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    """So many seconds after T."""
    return T + timedelta(seconds=seconds)


def failed_notifications(town: TownBuilder) -> list[tuple[str, str]]:
    """Whom the town could not reach, and why."""
    return town.rows(
        "SELECT bead_id, json_extract(metadata, '$.reason') FROM bead_events "
        "WHERE event_type = 'notification_failed' ORDER BY seq"
    )


# --- the mayor -------------------------------------------------------------------------------------------


def a_town_whose_mayor(
    does: str, *, working_since: datetime | None = None, waiting_since: datetime | None = None
) -> TownBuilder:
    """The mayor works, waits or rests, since then."""
    town = a_town().update("agent_metadata", "mayor", status=does)
    return town.key("mayor_working_since", text(working_since)).key("mayor_waiting_since", text(waiting_since))


@scenario(153)
@pytest.mark.parametrize(
    ("fired_at", "outcome"),
    [
        (ago(seconds=10) - MS, "skipped: stale"),
        (ago(seconds=10), "applied"),
        (ago(seconds=10) + MS, "applied"),
    ],
    ids=BOUNDARY,
)
def test_a_mayor_waits_unless_it_was_set_to_work_since(fired_at: datetime, outcome: str) -> None:
    town = a_town_whose_mayor("working", working_since=ago(seconds=10))
    report = town.tick(event("mayor_waiting", {"fired_at": to_text(fired_at)}))
    assert outcomes(report) == [("mayor_waiting", outcome)]
    assert town.doing("mayor")[0] == ("waiting" if outcome == "applied" else "working")
    assert town.value("mayor_waiting_since") == (text(T) if outcome == "applied" else None)


@scenario(153)
@pytest.mark.parametrize("does", ["idle", "waiting", "stalled", "dead"])
def test_only_a_mayor_that_works_can_begin_to_wait(does: str) -> None:
    town = a_town_whose_mayor(does)
    report = town.tick(event("mayor_waiting", {"fired_at": to_text(T)}, agent="mayor"))
    assert outcomes(report) == [("mayor_waiting", "skipped: not working")]
    assert town.doing("mayor") == (does, None)


@scenario(153)
@pytest.mark.parametrize(
    ("seen", "becomes"),
    [
        (ago(minutes=5) - MS, "waiting"),
        (ago(minutes=5), "waiting"),
        (ago(minutes=5) + MS, "working"),
        (None, "waiting"),
    ],
    ids=[*BOUNDARY, "no activity told"],
)
def test_later_activity_in_a_heartbeat_ends_the_mayors_waiting(seen: datetime | None, becomes: str) -> None:
    town = a_town_whose_mayor("waiting", waiting_since=ago(minutes=5))
    report = town.tick(beat("mayor", T, **({} if seen is None else {"last_event_at": to_text(seen)})))
    assert outcomes(report) == [("agent_heartbeat", "applied")]
    assert town.doing("mayor") == (becomes, None)
    assert town.value("mayor_working_since") == (text(T) if becomes == "working" else None)


@scenario(153)
def test_another_agent_than_the_mayor_never_waits() -> None:
    town = a_town().bead("b", "issue", "in_progress").agent("p", status="working", hook="b")
    report = town.tick(event("mayor_waiting", {"fired_at": to_text(T)}, agent="p"))
    assert (outcomes(report), town.doing("p")) == ([("mayor_waiting", "skipped: not the mayor")], ("working", "b"))


@scenario(195)
@pytest.mark.parametrize("does", ["waiting", "idle", "working"])
def test_a_mayor_that_got_a_message_works(does: str) -> None:
    town = a_town_whose_mayor(does)
    first = town.tick(event("escalation_raised", {"title": "Help", "severity": "high"}))
    assert len(outbox(town, "notify_mayor")) == 1
    assert town.doing("mayor") == (does, None)
    second = town.tick(answer(town, "notify_mayor", delivered=True), at=at(5))
    assert [outcomes(report)[0][1] for report in (first, second)] == ["applied", "applied"]
    assert town.doing("mayor") == ("working", None)
    assert len(audits(town, "mayor", "mail_sent")) == 1
    assert town.value("mayor_working_since") == (text(at(5)) if does != "working" else None)


@scenario(195)
def test_a_message_that_does_not_reach_the_mayor_is_tried_five_times_and_the_failure_is_audited() -> None:
    town = a_town_whose_mayor("waiting")
    town.tick(event("escalation_raised", {"title": "Help", "severity": "high"}))
    now, waited = T, []
    for attempt in range(1, 6):
        assert [row[2] for row in effects(town, "notify_mayor")] == [attempt]
        now += SECOND
        report = town.tick(
            answer(town, "notify_mayor", at=now, delivered=False, error="no answer", passing=True), at=now
        )
        assert outcomes_of(report, "mayor_notified") == ["applied"]
        if attempt < 5:
            assert report.next_due is not None
            waited.append((report.next_due - now) // SECOND)
            now = report.next_due
            town.tick(at=now)
    assert waited == [5, 10, 20, 40]
    assert effects(town, "notify_mayor")[0][0] == "failed"
    assert failed_notifications(town) == [("mayor", "no answer")]
    assert town.doing("mayor") == ("waiting", None)


# --- settings ----------------------------------------------------------------------------------------------


@scenario(154)
@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"refinery": {"auto_merge_delay_minutes": -1}}, "refinery.auto_merge_delay_minutes"),
        ({"refinery": {"auto_merge_delay_minutes": "5"}}, "refinery.auto_merge_delay_minutes"),
        ({"max_dispatch_attempts": 0}, "max_dispatch_attempts"),
        ({"unknown": 1}, "unknown"),
        ({"refinery": {"code_review": False}}, "merge_strategy"),
    ],
)
def test_an_invalid_setting_is_rejected_and_the_old_ones_stay(config: dict[str, Any], path: str) -> None:
    town = a_town().config(refinery={"auto_merge_delay_minutes": 5})
    report = town.tick(event("town_configured", {"config": {"default_model": "new", **config}}))
    assert outcomes(report) == [("town_configured", f"rejected: invalid config {path}")]
    assert town.value("config") == {"refinery": {"auto_merge_delay_minutes": 5}}


@scenario(154)
def test_settings_that_leave_one_rig_without_any_way_to_land_are_rejected() -> None:
    town = a_town().config(merge_strategy="pr").update("rigs", "rig-1", config={"code_review": False})
    report = town.tick(event("town_configured", {"config": {"merge_strategy": "direct"}}))
    assert outcomes(report) == [("town_configured", "rejected: invalid config merge_strategy")]
    assert town.value("config") == {"merge_strategy": "pr"}


@scenario(154)
def test_settings_are_merged_section_by_section_and_hold_from_the_next_tick_on() -> None:
    town = a_town().config(refinery={"auto_merge_delay_minutes": 5, "gates": ["make test"]}, max_dispatch_attempts=3)
    town.bead("b", "issue", dispatch_attempts=3)
    change = event(
        "town_configured", {"config": {"max_dispatch_attempts": 4, "refinery": {"auto_merge_delay_minutes": None}}}
    )
    report = town.tick(change)
    assert outcomes(report) == [("town_configured", "applied")]
    assert town.value("config") == {
        "max_dispatch_attempts": 4,
        "refinery": {"auto_merge_delay_minutes": None, "gates": ["make test"]},
    }
    assert (town.status("b"), report.next_due) == ("failed", T)


@scenario(154)
def test_the_organization_is_told_in_every_later_start_and_model_change() -> None:
    town = a_town_whose_mayor("waiting").bead("b", "issue")
    town.tick(event("town_configured", {"config": {"organization_id": "org-1"}}))
    town.bead("b2", "issue")
    report = town.tick(event("town_configured", {"config": {"role_models": {"mayor": "large"}}}), at=at(5))
    assert deeds(report) == [
        "event:town_configured: update_agent_model mayor",
        "beads.dispatch_ready: dispatch_agent b2",
    ]
    assert town.rows("SELECT kind, json_extract(payload, '$.organization_id') FROM outbox ORDER BY seq") == [
        ("dispatch_agent", None),  # in the tick of the change itself: settings hold from the next tick on
        ("update_model", "org-1"),
        ("dispatch_agent", "org-1"),
    ]


@scenario(154)
@pytest.mark.parametrize("does", ["working", "stalled", "waiting", "idle", "dead"])
def test_only_a_mayor_that_lives_is_told_of_its_new_model(does: str) -> None:
    town = a_town_whose_mayor(does)
    first = town.tick(event("town_configured", {"config": {"default_model": "large"}}))
    second = town.tick(event("town_configured", {"config": {"role_models": {"polecat": "small"}}}), at=at(5))
    alive = does in ("working", "stalled", "waiting")
    assert actions(first) == ([{"type": "update_agent_model", "agent_id": "mayor", "model": "large"}] if alive else [])
    assert [deed for deed in deeds(second) if "update_agent_model" in deed] == []


# --- repositories ------------------------------------------------------------------------------------------


def registered(rig_id: str = "rig-2", name: str = "main-rig", **more: Any) -> Any:
    """Somebody registers a repository."""
    return event(
        "rig_registered", {"rig_id": rig_id, "name": name, "git_url": "https://github.com/acme/new.git", **more}
    )


@scenario(155)
@pytest.mark.parametrize("status", ["open", "in_progress", "in_review"])
def test_the_name_of_a_rig_with_live_work_is_in_use(status: str) -> None:
    town = a_town().bead("b", "issue", status, labels=["gt:held"])
    report = town.tick(registered())
    assert outcomes(report) == [("rig_registered", "rejected: name in use")]
    assert town.rows("SELECT id, name FROM rigs") == [("rig-1", "main-rig")]


@scenario(155)
def test_the_name_of_a_rig_without_live_work_passes_on_and_its_history_stays() -> None:
    town = a_town().bead("b", "issue", "closed", body="what was done").agent("p").agent("f", "refinery")
    report = town.tick(registered())
    assert outcomes(report) == [("rig_registered", "applied")]
    assert town.rows("SELECT id, name, git_url, default_branch FROM rigs") == [
        ("rig-2", "main-rig", "https://github.com/acme/new.git", "main")
    ]
    assert town.one("beads", "b", "status", "body", "rig_id") == ("closed", "what was done", None)
    assert town.rows("SELECT bead_id FROM agent_metadata") == [("mayor",)]


@scenario(155)
def test_a_rig_is_updated_by_its_id_and_keeps_what_is_not_given() -> None:
    town = a_town().bead("b", "issue", "open", labels=["gt:held"])
    town.update("rigs", "rig-1", default_branch="trunk", config={"code_review": True})
    report = town.tick(registered("rig-1", "renamed"))
    assert outcomes(report) == [("rig_registered", "applied")]
    assert town.one("rigs", "rig-1", "name", "git_url", "default_branch", "config") == (
        "renamed",
        "https://github.com/acme/new.git",
        "trunk",
        '{"code_review":true}',
    )


@scenario(155)
@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"max_dispatch_attempts": 0}, "max_dispatch_attempts"),
        ({"unknown": 1}, "unknown"),
        ({"code_review": False}, "merge_strategy"),
    ],
)
def test_a_rig_with_invalid_settings_is_rejected(config: dict[str, Any], path: str) -> None:
    town = a_town()
    report = town.tick(registered("rig-2", "other", config=config))
    assert outcomes(report) == [("rig_registered", f"rejected: invalid config {path}")]
    assert town.rows("SELECT id FROM rigs") == [("rig-1",)]


@scenario(155)
def test_a_rig_may_do_without_reviews_where_pull_requests_are_merged() -> None:
    town = a_town()
    report = town.tick(registered("rig-2", "other", config={"code_review": False, "merge_strategy": "pr"}))
    assert outcomes(report) == [("rig_registered", "applied")]


# --- escalations ---------------------------------------------------------------------------------------------


@scenario(192)
@pytest.mark.parametrize("in_triage", [False, True])
def test_an_escalation_is_a_bead_and_a_message_to_the_mayor_and_no_triage_work(in_triage: bool) -> None:
    town = a_town()
    if in_triage:
        town.bead("work", "issue", "in_progress", labels=["gt:triage"], created_by="patrol")
    else:
        town.bead("work", "issue", "in_progress")
    town.agent("p", status="working", hook="work")
    wish = {"title": "Help", "body": "I am lost", "severity": "high", "category": "blocked", "rig_id": "rig-1"}
    report = town.tick(event("escalation_raised", wish, agent="p"))
    assert outcomes(report) == [("escalation_raised", "applied")]
    ((bead, *rest),) = town.rows(
        "SELECT bead_id, status, title, body, priority, rig_id, created_by FROM beads WHERE type = 'escalation'"
    )
    assert rest == ["open", "Help", "I am lost", "high", "rig-1", "p"]
    assert town.one("escalation_metadata", bead, "severity", "category", "acknowledged") == ("high", "blocked", 0)
    assert deeds(report) == [f"event:escalation_raised: notify_mayor escalation:{bead}"]
    assert audits(town, bead, "escalated") == [(None, "high")]
    assert beads_labelled(town, "gt:triage-request") == []


@scenario(193)
def test_the_first_acknowledgement_counts() -> None:
    town = an_escalation(ago(minutes=5))
    first = town.tick(event("escalation_acknowledged", bead="e", event_id="seen-001"))
    second = town.tick(event("escalation_acknowledged", bead="e", event_id="seen-002"), at=at(5))
    assert (outcome_of(first, "seen-001"), outcome_of(second, "seen-002")) == ("applied", "skipped: already")
    assert town.one("escalation_metadata", "e", "acknowledged", "acknowledged_at") == (1, text(T))


@scenario(193)
@pytest.mark.parametrize(
    ("payload", "agent", "said"),
    [
        ({"by": "ann"}, None, "acknowledged by ann"),
        ({"by": "ann"}, "mayor", "acknowledged by ann"),
        ({}, "mayor", "acknowledged by mayor"),
        ({}, None, "acknowledged"),
    ],
)
def test_the_trail_says_who_acknowledged(payload: dict[str, str], agent: str | None, said: str) -> None:
    town = an_escalation(ago(minutes=5))
    town.tick(event("escalation_acknowledged", payload, bead="e", agent=agent, event_id="seen-001"))
    lines = town.rows("SELECT new_value FROM bead_events WHERE bead_id = 'e' AND event_type = 'fields_updated'")
    assert lines == [(said,)]


def an_escalation(created_at: datetime, status: str = "open", **columns: Any) -> TownBuilder:
    """An escalation of that age."""
    town = a_town().bead("e", "escalation", status, created_at=created_at, priority="medium")
    return town.insert("escalation_metadata", bead_id="e", **{"severity": "medium", **columns})


@scenario(156)
@pytest.mark.parametrize("bumps", [0, 1, 2])
@pytest.mark.parametrize(("over", "bumped"), around(timedelta()), ids=BOUNDARY)
def test_an_escalation_that_nobody_acknowledged_is_raised_every_four_hours(
    bumps: int, over: timedelta, bumped: bool
) -> None:
    created_at = T - (bumps + 1) * limits.ESCALATION_BUMP - over
    town = an_escalation(created_at, re_escalation_count=bumps)
    report = town.tick()
    assert deeds(report) == (
        [
            "housekeeping.bump_escalation: bump_escalation e high",
            "housekeeping.bump_escalation: notify_mayor escalation:e",
        ]
        if bumped
        else []
    )
    assert town.one("escalation_metadata", "e", "severity", "re_escalation_count") == (
        ("high", bumps + 1) if bumped else ("medium", bumps)
    )
    assert town.one("beads", "e", "priority") == ("high" if bumped else "medium")
    assert bumped or report.next_due == created_at + (bumps + 1) * limits.ESCALATION_BUMP + MS


@scenario(156)
def test_an_escalation_rises_three_times_and_then_stays_silent() -> None:
    town = an_escalation(ago(hours=4) - MS)
    seen: list[TickReport] = []
    told: set[tuple[Any, ...]] = set()
    for hours in range(0, 48, 4):
        seen.append(town.tick(at=T + timedelta(hours=hours)))
        told |= set(town.rows("SELECT effect_id, subject FROM outbox WHERE kind = 'notify_mayor'"))
    bumps = [actions(report, rule="housekeeping.bump_escalation") for report in seen]
    assert [each[0].get("severity") for each in bumps if each] == ["high", "critical", "critical"]
    assert [subject for _, subject in told] == ["escalation:e"] * 3


@scenario(156)
@pytest.mark.parametrize(
    ("status", "columns"),
    [("open", {"acknowledged": 1}), ("open", {"re_escalation_count": 3}), ("closed", {}), ("failed", {})],
    ids=["acknowledged", "three bumps", "closed", "failed"],
)
def test_an_escalation_that_was_seen_is_over_or_was_raised_enough_is_silent_for_ever(
    status: str, columns: dict[str, int]
) -> None:
    town = an_escalation(ago(days=30), status, **columns)
    report = town.tick()
    assert (deeds(report), report.next_due) == ([], None)


# --- nudges ----------------------------------------------------------------------------------------------------


def a_town_with_a_nudge(*, expires_at: datetime | None = None) -> TownBuilder:
    """A nudge for P that nobody has delivered."""
    town = a_town().agent("p")
    return town.insert(
        "agent_nudges",
        nudge_id="n",
        agent_bead_id="p",
        message="Go on",
        created_at=ago(minutes=60),
        expires_at=expires_at,
    )


@scenario(157)
@pytest.mark.parametrize(("over", "expired"), around(timedelta()), ids=BOUNDARY)
def test_a_nudge_expires_after_its_time(over: timedelta, expired: bool) -> None:
    town = a_town_with_a_nudge(expires_at=T - over)
    report = town.tick()
    assert deeds(report) == (["housekeeping.expire_nudge: expire_nudge"] if expired else [])
    assert town.one("agent_nudges", "n", "delivered_at") == (text(T) if expired else None)
    assert expired or report.next_due == T - over + MS


@scenario(157)
def test_the_first_acknowledgement_of_a_nudge_is_kept() -> None:
    town = a_town_with_a_nudge().agent("p2")
    told = {"nudge_id": "n"}
    reports = [
        town.tick(event("nudge_acknowledged", told, agent="p2")),
        town.tick(event("nudge_acknowledged", told, agent="p", event_id="seen-001"), at=at(5)),
        town.tick(event("nudge_acknowledged", told, agent="p", event_id="seen-002"), at=at(10)),
    ]
    assert [outcomes(report)[0][1] for report in reports] == [
        "skipped: not the agent's nudge",
        "applied",
        "skipped: already",
    ]
    assert town.one("agent_nudges", "n", "delivered_at") == text(at(5))


@scenario(157)
def test_a_nudge_that_was_not_answered_in_time_changes_nothing() -> None:
    town = a_town_with_a_nudge()
    before = town.rows("SELECT * FROM agent_nudges")
    report = town.tick(event("nudge_timeout", {"nudge_id": "n"}, agent="p"))
    assert (outcomes(report), deeds(report)) == ([("nudge_timeout", "applied")], [])
    assert town.rows("SELECT * FROM agent_nudges") == before


@scenario(194)
def test_a_nudge_that_cannot_be_delivered_fails_and_is_not_repeated_within_the_hour() -> None:
    town = a_town().bead("b", "issue", "in_progress")
    town.agent("p", status="working", hook="b", last_event_at=ago(minutes=15) - MS)
    first = town.tick()
    assert deeds(first) == ["liveness.warn: send_nudge p warn"]
    now = T
    for attempt, wait in ((1, 5), (2, 10), (3, 0)):
        assert [row[2] for row in effects(town, "send_nudge")] == [attempt]
        now += SECOND
        told = answer(town, "send_nudge", at=now, delivered=False, error="no answer", passing=True)
        assert outcomes_of(town.tick(told, beat("p", now), at=now), "nudge_result") == ["applied"]
        if wait:
            assert town.rows("SELECT state, not_before FROM outbox") == [("pending", text(now + wait * SECOND))]
            now += wait * SECOND
            town.tick(beat("p", now), at=now)
    ((nudge, delivered_at),) = town.rows("SELECT nudge_id, delivered_at FROM agent_nudges")
    assert effects(town, "send_nudge") == [("failed", nudge, 3)]
    assert delivered_at is None
    assert failed_notifications(town) == [("p", "no answer")]
    # The window counts from the creation of the nudge; P stays in the first tier all the time.
    while now < T + limits.NUDGE_WINDOW:
        now = min(now + timedelta(seconds=60), T + limits.NUDGE_WINDOW)
        town.update("agent_metadata", "p", last_event_at=now - timedelta(minutes=16))
        assert actions(town.tick(beat("p", now), at=now), rule="liveness.warn") == []
    again = town.tick(beat("p", now + MS), at=now + MS)
    assert deeds(again, of="liveness") == ["liveness.warn: send_nudge p warn"]
    assert escalations(town) == []
