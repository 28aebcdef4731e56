"""Scenarios 62 to 85 and 201: merge requests are polled, merged, recovered, and one refinery a rig reviews them."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import limits
from shared.domain.processes import ProcessStatus
from shared.domain.times import to_text
from tests.scenarios.outside import CLEAN, GREEN, PR, answer, audits, effects, outcomes_of, review_column
from tests.scenarios.stories import BOUNDARY, around, beat, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, event, outcome_of, text, types_of

POLL = "reviews.poll_pull_request"
MERGE = "reviews.merge_pull_request"


PASSED = {"head_sha": "sha-1", "review_passed_head": "sha-1"}
"""The notes of an MR at a head that a refinery has passed."""


def a_town_in_review(
    status: str = "in_progress",
    *,
    pr: str | None = PR,
    metadata: dict[str, Any] | None = None,
    updated: datetime | None = None,
    code_review: bool | None = None,
    **columns: Any,
) -> TownBuilder:
    """B is in review as M; reviews are on or off for the rig if it is said."""
    town = a_town()
    if code_review is not None:
        town.update("rigs", "rig-1", config={"code_review": code_review})
    town.bead("b", "issue", "in_review", assignee_agent_bead_id="p")
    values = {"metadata": metadata or {}, "updated_at": updated or ago(seconds=5), "created_by": "p", **columns}
    return town.review("m", status, of="b", pr_url=pr, **values)


def with_refinery(town: TownBuilder, status: str = "idle", *, hook: str | None = "m", **columns: Any) -> TownBuilder:
    """F of rig-1, hooked to M unless told otherwise."""
    return town.agent("f", "refinery", status, hook=hook, **columns)


def with_live_rework(town: TownBuilder, status: str = "in_progress") -> TownBuilder:
    """Somebody works on changes that M waits for."""
    town.bead("rework", "issue", status, labels=["gt:rework"], parent_bead_id="m")
    if status == "in_progress":
        town.agent("worker", status="working", hook="rework")
    return town.edge("m", "rework")


def with_the_breaker_open(town: TownBuilder) -> TownBuilder:
    """Twenty beads failed to start within the last minutes."""
    for number in range(20):
        town.bead(f"lost-{number:02}", "issue", "failed", last_dispatch_failed_at=ago(minutes=4))
    return town.key("breaker", {"open": True, "since": to_text(ago(minutes=2)), "episode": 1})


def draining(town: TownBuilder) -> TownBuilder:
    """The town's container is being evicted."""
    return town.key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=1))})


def after_an_outage(town: TownBuilder, *, minutes: float) -> TownBuilder:
    """The last tick was so long ago."""
    return town.key("last_tick_at", to_text(ago(minutes=minutes)))


# --- R1: polls --------------------------------------------------------------------------------------


@scenario(62)
@pytest.mark.parametrize(
    ("last_poll", "polled"),
    [(ago(ms=59_999), False), (ago(ms=60_000), True), (ago(ms=60_001), True), (None, True)],
    ids=[*BOUNDARY, "never polled"],
)
def test_a_pull_request_is_polled_once_a_minute(last_poll: datetime | None, polled: bool) -> None:
    town = a_town_in_review(metadata={} if last_poll is None else {"last_poll_at": to_text(last_poll)})
    report = town.tick()
    assert actions(report, rule=POLL) == ([{"type": "poll_pr", "bead_id": "m", "pr_url": PR}] if polled else [])
    assert town.one("beads", "m", "updated_at") == text(T if polled else ago(seconds=5))
    assert town.metadata("m").get("last_poll_at") == (text(T) if polled else text(last_poll))
    assert effects(town, "poll_pr") == ([("claimed", "m", 1)] if polled else [])


@scenario(62)
def test_the_next_poll_is_due_a_minute_after_the_last() -> None:
    town = a_town_in_review(metadata={"last_poll_at": to_text(ago(seconds=40))})
    assert town.tick().next_due == T + timedelta(seconds=20)


@scenario(62)
@pytest.mark.parametrize(("until", "polled"), [(T + MS, False), (T, True), (T - MS, True)], ids=BOUNDARY)
def test_a_limited_pull_request_is_not_polled_before_its_time(until: datetime, polled: bool) -> None:
    town = a_town_in_review(metadata={"last_poll_at": to_text(ago(hours=1)), "poll_not_before": to_text(until)})
    assert types_of(town.tick(), rule=POLL) == (["poll_pr"] if polled else [])
    assert ("poll_not_before" in town.metadata("m")) is not polled


@scenario(62)
@pytest.mark.parametrize(
    "mood", [draining, lambda town: after_an_outage(town, minutes=4)], ids=["draining", "settling"]
)
def test_polling_goes_on_while_the_town_drains_or_settles(mood: Any) -> None:
    town = mood(a_town_in_review(metadata={"last_poll_at": to_text(ago(seconds=60))}))
    assert types_of(town.tick(), rule=POLL) == ["poll_pr"]


@scenario(63)
def test_several_pull_requests_of_a_rig_are_polled_side_by_side_and_break_no_invariant() -> None:
    town = a_town()
    for name in ("m1", "m2", "m3"):
        town.review(name, "in_progress", pr_url=f"{PR}{name[1]}")
    reports = town.ticks(3)
    assert deeds(reports[0], of=POLL) == [f"{POLL}: poll_pr {name}" for name in ("m1", "m2", "m3")]
    assert [report.violations for report in reports] == [(), (), ()]


# --- R1m: merging -----------------------------------------------------------------------------------


@scenario(64)
def test_what_is_to_be_merged_is_merged_by_one_attempt_at_a_time() -> None:
    town = a_town_in_review(metadata={"auto_merge_pending": 1, **PASSED})
    first, *others = town.ticks(21)
    assert actions(first, rule=MERGE) == [{"type": "merge_pr", "bead_id": "m", "pr_url": PR}]
    assert [types_of(report, rule=MERGE) for report in others] == [[]] * 20
    assert effects(town, "merge_pr") == [("claimed", "m", 1)]


@scenario(64)
def test_live_rework_holds_a_merge_back() -> None:
    town = with_live_rework(a_town_in_review(metadata={"auto_merge_pending": 1}))
    assert types_of(town.tick(), rule=MERGE) == []
    town.update("beads", "rework", status="closed")
    assert types_of(town.tick(at=T + timedelta(seconds=5)), rule=MERGE) == ["merge_pr"]


# --- R2, R3: reviews without a pull request that nobody does -------------------------------------------


@scenario(65)
@pytest.mark.parametrize(("silent_for", "reopened"), around(limits.REVIEW_STUCK_AFTER), ids=BOUNDARY)
def test_a_review_on_the_hook_of_a_dead_refinery_is_reopened_after_half_an_hour(
    silent_for: timedelta, reopened: bool
) -> None:
    town = draining(with_refinery(a_town_in_review(pr=None, updated=T - silent_for), "dead"))
    report = town.tick()
    assert deeds(report, of="reviews") == (
        ["reviews.reopen_stuck: transition_bead m open", "reviews.reopen_stuck: unhook_agent f"] if reopened else []
    )
    assert (town.status("m"), town.doing("f")) == (
        ("open", ("dead", None)) if reopened else ("in_progress", ("dead", "m"))
    )
    assert actions(report, rule="reviews.reopen_abandoned") == []


@scenario(65)
def test_a_stuck_review_is_looked_at_the_moment_it_can_be_reopened() -> None:
    town = with_refinery(a_town_in_review(pr=None, updated=T - limits.REVIEW_STUCK_AFTER), "dead")
    assert town.tick().next_due == T + MS


@scenario(65)
def test_a_stuck_review_that_waits_for_rework_or_in_a_settling_town_is_left_alone() -> None:
    old = T - limits.REVIEW_STUCK_AFTER - MS
    blocked = with_live_rework(with_refinery(a_town_in_review(pr=None, updated=old), "dead"))
    settling = after_an_outage(with_refinery(a_town_in_review(pr=None, updated=old), "dead"), minutes=4)
    assert deeds(blocked.tick(), of="reviews") == []
    assert deeds(settling.tick(), of="reviews") == []
    assert (blocked.status("m"), settling.status("m")) == ("in_progress", "in_progress")


@scenario(65)
def test_a_review_on_the_hook_of_another_dead_agent_is_not_taken_for_a_stuck_one() -> None:
    town = a_town_in_review(pr=None, updated=T - limits.REVIEW_STUCK_AFTER - MS).agent("p", status="dead", hook="m")
    town.update("agent_metadata", "p", last_activity_at=ago(minutes=2))
    assert deeds(town.tick()) == [
        "agents.recover_silent_hook: unhook_agent p",
        "agents.recover_silent_hook: transition_bead m open",
    ]


@scenario(66)
def test_the_same_review_on_the_hook_of_an_idle_refinery_belongs_to_redispatch_alone() -> None:
    town = with_refinery(a_town_in_review(pr=None, updated=T - limits.REVIEW_STUCK_AFTER - MS))
    report = town.tick()
    assert deeds(report) == ["reviews.redispatch_refinery: dispatch_agent f m"]
    assert town.doing("f") == ("working", "m")


@scenario(67)
@pytest.mark.parametrize(("silent_for", "reopened"), around(limits.REVIEW_ABANDONED_AFTER), ids=BOUNDARY)
def test_a_review_that_nobody_is_hooked_to_is_reopened_after_two_minutes(silent_for: timedelta, reopened: bool) -> None:
    town = draining(a_town_in_review(pr=None, updated=T - silent_for))
    report = town.tick()
    assert deeds(report, of="reviews") == (["reviews.reopen_abandoned: transition_bead m open"] if reopened else [])
    assert town.status("m") == ("open" if reopened else "in_progress")


@scenario(67)
def test_an_abandoned_review_that_waits_for_rework_or_in_a_settling_town_is_left_alone() -> None:
    old = T - limits.REVIEW_ABANDONED_AFTER - MS
    blocked = with_live_rework(a_town_in_review(pr=None, updated=old))
    settling = after_an_outage(a_town_in_review(pr=None, updated=old), minutes=4)
    assert deeds(blocked.tick(), of="reviews") == []
    assert deeds(settling.tick(), of="reviews") == []


# --- R1: nobody gives up a pull request because it could not be polled ----------------------------------


@scenario(68)
@pytest.mark.parametrize("silent_for", [timedelta(minutes=30), timedelta(days=1), timedelta(days=7)])
@pytest.mark.parametrize("mood", [lambda town: town, draining], ids=["", "draining"])
def test_a_pull_request_that_nobody_could_poll_is_polled_again(silent_for: timedelta, mood: Any) -> None:
    town = mood(a_town_in_review(updated=T - silent_for - MS, metadata={"auto_merge_pending": 1}))
    assert deeds(town.tick(), of="reviews") == [f"{POLL}: poll_pr m", f"{MERGE}: merge_pr m"]
    assert town.status("m") == "in_progress"


@scenario(68)
def test_it_is_polled_whoever_works_on_it_or_must_act() -> None:
    old = ago(hours=1)
    awaiting = a_town_in_review(updated=old, metadata={"awaiting_approval": 1})
    unreviewed = a_town_in_review(updated=old, code_review=False)
    worked_on = with_refinery(a_town_in_review(updated=old), "working")
    stalled = with_refinery(a_town_in_review(updated=old), "stalled", stalled_at=ago(minutes=1))
    of_another_role = a_town_in_review(updated=old).agent("p", hook="m")
    for town in (awaiting, unreviewed, worked_on, stalled, of_another_role):
        assert types_of(town.tick(), rule=POLL) == ["poll_pr"]
        assert town.status("m") == "in_progress"


@scenario(69)
def test_after_an_outage_a_pull_request_is_polled() -> None:
    town = after_an_outage(a_town_in_review(updated=ago(minutes=31)), minutes=45)
    report = town.tick()
    assert town.value("settling_until") == text(T + timedelta(seconds=90))
    assert deeds(report, of="reviews") == [f"{POLL}: poll_pr m"]


# --- R-ft, R-or, R-bs: where reviews are off, and adopted pull requests --------------------------------


@scenario(70)
def test_without_reviews_a_pull_request_only_waits_for_its_polls() -> None:
    town = a_town_in_review("open", code_review=False)
    report = town.tick()
    assert deeds(report) == ["reviews.fast_track: transition_bead m in_progress"]
    assert town.status("m") == "in_progress"


@scenario(70)
@pytest.mark.parametrize("named_by", ["parent", "metadata"])
def test_a_task_of_a_review_and_merge_convoy_is_reviewed_even_where_reviews_are_off(named_by: str) -> None:
    town = a_town()
    town.update("rigs", "rig-1", config={"code_review": False})
    town.convoy("c", mode="review-and-merge", branch=None)
    said: dict[str, Any] = {"parent_bead_id": "c"} if named_by == "parent" else {"metadata": {"convoy_id": "c"}}
    town.review("m", "open", pr_url=PR, **said)
    report = town.tick()
    assert actions(report, rule="reviews.fast_track") == []
    assert types_of(report, rule="reviews.dispatch_refinery") == ["transition_bead", "dispatch_agent"]


@scenario(71)
@pytest.mark.parametrize("author", ["p", None])
def test_without_reviews_and_without_a_pull_request_the_work_starts_again(author: str | None) -> None:
    town = a_town_in_review("open", pr=None, code_review=False, created_by=author)
    report = town.tick()
    assert deeds(report) == [
        "reviews.reject_unreviewable: transition_bead m failed",
        "reviews.reject_unreviewable: transition_bead b open",
        "reviews.reject_unreviewable: clear_bead_assignee b",
    ]
    assert actions(report)[0]["reason"] == "no pull request and reviews are off"
    assert (town.status("m"), town.one("beads", "b", "status", "assignee_agent_bead_id")) == ("failed", ("open", None))


@scenario(71)
def test_a_source_that_is_no_longer_in_review_is_not_touched_by_the_rejection() -> None:
    town = a_town_in_review("open", pr=None, code_review=False)
    town.update("beads", "b", status="closed")
    assert deeds(town.tick()) == ["reviews.reject_unreviewable: transition_bead m failed"]


@scenario(71)
def test_what_the_town_itself_submitted_is_reviewed_even_where_reviews_are_off() -> None:
    town = a_town_in_review("open", pr=None, code_review=False, created_by="system")
    report = town.tick()
    assert actions(report, rule="reviews.reject_unreviewable") == []
    assert types_of(report, rule="reviews.dispatch_refinery") == ["transition_bead", "dispatch_agent"]
    assert town.status("m") == "in_progress"


@scenario(71)
def test_what_the_town_itself_submitted_with_a_pull_request_only_waits_for_its_polls() -> None:
    town = a_town_in_review("open", code_review=False, created_by="system")
    assert deeds(town.tick()) == ["reviews.fast_track: transition_bead m in_progress"]


@scenario(72)
@pytest.mark.parametrize("code_review", [True, False])
def test_an_adopted_pull_request_is_polled_and_never_reviewed_by_a_refinery(code_review: bool) -> None:
    town = with_refinery(
        a_town_in_review("open", metadata={"babysit": True}, labels=["gt:babysit"], code_review=code_review), hook=None
    )
    first, second = town.ticks(2)
    assert deeds(first) == ["reviews.start_babysitting: transition_bead m in_progress"]
    assert deeds(second) == [f"{POLL}: poll_pr m"]
    assert town.doing("f") == ("idle", None)


# --- R5: the next review ------------------------------------------------------------------------------


@scenario(73)
def test_the_first_review_of_a_rig_gets_a_refinery_that_is_made_for_it() -> None:
    town = a_town_in_review("open", pr=None)
    report = town.tick()
    assert deeds(report) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: dispatch_agent m",
    ]
    ((refinery, rig),) = town.rows(
        "SELECT a.bead_id, b.rig_id FROM agent_metadata a JOIN beads b USING (bead_id) WHERE a.role = 'refinery'"
    )
    assert (town.status("m"), town.doing(refinery), rig) == ("in_progress", ("working", "m"), "rig-1")
    assert outbox(town, "dispatch_agent") == [("dispatch_agent", refinery, 1, "claimed")]
    assert [each.violations for each in [report, *town.ticks(3, start=T + timedelta(seconds=5))]] == [()] * 4


@scenario(74)
def test_a_free_refinery_takes_the_review_in_three_steps() -> None:
    town = with_refinery(a_town_in_review("open", pr=None), hook=None)
    assert deeds(town.tick()) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: hook_agent f m",
        "reviews.dispatch_refinery: dispatch_agent f m",
    ]
    assert town.doing("f") == ("working", "m")


@scenario(74)
def test_a_review_on_the_hook_of_another_agent_is_not_given_to_the_refinery_as_well() -> None:
    town = with_refinery(a_town_in_review("open", pr=None), hook=None).agent("p", status="working", hook="m")
    report = town.tick()
    assert actions(report, rule="reviews.dispatch_refinery") == []
    assert town.doing("f") == ("idle", None)


@scenario(74)
def test_a_busy_refinery_and_a_review_without_pull_request_in_the_rig_hold_the_next_one_back() -> None:
    busy = with_refinery(a_town_in_review("open", pr=None).review("m2", "in_progress", pr_url=PR), "working", hook="m2")
    occupied = with_refinery(a_town_in_review("open", pr=None).review("m2", "in_progress", pr_url=None), hook=None)
    polled = with_refinery(a_town_in_review("open", pr=None).review("m2", "in_progress", pr_url=PR), hook=None)
    assert actions(busy.tick(), rule="reviews.dispatch_refinery") == []
    assert actions(occupied.tick(), rule="reviews.dispatch_refinery") == []
    assert types_of(polled.tick(), rule="reviews.dispatch_refinery") == [
        "transition_bead",
        "hook_agent",
        "dispatch_agent",
    ]
    assert (busy.status("m"), occupied.status("m"), polled.status("m")) == ("open", "open", "in_progress")


@scenario(75)
def test_reviews_that_cannot_go_on_are_passed_over_in_one_tick() -> None:
    town = with_refinery(a_town(), hook=None)
    town.review("blocked", created_at=ago(hours=4)).bead("rework", "issue", "in_review", labels=["gt:rework"])
    town.edge("blocked", "rework")
    town.review("waiting", created_at=ago(hours=3), dispatch_attempts=2, last_dispatch_attempt_at=ago(seconds=60))
    town.review("used-up", created_at=ago(hours=2), dispatch_attempts=5, last_dispatch_attempt_at=ago(hours=1))
    town.review("fine", created_at=ago(hours=1))
    report = town.tick()
    assert deeds(report, of="reviews.dispatch_refinery") == [
        "reviews.dispatch_refinery: transition_bead used-up failed",
        "reviews.dispatch_refinery: transition_bead fine in_progress",
        "reviews.dispatch_refinery: hook_agent f fine",
        "reviews.dispatch_refinery: dispatch_agent f fine",
    ]
    assert [town.status(name) for name in ("blocked", "waiting", "used-up", "fine")] == [
        "open",
        "open",
        "failed",
        "in_progress",
    ]


@scenario(76)
def test_a_review_that_nobody_could_start_fails_and_its_source_starts_again_five_minutes_later() -> None:
    town = a_town_in_review("open", pr=None, dispatch_attempts=5, last_dispatch_attempt_at=ago(hours=1))
    town.update("beads", "b", updated_at=T)
    report = town.tick()
    assert deeds(report) == ["reviews.dispatch_refinery: transition_bead m failed"]
    assert actions(report)[0]["reason"] == "review dispatch attempts exceeded (5)"
    soon = town.tick(at=T + limits.REVIEW_RECOVERY_AFTER)
    then = town.tick(at=T + limits.REVIEW_RECOVERY_AFTER + MS)
    assert deeds(soon, of="beads") == []
    assert deeds(then, of="beads") == [
        "beads.settle_reviewed: transition_bead b open",
        "beads.settle_reviewed: clear_bead_assignee b",
    ]
    assert town.one("beads", "b", "status", "assignee_agent_bead_id") == ("open", None)


@scenario(76)
def test_a_draining_town_neither_fails_nor_starts_a_review() -> None:
    town = draining(a_town_in_review("open", pr=None, dispatch_attempts=5).review("m2"))
    assert actions(town.tick(), rule="reviews.dispatch_refinery") == []
    assert (town.status("m"), town.status("m2")) == ("open", "open")


@scenario(76)
def test_an_open_breaker_fails_a_review_at_its_cap_and_starts_none() -> None:
    town = with_the_breaker_open(a_town_in_review("open", pr=None, dispatch_attempts=5).review("m2"))
    report = town.tick()
    assert report.metrics.circuit_breaker_open == 1
    assert deeds(report, of="reviews") == ["reviews.dispatch_refinery: transition_bead m failed"]
    assert (town.status("m"), town.status("m2")) == ("failed", "open")


@scenario(77)
def test_each_rig_has_its_own_refinery() -> None:
    town = with_refinery(a_town().rig("rig-2", name="other"), hook=None).review("m", rig_id="rig-2")
    report = town.tick()
    assert deeds(report) == [
        "reviews.dispatch_refinery: transition_bead m in_progress",
        "reviews.dispatch_refinery: dispatch_agent m",
    ]
    ((agent, rig),) = town.rows(
        "SELECT a.bead_id, b.rig_id FROM agent_metadata a JOIN beads b USING (bead_id) "
        "WHERE a.current_hook_bead_id = 'm'"
    )
    assert (agent != "f", rig, town.doing("f")) == (True, "rig-2", ("idle", None))


# --- R6: again ----------------------------------------------------------------------------------------


@scenario(78)
@pytest.mark.parametrize(("waited", "dispatched"), around(limits.backoff(1)), ids=BOUNDARY)
def test_an_idle_refinery_goes_on_when_the_wait_is_over(waited: timedelta, dispatched: bool) -> None:
    town = with_refinery(a_town_in_review(pr=None, dispatch_attempts=1, last_dispatch_attempt_at=T - waited))
    report = town.tick()
    assert deeds(report) == (["reviews.redispatch_refinery: dispatch_agent f m"] if dispatched else [])
    assert town.one("beads", "m", "dispatch_attempts") == (2 if dispatched else 1)
    assert dispatched or report.next_due == T - waited + limits.backoff(1) + MS


@scenario(78)
def test_a_review_without_rig_is_started_in_the_rig_of_its_refinery() -> None:
    town = with_refinery(a_town_in_review(pr=None, rig_id=None))
    assert actions(town.tick()) == [{"type": "dispatch_agent", "agent_id": "f", "bead_id": "m", "rig_id": "rig-1"}]


@scenario(79)
def test_a_review_fails_after_its_last_attempt() -> None:
    town = with_refinery(a_town_in_review(pr=None, dispatch_attempts=5, last_dispatch_attempt_at=ago(hours=1)))
    held_up = draining(town.copy())
    report = town.tick()
    assert deeds(report) == [
        "reviews.redispatch_refinery: transition_bead m failed",
        "reviews.redispatch_refinery: unhook_agent f",
    ]
    assert actions(report)[0]["reason"] == "refinery max dispatch attempts exceeded (5)"
    assert (town.status("m"), town.doing("f")) == ("failed", ("idle", None))
    assert deeds(held_up.tick()) == []


@scenario(79)
@pytest.mark.parametrize("mood", [lambda town: town, draining], ids=["", "draining"])
def test_a_refinery_lets_go_of_a_pull_request_that_only_waits_for_approval(mood: Any) -> None:
    town = mood(
        with_refinery(
            a_town_in_review(
                metadata={"awaiting_approval": 1, "last_poll_at": to_text(ago(seconds=10))}, dispatch_attempts=1
            )
        )
    )
    reports = town.ticks(5)
    assert [deeds(report, of="reviews") for report in reports] == [
        ["reviews.redispatch_refinery: unhook_agent f"],
        [],
        [],
        [],
        [],
    ]
    assert (town.status("m"), town.doing("f")) == ("in_progress", ("idle", None))


@scenario(79)
def test_a_refinery_lets_go_of_a_review_without_pull_request_that_waits_for_rework() -> None:
    town = with_live_rework(with_refinery(a_town_in_review(pr=None)))
    assert deeds(town.tick(), of="reviews") == [
        "reviews.redispatch_refinery: unhook_agent f",
        "reviews.redispatch_refinery: transition_bead m open",
    ]
    assert (town.status("m"), town.doing("f")) == ("open", ("idle", None))


@scenario(80)
def test_a_refinery_that_is_killed_again_and_again_is_started_five_times_and_then_the_review_fails() -> None:
    town = a_town_in_review("open", pr=None, created_at=ago(minutes=1))
    started, at = 0, T
    for _ in range(120):
        if town.status("m") == "failed":
            break
        working = town.rows(
            "SELECT bead_id, generation FROM agent_metadata WHERE role = 'refinery' AND status = 'working'"
        )
        events = [beat(agent, at, generation=generation) for agent, generation in working]
        gone = {agent: ProcessStatus("exited", "killed", generation) for agent, generation in working}
        started += types_of(town.tick(*events, at=at), rule=None).count("dispatch_agent")
        at += timedelta(seconds=5)
        started += types_of(town.tick(at=at, seen=gone), rule=None).count("dispatch_agent")
        at += timedelta(seconds=5)
    assert started == 5
    assert town.one("beads", "m", "status", "dispatch_attempts") == ("failed", 5)
    assert outbox(town, "dispatch_agent")[-1][2] == 5
    assert deeds(town.reports[-1], of="reviews") == [
        "reviews.redispatch_refinery: transition_bead m failed",
        f"reviews.redispatch_refinery: unhook_agent {outbox(town, 'dispatch_agent')[0][1]}",
    ]


@scenario(81)
@pytest.mark.parametrize("status", ["working", "stalled"])
def test_a_refinery_that_works_on_a_review_that_is_over_is_stopped_and_freed(status: str) -> None:
    town = with_refinery(a_town_in_review("closed", pr=None), status)
    town.update("beads", "b", status="closed")
    report = town.tick()
    assert deeds(report) == [
        "reviews.release_finished_refinery: stop_agent f",
        "reviews.release_finished_refinery: transition_agent f idle",
        "reviews.release_finished_refinery: unhook_agent f",
    ]
    assert (town.doing("f"), outbox(town)) == (("idle", None), [("stop_agent", "f", 1, "claimed")])


@scenario(81)
def test_another_agent_on_a_review_that_is_over_is_freed_by_the_rule_for_agents() -> None:
    town = a_town_in_review("closed", pr=None).agent("p", status="working", hook="m")
    town.update("beads", "b", status="closed")
    assert deeds(town.tick()) == [
        "agents.release_finished_work: stop_agent p",
        "agents.release_finished_work: transition_agent p idle",
        "agents.release_finished_work: unhook_agent p",
    ]


# --- from done to merged ------------------------------------------------------------------------------


@scenario(82)
def test_done_work_is_submitted_and_the_next_tick_reviews_it() -> None:
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    first = town.tick(event("agent_done", {"branch": "gt/toast/1"}, agent="p"))
    assert outcomes(first) == [("agent_done", "applied")]
    ((review, title, status, metadata),) = town.rows(
        "SELECT bead_id, title, status, metadata FROM beads WHERE type = 'merge_request'"
    )
    assert (town.status("b"), town.doing("p")) == ("in_review", ("idle", None))
    assert town.one("beads", "b", "assignee_agent_bead_id") == "p"
    assert (title, metadata) == ("Review: gt/toast/1", '{"source_agent_id":"p","source_bead_id":"b"}')
    # The drain comes before the rules: "next tick" of the scenario is this one already.
    assert status == "in_progress"
    assert deeds(first) == [
        f"reviews.dispatch_refinery: transition_bead {review} in_progress",
        f"reviews.dispatch_refinery: dispatch_agent {review}",
    ]


@scenario(82)
@pytest.mark.parametrize(
    ("url", "stored", "complaints"),
    [(PR, PR, []), (None, None, []), ("http://github.com/acme/main-rig/pull/7", None, [(None, None)])],
)
def test_only_a_secure_address_of_a_pull_request_is_submitted(
    url: str | None, stored: str | None, complaints: list[tuple[None, None]]
) -> None:
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    town.tick(event("agent_done", {"branch": "gt/toast/1"} | ({} if url is None else {"pr_url": url}), agent="p"))
    assert town.rows("SELECT pr_url FROM review_metadata") == [(stored,)]
    assert audits(town, "b", "pr_creation_failed") == complaints


@scenario(82)
@pytest.mark.parametrize(
    ("mode", "target"),
    [("review-then-land", "convoy/x/head"), (None, "convoy/x/head"), ("review-and-merge", "trunk")],
)
def test_work_of_a_convoy_is_merged_where_the_convoy_lands(mode: str | None, target: str) -> None:
    town = a_town().bead("b", "issue", "in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    town.convoy("c", tracked=["b"], mode=mode).update("rigs", "rig-1", default_branch="trunk")
    town.tick(event("agent_done", {"branch": "gt/toast/1"}, agent="p"))
    assert town.rows("SELECT target_branch FROM review_metadata") == [(target,)]


def a_town_with_siblings() -> TownBuilder:
    """B, a task of a convoy, is in review by M and two more; one that failed is left of earlier."""
    town = a_town_in_review().convoy("c", tracked=["b"], mode="review-and-merge", branch=None)
    for name, status in (("m2", "open"), ("m3", "in_progress"), ("m4", "failed")):
        town.review(name, status, of="b", pr_url=f"{PR}{name[1]}")
    return town


@scenario(83)
def test_a_merged_pull_request_closes_its_source_and_the_siblings_that_are_still_open() -> None:
    town = a_town_with_siblings()
    merged = {"pr_url": PR, "pr_state": "merged", "sha": "abc"}
    first = town.tick(event("pr_status_changed", merged, bead="m", event_id="merged-1"))
    assert outcome_of(first, "merged-1") == "applied"
    assert [town.status(name) for name in ("m", "b", "m2", "m3", "m4")] == [
        "closed",
        "closed",
        "closed",
        "closed",
        "failed",
    ]
    assert review_column(town, "merge_commit") == "abc"
    assert town.one("convoy_metadata", "c", "closed_beads") == 1
    again = town.tick(event("pr_status_changed", merged, bead="m", event_id="merged-2"), at=T + timedelta(seconds=5))
    assert outcome_of(again, "merged-2") == "skipped: terminal"
    assert len(audits(town, "b", "status_changed")) == 1


@scenario(83)
def test_a_merge_is_a_fact_even_while_rework_is_open() -> None:
    town = with_live_rework(a_town_in_review())
    town.tick(event("pr_status_changed", {"pr_url": PR, "pr_state": "merged"}, bead="m"))
    assert (town.status("m"), town.status("b")) == ("closed", "closed")


@scenario(84)
def test_a_pull_request_that_was_closed_fails_its_review_and_the_work_starts_again() -> None:
    town = a_town_in_review()
    closed = {"pr_url": PR, "pr_state": "closed"}
    report = town.tick(event("pr_status_changed", closed, bead="m", event_id="closed-1"))
    assert outcome_of(report, "closed-1") == "applied"
    assert (town.status("m"), town.metadata("m")["failureMessage"]) == ("failed", "closed without merge")
    # The drain comes before the rules: B1 has dispatched the reopened bead in the same tick.
    assert audits(town, "b", "status_changed") == [("in_review", "open"), ("open", "in_progress")]
    assert deeds(report, of="beads") == ["beads.dispatch_ready: dispatch_agent b"]
    again = town.tick(event("pr_status_changed", closed, bead="m", event_id="closed-2"), at=T + timedelta(seconds=5))
    assert outcome_of(again, "closed-2") == "skipped: terminal"
    assert len(audits(town, "b", "status_changed")) == 2


@scenario(84)
def test_a_bead_that_another_agent_has_taken_is_not_taken_away_by_a_closed_pull_request() -> None:
    town = a_town_in_review().agent("p2", status="working", hook="b")
    town.update("beads", "b", status="in_progress", assignee_agent_bead_id="p2")
    town.tick(event("pr_status_changed", {"pr_url": PR, "pr_state": "closed"}, bead="m"))
    assert town.status("m") == "failed"
    assert town.one("beads", "b", "status", "assignee_agent_bead_id", "updated_at") == (
        "in_progress",
        "p2",
        text(ago(seconds=5)),
    )
    assert town.doing("p2") == ("working", "b")


@scenario(85)
def test_a_pull_request_that_waits_for_a_person_keeps_no_refinery_and_goes_on_when_the_person_came() -> None:
    head = {**PASSED, "head_seen_at": to_text(ago(hours=2)), "changed_at": to_text(ago(hours=1))}
    waiting = {"awaiting_approval": 1, "last_poll_at": to_text(ago(minutes=45)), **head}
    town = with_refinery(a_town_in_review(metadata=waiting, updated=ago(minutes=45), dispatch_attempts=1))
    town.config(refinery={"auto_merge_delay_minutes": 0}).review("m2", pr_url=None)
    first = town.tick()
    assert deeds(first, of="reviews") == [f"{POLL}: poll_pr m", "reviews.redispatch_refinery: unhook_agent f"]
    assert town.status("m") == "in_progress"
    second = town.tick(at=T + timedelta(seconds=5))
    assert deeds(second, of="reviews") == [
        "reviews.dispatch_refinery: transition_bead m2 in_progress",
        "reviews.dispatch_refinery: hook_agent f m2",
        "reviews.dispatch_refinery: dispatch_agent f m2",
    ]
    approved = town.tick(answer(town, "poll_pr", "m", feedback=GREEN, **CLEAN), at=T + timedelta(seconds=10))
    assert outcomes_of(approved, "pr_auto_merge") == ["applied"]
    assert deeds(approved, of="reviews") == [f"{MERGE}: merge_pr m"]
    assert (town.metadata("m")["awaiting_approval"], town.doing("f")) == (0, ("working", "m2"))


@scenario(201)
def test_a_pull_request_that_is_open_changes_nothing() -> None:
    town = a_town_in_review(metadata={"last_poll_at": to_text(ago(seconds=10))})
    report = town.tick(event("pr_status_changed", {"pr_url": PR, "pr_state": "open"}, bead="m", event_id="opened-1"))
    assert (outcome_of(report, "opened-1"), deeds(report)) == ("applied", [])
    assert town.one("beads", "m", "status", "updated_at") == ("in_progress", text(ago(seconds=5)))
    assert audits(town, "m", "status_changed") == []


@scenario(201)
@pytest.mark.parametrize("status", ["closed", "failed"])
def test_whatever_its_pull_request_does_a_review_that_is_over_stays_as_it_is(status: str) -> None:
    town = a_town_in_review(status)
    events = [
        event("pr_status_changed", {"pr_url": PR, "pr_state": state}, bead="m", event_id=f"now-{state}")
        for state in ("open", "merged", "closed")
    ]
    report = town.tick(*events)
    merged = "applied" if status == "failed" else "skipped: terminal"  # it is recorded, and nothing else changes
    assert outcomes_of(report, "pr_status_changed") == ["skipped: terminal", merged, "skipped: terminal"]
    assert (town.status("m"), town.status("b")) == (status, "in_review")


# --- R5: priority ---------------------------------------------------------------------------------------------------


@scenario(281)
@pytest.mark.parametrize(
    ("sources", "own", "first"),
    [
        (("low", "critical"), ("medium", "medium"), "m2"),
        (("medium", "medium"), ("low", "critical"), "m1"),
        ((None, "low"), ("low", "critical"), "m1"),
        ((None, "medium"), ("low", "low"), "m2"),
    ],
)
def test_the_refinery_takes_the_review_of_the_most_urgent_source(
    sources: tuple[str | None, ...], own: tuple[str, ...], first: str
) -> None:
    town = a_town().agent("f", "refinery")
    for number, (source, priority) in enumerate(zip(sources, own, strict=True), start=1):
        if source is not None:
            town.bead(f"s{number}", status="in_review", priority=source)
        of = None if source is None else f"s{number}"
        town.review(f"m{number}", of=of, priority=priority, created_at=ago(hours=3 - number))
    [other] = {"m1", "m2"} - {first}
    assert f"the next tick starts {first}" in town.waits()[other].guards[0].says
    assert f"reviews.dispatch_refinery: dispatch_agent f {first}" in deeds(town.tick())
