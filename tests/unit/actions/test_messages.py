"""Nudges, messages to the mayor, business events."""

from datetime import timedelta
from typing import Any

import pytest

from shared.actions import EmitEvent, ExpireNudge, NotifyMayor, SendNudge
from shared.domain.outcomes import Applied, Skipped
from shared.domain.report import BusinessEvent
from shared.domain.times import to_text
from tests.towns import T, TownBuilder, a_town, ago, an_empty_town, text
from tests.unit.actions.builders import NOW, TICK_NO, Stage, on

IN_AN_HOUR = to_text(T + timedelta(minutes=60))
COLUMNS = "agent_bead_id, message, mode, priority, source, created_at, delivered_at, expires_at"


def nudge_of(stage: Stage) -> tuple[Any, ...]:
    [row] = stage.rows.rows(f"SELECT {COLUMNS} FROM agent_nudges")
    return row


# send_nudge


@pytest.mark.parametrize("tier", ["warn", "escalate", "force_stop"])
def test_a_tier_decides_how_a_nudge_is_delivered(tier: Any) -> None:
    stage = on(a_town().agent("p", status="working"))
    action = SendNudge(agent_id="p", message="go on", tier=tier, source="agent", mode="queue", priority="normal")
    assert stage.apply(action) == Applied()
    assert nudge_of(stage) == ("p", "go on", "immediate", "urgent", f"reconciler:{tier}", NOW, None, IN_AN_HOUR)


def test_a_nudge_says_how_it_is_to_be_delivered() -> None:
    stage = on(a_town().agent("p"))
    action = SendNudge(agent_id="p", message="mail", source="agent", mode="queue", priority="urgent")
    assert stage.apply(action) == Applied()
    assert nudge_of(stage) == ("p", "mail", "queue", "urgent", "agent", NOW, None, None)


def test_a_nudge_without_words_on_delivery_waits_for_a_pause() -> None:
    stage = on(a_town().agent("p"))
    stage.apply(SendNudge(agent_id="p", message="hello"))
    assert nudge_of(stage) == ("p", "hello", "wait-idle", "normal", "system", NOW, None, None)


def test_the_effect_of_a_nudge_carries_its_id_and_no_generation() -> None:
    stage = on(a_town().agent("p", generation=4))
    stage.apply(SendNudge(agent_id="p", message="go on", tier="warn"))
    [(nudge_id,)] = stage.rows.rows("SELECT nudge_id FROM agent_nudges")
    payload = {
        "town_id": "t1",
        "agent_id": "p",
        "nudge_id": nudge_id,
        "message": "go on",
        "mode": "immediate",
        "priority": "urgent",
    }
    assert stage.effects == [("send_nudge", nudge_id, 0, payload)]


def test_every_nudge_of_a_tick_is_sent() -> None:
    stage = on(a_town().agent("p"))
    for message in ("one", "two"):
        assert stage.apply(SendNudge(agent_id="p", message=message)) == Applied()
    assert [effect[3]["message"] for effect in stage.effects] == ["one", "two"]


def test_nobody_is_not_nudged() -> None:
    assert on(a_town().bead("b")).refused(SendNudge(agent_id="b", message="x")) == Skipped("missing")


def test_mail_to_the_mayor_that_nobody_waits_for_any_more_is_not_sent() -> None:
    stage = on(a_town().bead("read", "message", status="closed", assignee_agent_bead_id="mayor"))
    for mail in ("read", "gone"):
        assert stage.refused(NotifyMayor(subject=f"mail:{mail}", message="you have mail")) == Skipped("moved_on")


def test_mail_that_nobody_waits_for_any_more_is_not_delivered() -> None:
    stage = on(a_town().agent("p", status="working"))
    assert stage.refused(SendNudge(agent_id="p", message="you have mail", mail="gone")) == Skipped("moved_on")


# expire_nudge


def with_nudge(rows: TownBuilder, delivered_at: str | None = None) -> TownBuilder:
    return rows.agent("p").insert(
        "agent_nudges",
        nudge_id="n",
        agent_bead_id="p",
        message="x",
        created_at=ago(hours=2),
        expires_at=ago(hours=1),
        delivered_at=delivered_at,
    )


def test_an_expired_nudge_is_over_now() -> None:
    stage = on(with_nudge(a_town()))
    assert stage.apply(ExpireNudge(nudge_id="n")) == Applied()
    assert stage.rows.one("agent_nudges", "n", "delivered_at") == NOW


def test_a_delivered_nudge_keeps_its_time() -> None:
    stage = on(with_nudge(a_town(), delivered_at=text(ago(hours=1))))
    assert stage.refused(ExpireNudge(nudge_id="n")) == Skipped("already")


def test_a_nudge_that_is_gone_is_missing() -> None:
    assert on(a_town()).refused(ExpireNudge(nudge_id="n")) == Skipped("missing")


# notify_mayor


def test_the_mayor_is_told() -> None:
    stage = on(a_town())
    assert stage.apply(NotifyMayor(subject="breaker:1:open", message="dispatch paused")) == Applied()
    [(kind, subject, generation, payload)] = stage.effects
    order = payload.pop("start")
    assert (kind, subject, generation) == ("notify_mayor", "breaker:1:open", TICK_NO)
    assert payload == {
        "town_id": "t1",
        "agent_id": "mayor",
        "subject": "breaker:1:open",
        "message": "dispatch paused",
    }
    assert (order["role"], order["prompt_kind"], order["generation"], order["rig"]) == ("mayor", "mayor", TICK_NO, None)
    assert stage.rows.doing("mayor") == ("idle", None)


def test_a_sleeping_mayor_is_started_with_model_organization_and_repositories() -> None:
    town = a_town().rig("rig-2", name="second").config(organization_id="org-1", role_models={"mayor": "large"})
    stage = on(town)
    stage.apply(NotifyMayor(subject="cap:m", message="x"))
    order = stage.effects[0][3]["start"]
    assert (order["organization_id"], order["model"]) == ("org-1", "large")
    assert [rig["id"] for rig in order["rigs"]] == ["rig-1", "rig-2"]


def test_a_mayors_sessions_are_numbered_above_every_generation_it_had() -> None:
    """After a restore in place generations were raised, and tick numbers go on."""
    stage = on(a_town().update("agent_metadata", "mayor", generation=900))
    stage.apply(NotifyMayor(subject="cap:m", message="x"))
    assert stage.effects[0][3]["start"]["generation"] == 900


def test_a_town_without_a_mayor_gets_one_to_whom_the_message_goes() -> None:
    stage = on(an_empty_town())
    stage.apply(NotifyMayor(subject="cap:m", message="x"))
    [(mayor,)] = stage.rows.rows("SELECT bead_id FROM agent_metadata WHERE role = 'mayor'")
    assert stage.effects[0][3]["agent_id"] == mayor
    assert stage.effects[0][3]["start"]["agent_id"] == mayor


def test_one_subject_is_told_once_a_tick() -> None:
    stage = on(a_town())
    stage.apply(NotifyMayor(subject="cap:m", message="one"))
    assert stage.refused(NotifyMayor(subject="cap:m", message="two")) == Skipped("duplicate effect")
    assert stage.apply(NotifyMayor(subject="cap:n", message="three")) == Applied()


def test_a_failed_blocker_remembers_that_the_mayor_knows() -> None:
    stage = on(a_town().bead("b", status="failed", metadata={"note": "kept"}, updated_at=ago(hours=1)))
    stage.apply(NotifyMayor(subject="failed_blocker:b", message="b holds back d"))
    assert stage.rows.metadata("b") == {"failed_blocker_notified": 1, "note": "kept"}
    assert stage.bead("b", "status", "updated_at") == ("failed", text(ago(hours=1)))


def test_other_subjects_mark_no_bead() -> None:
    stage = on(a_town().bead("b", status="failed"))
    stage.apply(NotifyMayor(subject="escalation:b", message="x"))
    assert stage.rows.metadata("b") == {}


# emit_event


def test_a_business_event_is_noted() -> None:
    stage = on(a_town())
    assert stage.apply(EmitEvent(event_name="pr.poll_failed", data={"beadId": "m"})) == Applied()
    assert stage.town.business_events == [BusinessEvent("pr.poll_failed", {"beadId": "m"})]


def test_a_suppressed_landing_is_remembered_on_its_convoy() -> None:
    stage = on(a_town().convoy("c", metadata={"ready_to_land": 1}))
    data = {"convoyId": "c", "suppressedAttempt": 3}
    assert stage.apply(EmitEvent(event_name="reconciler.respawn_suppressed", data=data)) == Applied()
    assert stage.rows.metadata("c") == {"ready_to_land": 1, "respawn_suppressed_attempt": 3}
    assert stage.town.business_events == [BusinessEvent("reconciler.respawn_suppressed", data)]
