"""Effect results: the outbox row first, then what the answer means (scenarios 53 to 59, 100, 160, 169, 187 to 195)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.outcomes import Applied, Skipped
from shared.domain.report import BusinessEvent
from shared.domain.states import AgentStatus, BeadStatus, DispatchOutcome, EffectKind, EffectState
from shared.domain.times import to_text
from shared.events import EVENTS
from shared.events.effect_results import RESULT_EVENTS, dispatch_expired
from shared.intake import ingest
from shared.town import outbox
from shared.town.writing import nudges
from tests.unit.events.small_town import PR, SmallTown, T

MISSING = Skipped("missing")
LATE = Skipped("late")


def dispatched(**worker: Any) -> tuple[SmallTown, outbox.Effect]:
    """B in progress, P dispatched for it as generation 1 (or as given), the effect claimed once."""
    stage = SmallTown()
    stage.bead("b", status="in_progress", rig_id="rig-1", dispatch_attempts=1, assignee_agent_bead_id="p")
    stage.worker("p", "b", **worker)
    return stage, stage.effect(EffectKind.DISPATCH_AGENT, "p", worker.get("generation", 1))


def answer(stage: SmallTown, effect: outbox.Effect, outcome: str, **more: Any) -> Any:
    given: dict[str, Any] = {
        "effect_id": effect.id,
        "attempt": 1,
        "generation": effect.generation,
        "outcome": outcome,
        **more,
    }
    return stage.apply("dispatch_result", agent_id="p", **given).outcome


# dispatch_result


def test_a_started_polecat_has_no_attempts_any_more_and_keeps_its_status() -> None:
    stage, effect = dispatched(dispatch_attempts=3)
    assert answer(stage, effect, "started", process_id="pid-9") == Applied()
    agent = stage.the_agent()
    assert (agent.status, agent.dispatch_attempts) == (AgentStatus.WORKING, 0)
    assert agent.last_dispatch_outcome is DispatchOutcome.STARTED
    assert stage.effect_row(effect.id).state is EffectState.DONE
    assert stage.audit("b") == ["agent_spawned"]


def test_a_started_refinery_keeps_its_attempts() -> None:
    stage, effect = dispatched(dispatch_attempts=3, role="refinery")
    assert answer(stage, effect, "started") == Applied()
    assert stage.the_agent().dispatch_attempts == 3


def test_a_heartbeat_that_came_before_the_answer_is_not_undone() -> None:
    stage, effect = dispatched(outcome="alive")
    assert answer(stage, effect, "started") == Applied()
    assert stage.the_agent().last_dispatch_outcome is DispatchOutcome.ALIVE


def test_a_rejected_agent_is_idle_with_its_hook_and_its_bead_stays_in_progress() -> None:
    stage, effect = dispatched()
    stage.later(timedelta(seconds=2))
    assert answer(stage, effect, "rejected", reason="connection refused") == Applied()
    agent, bead = stage.the_agent(), stage.the_bead("b")
    assert (agent.status, agent.hook) == (AgentStatus.IDLE, "b")
    assert agent.last_dispatch_outcome is DispatchOutcome.REJECTED
    assert bead.status is BeadStatus.IN_PROGRESS
    assert bead.last_dispatch_failed_at == T + timedelta(seconds=2)
    assert bead.last_dispatch_attempt_at is None
    assert stage.audit("b") == ["notification_failed"]
    assert stage.effect_row(effect.id).state is EffectState.FAILED


@pytest.mark.parametrize(
    "worker",
    [{"outcome": "alive"}, {"status": "idle"}, {"status": "stalled"}],
    ids=["after a heartbeat", "idle by now", "stalled by now"],
)
def test_a_rejection_that_comes_too_late_changes_nothing_but_the_outbox(worker: dict[str, Any]) -> None:
    stage, effect = dispatched(**worker)
    before = stage.the_agent()
    assert answer(stage, effect, "rejected", reason="no capacity") == LATE
    assert stage.the_agent() == before
    assert stage.the_bead("b").last_dispatch_failed_at is None
    assert stage.effect_row(effect.id).state is EffectState.FAILED


def test_a_rejection_after_the_hook_moved_on_is_late() -> None:
    stage, effect = dispatched()
    stage.bead("other", rig_id="rig-1")
    stage.town.sql.execute("UPDATE agent_metadata SET current_hook_bead_id = 'other' WHERE bead_id = 'p'")
    assert answer(stage, effect, "rejected", reason="no capacity") == LATE


def test_a_rejected_triage_batch_fails_and_frees_its_polecat_without_an_escalation() -> None:
    stage = SmallTown()
    stage.bead("b", status="in_progress", rig_id="rig-1", labels=["gt:triage"], created_by="patrol")
    stage.worker()
    effect = stage.effect(EffectKind.DISPATCH_AGENT, "p")
    assert answer(stage, effect, "rejected", reason="no capacity") == Applied()
    assert (stage.the_agent().status, stage.the_agent().hook) == (AgentStatus.IDLE, None)
    assert stage.the_bead("b").status is BeadStatus.FAILED
    failure = stage.town.sql.execute(
        "SELECT json_extract(metadata, '$.failure_reason.code'), json_extract(metadata, '$.failure_reason.source') "
        "FROM bead_events WHERE event_type = 'status_changed'"
    ).fetchone()
    assert failure == ("container_start_failed", "container")
    assert stage.beads_of("escalation") == []


def test_an_unknown_start_is_left_to_heartbeats() -> None:
    stage, effect = dispatched()
    assert answer(stage, effect, "unknown", reason="time-out") == Applied()
    agent = stage.the_agent()
    assert (agent.status, agent.last_dispatch_outcome) == (AgentStatus.WORKING, DispatchOutcome.UNKNOWN)
    assert stage.the_bead("b").last_dispatch_failed_at is None


def test_an_unknown_start_does_not_outvote_a_heartbeat() -> None:
    stage, effect = dispatched(outcome="alive")
    assert answer(stage, effect, "unknown") == Applied()
    assert stage.the_agent().last_dispatch_outcome is DispatchOutcome.ALIVE


def test_an_answer_of_an_older_generation_is_stale() -> None:
    stage, effect = dispatched(generation=2)
    assert answer(stage, effect, "rejected", generation=1, reason="x") == Skipped("stale generation")
    assert stage.the_agent().status is AgentStatus.WORKING


def test_an_answer_about_a_deleted_agent_still_settles_its_effect() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.DISPATCH_AGENT, "gone")
    given: dict[str, Any] = {"effect_id": effect.id, "attempt": 1, "generation": 1, "outcome": "started"}
    assert stage.apply("dispatch_result", agent_id="gone", **given).outcome == MISSING
    assert stage.effect_row(effect.id).state is EffectState.DONE


def test_a_second_answer_is_late_whatever_it_says() -> None:
    stage, effect = dispatched()
    assert answer(stage, effect, "unknown") == Applied()
    assert answer(stage, effect, "started") == LATE
    assert answer(stage, effect, "rejected") == LATE


def test_an_expired_dispatch_that_was_never_tried_is_rejected() -> None:
    stage = SmallTown()
    stage.bead("b", status="in_progress", rig_id="rig-1")
    stage.worker()
    effect = stage.effect(EffectKind.DISPATCH_AGENT, "p", claims=0)
    outbox.expire(stage.town, effect)
    dispatch_expired(stage.town, effect)
    assert (stage.the_agent().status, stage.the_agent().hook) == (AgentStatus.IDLE, "b")
    assert stage.the_bead("b").last_dispatch_failed_at == T


def test_an_expired_dispatch_that_was_tried_is_unknown_and_its_answer_late() -> None:
    stage, effect = dispatched()
    outbox.expire(stage.town, effect)
    dispatch_expired(stage.town, effect)
    assert stage.the_agent().status is AgentStatus.WORKING
    assert stage.the_agent().last_dispatch_outcome is DispatchOutcome.UNKNOWN
    assert answer(stage, effect, "started") == LATE


@pytest.mark.parametrize("worker", [{"status": "idle"}, {"generation": 2}], ids=["idle", "newer generation"])
def test_an_expired_dispatch_of_an_agent_that_went_on_changes_nothing(worker: dict[str, Any]) -> None:
    stage = SmallTown()
    stage.bead("b", status="in_progress", rig_id="rig-1")
    stage.worker("p", "b", **worker)
    effect = stage.effect(EffectKind.DISPATCH_AGENT, "p", 1, claims=0)
    before = stage.the_agent()
    dispatch_expired(stage.town, effect)
    assert stage.the_agent() == before


# stop_result, and what all share


def test_a_failing_stop_waits_5_10_20_40_seconds_and_fails_with_the_fifth_attempt() -> None:
    stage = SmallTown()
    stage.agent("p", generation=1)
    effect = stage.effect(EffectKind.STOP_AGENT, "p", claims=0)
    waits = []
    for attempt in range(1, 6):
        outbox.claim(stage.town, effect)
        result = stop(stage, effect, attempt, ok=False, error="connection reset", passing=True)
        assert result == Applied()
        row = stage.effect_row(effect.id)
        waits.append(None if row.not_before is None else (row.not_before - T).seconds)
    assert waits == [5, 10, 20, 40, None]
    assert stage.effect_row(effect.id).state is EffectState.FAILED
    assert stage.audit("p") == []


def stop(stage: SmallTown, effect: outbox.Effect, attempt: int, **given: Any) -> Any:
    payload: dict[str, Any] = {"effect_id": effect.id, "attempt": attempt, "generation": 1, **given}
    return stage.apply("stop_result", agent_id="p", **payload).outcome


def stopping(claims: int) -> tuple[SmallTown, outbox.Effect]:
    stage = SmallTown()
    stage.agent("p", generation=1)
    return stage, stage.effect(EffectKind.STOP_AGENT, "p", claims=claims)


def test_a_stop_is_audited_once_and_changes_no_status() -> None:
    stage, effect = stopping(1)
    assert stop(stage, effect, 1, ok=True) == Applied()
    assert stop(stage, effect, 1, ok=True) == LATE
    assert stage.audit("p") == ["agent_exited"]
    assert stage.the_agent().status is AgentStatus.WORKING


def test_a_failure_that_will_not_pass_is_final_at_once() -> None:
    stage, effect = stopping(1)
    assert stop(stage, effect, 1, ok=False, error="not authorised") == Applied()
    assert stage.effect_row(effect.id).state is EffectState.FAILED


def test_a_success_wins_over_the_recorded_failure_of_an_earlier_attempt() -> None:
    stage, effect = stopping(2)
    assert stop(stage, effect, 2, ok=False) == Applied()
    assert stop(stage, effect, 1, ok=True) == Applied()
    assert stage.effect_row(effect.id).state is EffectState.DONE
    assert stop(stage, effect, 2, ok=False) == LATE


def test_a_success_wins_while_the_retry_waits() -> None:
    stage, effect = stopping(1)
    assert stop(stage, effect, 1, ok=False, passing=True) == Applied()
    assert stop(stage, effect, 1, ok=False, passing=True) == LATE
    assert stop(stage, effect, 2, ok=True) == Applied()
    assert stage.effect_row(effect.id).state is EffectState.DONE


def test_an_old_failure_does_not_disturb_the_attempt_that_runs() -> None:
    stage, effect = stopping(2)
    assert stop(stage, effect, 1, ok=False, passing=True) == LATE
    assert stage.effect_row(effect.id).state is EffectState.CLAIMED


def test_an_expired_effect_ignores_its_first_answer() -> None:
    stage, effect = stopping(1)
    outbox.expire(stage.town, effect)
    assert stop(stage, effect, 1, ok=True) == LATE
    assert stop(stage, effect, 1, ok=False) == LATE


def test_an_expired_effect_that_had_failed_before_takes_a_late_success() -> None:
    stage, effect = stopping(1)
    stop(stage, effect, 1, ok=False, passing=True)
    outbox.claim(stage.town, effect)
    outbox.expire(stage.town, stage.effect_row(effect.id))
    assert stop(stage, effect, 2, ok=True) == Applied()
    assert stage.effect_row(effect.id).state is EffectState.DONE


def test_a_result_of_an_unknown_effect_or_of_another_kind_is_missing() -> None:
    stage, effect = stopping(1)
    payload: dict[str, Any] = {"effect_id": "0" * 64, "attempt": 1, "generation": 1, "ok": True}
    assert stage.apply("stop_result", agent_id="p", **payload).outcome == MISSING
    other: dict[str, Any] = {"effect_id": effect.id, "attempt": 1, "merged": True}
    assert stage.apply("pr_merge_result", bead_id="m", **other).outcome == MISSING
    assert stage.effect_row(effect.id).state is EffectState.CLAIMED


@pytest.mark.parametrize("event", RESULT_EVENTS, ids=lambda event: event.event_type)
def test_no_producer_may_send_a_result(event: Any) -> None:
    assert event in EVENTS
    assert event.senders == frozenset()
    body = b'{"event_id":"event-0001","event_type":"%s"}' % event.event_type.encode()
    with pytest.raises(Refused) as refused:
        ingest.accept(body, received_at=T)
    assert refused.value.status == 400


# pr_merge_result


def merging(*, claims: int = 1) -> tuple[SmallTown, outbox.Effect]:
    stage = SmallTown()
    stage.merge_request(metadata={"auto_merge_pending": 1}, ready_since=to_text(T))
    return stage, stage.effect(EffectKind.MERGE_PR, "m", claims=claims, pr_url=PR)


def merge(stage: SmallTown, effect: outbox.Effect, attempt: int = 1, **given: Any) -> Any:
    return stage.apply("pr_merge_result", bead_id="m", effect_id=effect.id, attempt=attempt, **given).outcome


def test_a_merge_is_handed_on_as_a_status_of_the_pull_request() -> None:
    stage, effect = merging()
    assert merge(stage, effect, merged=True, sha="c0ffee") == Applied()
    assert stage.appended() == [("pr_status_changed", "m", {"pr_url": PR, "pr_state": "merged", "sha": "c0ffee"})]


@pytest.mark.parametrize(
    "given",
    [
        {"reason": "405: a required check is missing"},
        {"reason": "the head moved"},
        {"error": {"kind": "http", "http_status": 422, "message": "no"}},
        {"error": {"kind": "no_token", "message": "no token"}},
    ],
    ids=["refused", "other head", "final error", "no token"],
)
def test_what_was_not_merged_starts_its_green_period_anew(given: dict[str, Any]) -> None:
    stage, effect = merging()
    assert merge(stage, effect, merged=False, **given) == Applied()
    assert "auto_merge_pending" not in stage.the_bead("m").metadata
    assert stage.the_review().auto_merge_ready_since is None
    assert stage.the_bead("m").status is BeadStatus.IN_PROGRESS


@pytest.mark.parametrize(
    "error",
    [
        {"kind": "transient", "message": "reset"},
        {"kind": "rate_limited", "message": "slow down", "retry_at": "2026-01-10T12:20:00Z"},
        {"kind": "http", "http_status": 502, "message": "bad gateway"},
    ],
    ids=["transient", "rate limited", "5xx"],
)
def test_a_passing_failure_keeps_the_flag_while_attempts_are_left(error: dict[str, Any]) -> None:
    stage, effect = merging()
    assert merge(stage, effect, merged=False, error=error) == Applied()
    assert stage.the_bead("m").metadata["auto_merge_pending"] == 1
    assert stage.effect_row(effect.id).state is EffectState.PENDING


def test_the_third_passing_failure_of_a_merge_is_final() -> None:
    stage, effect = merging(claims=3)
    assert merge(stage, effect, 3, merged=False, error={"kind": "transient"}) == Applied()
    assert "auto_merge_pending" not in stage.the_bead("m").metadata
    assert stage.effect_row(effect.id).state is EffectState.FAILED


def test_a_lost_answer_is_made_good_by_the_attempt_that_sees_the_merge() -> None:
    stage, effect = merging()
    merge(stage, effect, merged=False, error={"kind": "transient"})
    outbox.claim(stage.town, effect)
    assert merge(stage, effect, 2, merged=True, sha="c0ffee") == Applied()
    assert len(stage.appended()) == 1


def test_a_merge_that_is_told_twice_is_handed_on_once() -> None:
    stage, effect = merging(claims=2)
    assert merge(stage, effect, 2, merged=True, sha="c0ffee") == Applied()
    assert merge(stage, effect, 1, merged=True, sha="c0ffee") == LATE
    assert len(stage.appended()) == 1


@pytest.mark.parametrize("bead", [None, "issue"])
def test_a_merge_result_about_no_review_is_missing(bead: str | None) -> None:
    stage = SmallTown()
    if bead is not None:
        stage.bead("m", bead)
    effect = stage.effect(EffectKind.MERGE_PR, "m", pr_url=PR)
    assert merge(stage, effect, merged=True) == MISSING


def test_a_merge_result_for_a_finished_mr_is_skipped() -> None:
    stage = SmallTown()
    stage.merge_request(status="closed")
    effect = stage.effect(EffectKind.MERGE_PR, "m", pr_url=PR)
    assert merge(stage, effect, merged=True) == Skipped("terminal")
    assert stage.appended() == []


# messages


def nudging() -> tuple[SmallTown, str, outbox.Effect]:
    stage = SmallTown()
    stage.agent("p")
    nudge_id = nudges.create(stage.town, "p", "go on", mode="immediate", priority="urgent", source="reconciler:warn")
    return stage, nudge_id, stage.effect(EffectKind.SEND_NUDGE, nudge_id, 0, claims=0)


def delivered_at(stage: SmallTown, nudge_id: str) -> Any:
    return stage.town.sql.execute("SELECT delivered_at FROM agent_nudges WHERE nudge_id = ?", (nudge_id,)).fetchone()[0]


def test_a_delivered_nudge_keeps_its_first_time() -> None:
    stage, nudge_id, effect = nudging()
    nudges.deliver(stage.town, nudge_id)
    outbox.claim(stage.later(timedelta(seconds=1)).town, effect)
    result = stage.apply("nudge_result", effect_id=effect.id, attempt=1, nudge_id=nudge_id, delivered=True)
    assert result.outcome == Applied()
    assert delivered_at(stage, nudge_id) == to_text(T)


def test_a_nudge_is_delivered_when_the_answer_says_so() -> None:
    stage, nudge_id, effect = nudging()
    outbox.claim(stage.later(timedelta(seconds=1)).town, effect)
    stage.apply("nudge_result", effect_id=effect.id, attempt=1, nudge_id=nudge_id, delivered=True)
    assert delivered_at(stage, nudge_id) == to_text(T + timedelta(seconds=1))


def test_a_nudge_that_three_attempts_could_not_deliver_stays_undelivered_and_is_audited() -> None:
    stage, nudge_id, effect = nudging()
    for attempt in (1, 2, 3):
        outbox.claim(stage.town, effect)
        assert stage.audit("p") == []
        given: dict[str, Any] = {"nudge_id": nudge_id, "delivered": False, "error": "time-out", "passing": True}
        stage.apply("nudge_result", effect_id=effect.id, attempt=attempt, **given)
    assert stage.effect_row(effect.id).state is EffectState.FAILED
    assert delivered_at(stage, nudge_id) is None
    assert stage.audit("p") == ["notification_failed"]


def test_the_result_of_a_nudge_that_is_gone_is_missing() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.SEND_NUDGE, "n", 0)
    result = stage.apply("nudge_result", effect_id=effect.id, attempt=1, nudge_id="n", delivered=True)
    assert result.outcome == MISSING


@pytest.mark.parametrize("status", ["waiting", "idle", "working", "stalled"])
def test_a_mayor_who_got_a_message_works_unless_he_is_stalled(status: str) -> None:
    stage = SmallTown()
    stage.agent("mayor", "mayor", status)
    effect = stage.effect(EffectKind.NOTIFY_MAYOR, "escalation:e", subject="escalation:e")
    result = stage.apply("mayor_notified", effect_id=effect.id, attempt=1, delivered=True)
    assert result.outcome == Applied()
    assert stage.the_agent("mayor").status == ("stalled" if status == "stalled" else "working")
    assert stage.audit("mayor") == ["mail_sent"]


def test_the_fifth_failed_message_to_the_mayor_is_final_and_audited() -> None:
    stage = SmallTown()
    stage.agent("mayor", "mayor", "waiting")
    effect = stage.effect(EffectKind.NOTIFY_MAYOR, "x", claims=4)
    given: dict[str, Any] = {"effect_id": effect.id, "delivered": False, "error": "time-out", "passing": True}
    stage.apply("mayor_notified", attempt=4, **given)
    assert stage.effect_row(effect.id).state is EffectState.PENDING
    outbox.claim(stage.town, effect)
    stage.apply("mayor_notified", attempt=5, **given)
    assert stage.effect_row(effect.id).state is EffectState.FAILED
    assert stage.audit("mayor") == ["notification_failed"]
    assert stage.the_agent("mayor").status is AgentStatus.WAITING


# effect_result


def done(stage: SmallTown, effect: outbox.Effect, **given: Any) -> Any:
    payload: dict[str, Any] = {"effect_id": effect.id, "attempt": 1, "kind": effect.kind.value, **given}
    return stage.apply("effect_result", **payload).outcome


def test_a_refreshed_token_is_remembered_by_its_time_only() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.REFRESH_TOKEN, "container")
    assert done(stage, effect, ok=True) == Applied()
    assert stage.town.keys.stored("last_token_refresh_at") == to_text(T)


def test_a_stopped_container_is_announced_with_the_reason() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.STOP_CONTAINER, "container", reason="mayor_idle_6m")
    assert done(stage, effect, ok=True) == Applied()
    assert stage.town.keys.stored("last_idle_stop_at") == to_text(T)
    assert stage.town.business_events == [BusinessEvent("container.idle_stop", {"reason": "mayor_idle_6m"})]


def test_a_container_that_did_not_stop_is_not_throttled() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.STOP_CONTAINER, "container", reason="mayor_idle_6m")
    assert done(stage, effect, ok=False, error="time-out", passing=True) == Applied()
    assert stage.town.keys.stored("last_idle_stop_at") is None
    assert stage.effect_row(effect.id).state is EffectState.FAILED


def test_a_changed_model_is_audited() -> None:
    stage = SmallTown()
    stage.agent("mayor", "mayor")
    effect = stage.effect(EffectKind.UPDATE_MODEL, "mayor", model="large")
    assert done(stage, effect, ok=True) == Applied()
    assert stage.audit("mayor") == ["fields_updated"]


def test_a_failing_refresh_is_tried_again() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.REFRESH_TOKEN, "container")
    assert done(stage, effect, ok=False, passing=True) == Applied()
    assert stage.effect_row(effect.id).state is EffectState.PENDING
    assert stage.town.keys.stored("last_token_refresh_at") is None


# the answer to an effect that was settled before


@pytest.mark.parametrize(
    ("kind", "event_type", "report", "outcome"),
    [
        (EffectKind.SEND_NUDGE, "nudge_result", {"nudge_id": "gone", "delivered": True}, MISSING),
        (EffectKind.NOTIFY_MAYOR, "mayor_notified", {"delivered": True}, MISSING),
        (EffectKind.REFRESH_TOKEN, "effect_result", {"kind": "refresh_token", "ok": True}, Applied()),
    ],
    ids=["a nudge that is gone", "a message to no mayor", "a token"],
)
def test_an_answer_that_comes_twice_is_late_the_second_time(
    kind: EffectKind, event_type: str, report: dict[str, Any], outcome: Applied | Skipped
) -> None:
    stage = SmallTown()
    effect = stage.effect(kind, "x", 0)
    first, second = (
        stage.apply(event_type, **{"effect_id": effect.id, "attempt": 1, **report}).outcome for _ in range(2)
    )
    assert (first, second) == (outcome, LATE)


def test_the_answer_to_the_stop_of_an_agent_that_is_gone_is_missing() -> None:
    stage = SmallTown()
    effect = stage.effect(EffectKind.STOP_AGENT, "p", 1)
    given: dict[str, Any] = {"effect_id": effect.id, "attempt": 1, "generation": 1, "ok": True}
    assert stage.apply("stop_result", agent_id="p", **given).outcome == MISSING
    assert stage.apply("stop_result", agent_id="p", **given).outcome == LATE
