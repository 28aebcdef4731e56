"""What history knows about the changed town: orders, what was done before, and whose reports are its own."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.processes import ProcessStatus
from shared.domain.report import ClaimedEffect
from shared.domain.senders import Sender
from shared.domain.states import EffectKind
from shared.domain.tick import Envelope
from shared.replay.what_if.knowledge import Knowledge
from shared.replay.what_if.orders import changed_fields
from tests.orders import a_payload
from tests.towns import T, event

NO_SHIFT = timedelta(0)


def claimed(kind: EffectKind, subject: str, generation: int = 1, /, **order: Any) -> ClaimedEffect:
    payload = a_payload(kind, subject, generation, **order)
    return ClaimedEffect(
        f"{kind} {subject} {generation}", kind, subject, generation, 1, 1, payload, T + timedelta(minutes=10)
    )


def start(agent: str, generation: int = 1, *, bead: str = "b", **order: Any) -> ClaimedEffect:
    return claimed(EffectKind.DISPATCH_AGENT, agent, generation, bead={"id": bead}, **order)


def knowing(*tried: ClaimedEffect) -> Knowledge:
    return Knowledge(frozenset((each.effect_id, each.attempt) for each in tried), NO_SHIFT)


def whys(knowledge: Knowledge, then: list[ClaimedEffect], now: list[ClaimedEffect], *, tick: int = 1) -> list[str]:
    return [each.why for each in knowledge.judge(tick, T, then, now).unknown]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (EffectKind.DISPATCH_AGENT, "model", "another"),
        (EffectKind.DISPATCH_AGENT, "branch", "gt/2"),
        (EffectKind.DISPATCH_AGENT, "custom_instructions", "be quick"),
        (EffectKind.POLL_PR, "rig_repository", "acme/other"),
        (EffectKind.MERGE_PR, "require_checks", True),
        (EffectKind.VERIFY_MERGE, "target_branch", "release"),
        (EffectKind.UPDATE_BRANCH, "head_sha", "head-2"),
        (EffectKind.REQUEST_REVIEW, "reviewers", ["ada"]),
        (EffectKind.SEND_NUDGE, "message", "hurry"),
        (EffectKind.NOTIFY_MAYOR, "message", "look"),
        (EffectKind.UPDATE_MODEL, "model", "another"),
        (EffectKind.SEND_NOTICE, "title", "another"),
    ],
)
def test_an_order_with_another_field_has_an_unknown_result(kind: EffectKind, field: str, value: object) -> None:
    then, now = claimed(kind, "s"), claimed(kind, "s", **{field: value})
    [unknown] = knowing(then).judge(1, T, [then], [now]).unknown
    assert unknown.why == "other_order"
    assert [each.column.partition("[")[0] for each in unknown.order] == [f"payload.{field}"]


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (EffectKind.STOP_AGENT, "reason", "another"),
        (EffectKind.STOP_CONTAINER, "reason", "another"),
        (EffectKind.SEND_NUDGE, "priority", "urgent"),
        (EffectKind.NOTIFY_MAYOR, "subject", "another"),
        (EffectKind.REFRESH_TOKEN, "coordinators", [{"agent_id": "p"}]),
    ],
)
def test_a_field_that_nobody_acts_on_does_not_make_another_order(kind: EffectKind, field: str, value: object) -> None:
    assert changed_fields(claimed(kind, "s"), claimed(kind, "s", **{field: value}), NO_SHIFT) == ()


def test_a_time_in_an_order_may_be_shifted_with_the_clock() -> None:
    shift = timedelta(seconds=60)
    then = claimed(EffectKind.SEND_NOTICE, "s", at="2026-01-10T12:00:00.000Z")
    now = claimed(EffectKind.SEND_NOTICE, "s", at="2026-01-10T12:01:00.000Z")
    assert changed_fields(then, now, shift) == ()
    assert len(changed_fields(then, now, NO_SHIFT)) == 1


def test_an_attempt_that_the_changed_town_makes_earlier_is_judged_once_history_makes_it() -> None:
    same, other = start("p"), start("q", model="then")
    knowledge = knowing(same, other)
    early = knowledge.judge(1, T, [], [same, start("q", model="now")])
    assert (early.answered, early.unknown) == ((), ())
    late = knowledge.judge(2, T, [same, other], [])
    assert [each.subject for each in late.answered] == ["p"]
    assert [(each.subject, each.why, each.tick) for each in late.unknown] == [("q", "other_order", 1)]


def test_the_same_generation_that_was_started_for_another_bead_is_no_attempt_of_history() -> None:
    then, now = start("p", bead="b1"), start("p", bead="b2")
    assert whys(knowing(then), [then], [now]) == ["never_made"]


def test_a_poll_says_nothing_about_a_pull_request_on_which_something_else_was_done_before() -> None:
    """The same question, asked in the same tick, has another answer once somebody else has worked on the branch."""
    poll = claimed(EffectKind.POLL_PR, "m", 3)
    update = claimed(EffectKind.UPDATE_BRANCH, "m", 2)
    rework = start("p", bead="fix", pr_url=poll.payload["pr_url"])
    for only_in_history in (update, rework):
        knowledge = knowing(only_in_history, poll)
        knowledge.judge(2, T, [only_in_history], [])
        assert whys(knowledge, [poll], [poll], tick=3) == ["other_past"]
    knowledge = knowing(update, poll)
    knowledge.judge(2, T, [update], [update])
    assert whys(knowledge, [poll], [poll], tick=3) == []


def test_an_order_that_is_not_kept_takes_the_recorded_result() -> None:
    effect = start("p")
    knowledge = knowing(effect)
    knowledge.leave_unread([(effect.effect_id, 1)])
    assert knowledge.judge(1, T, [], [effect]).answered == (effect,)


# Reports


def heard(knowledge: Knowledge, *events: Envelope) -> list[bool]:
    return [knowledge.is_heard(each) for each in events]


def done(generation: int | None, *, agent: str = "p") -> Envelope:
    payload = {"branch": "gt/1", **({} if generation is None else {"generation": generation})}
    return event("agent_done", payload, agent=agent, event_id="done-0001")


def test_reports_of_a_start_that_only_history_made_are_not_heard() -> None:
    then = start("p", 2)
    knowledge = knowing(then)
    knowledge.judge(1, T, [then], [])
    assert heard(knowledge, done(2), done(None)) == [False, False]
    assert heard(knowledge, done(1), done(2, agent="q")) == [True, True], "an earlier start, and another agent"
    assert knowledge.unheard == {("p", 2): 2}


def test_what_an_agents_token_sent_is_its_own_and_what_a_person_says_about_it_is_not() -> None:
    then = start("p", 2)
    knowledge = knowing(then)
    knowledge.judge(1, T, [then], [])
    mail = event("mail_sent", {"to": "mayor", "subject": "s", "body": "b"}, event_id="mail-0001")
    reset = event("agent_reset", agent="p", event_id="reset-0001")
    assert heard(knowledge, reset, mail) == [True, True]
    assert heard(knowledge, replace(mail, sender=Sender("agent", "p", 2))) == [False]


def test_a_process_that_only_history_started_is_not_observed() -> None:
    then = start("p", 2)
    knowledge = knowing(then)
    knowledge.judge(1, T, [then], [])
    assert not knowledge.is_seen("p", ProcessStatus("exited", "crashed", 2))
    assert not knowledge.is_seen("p", ProcessStatus("exited"))
    assert knowledge.is_seen("p", ProcessStatus("exited", generation=1))
    assert knowledge.is_seen("q", ProcessStatus("exited", generation=2))


def test_once_the_changed_town_makes_the_same_start_its_reports_are_heard() -> None:
    then = start("p", 2)
    knowledge = knowing(then)
    knowledge.judge(1, T, [then], [])
    assert knowledge.is_heard(event("agent_heartbeat", agent="p", event_id="beat-0001")) is False
    assert whys(knowledge, [], [then], tick=2) == []
    assert knowledge.is_heard(done(2))


def test_a_start_that_comes_after_history_had_reported_its_end_has_an_unknown_result() -> None:
    then = start("p", 2)
    knowledge = knowing(then)
    knowledge.judge(1, T, [then], [])
    assert not knowledge.is_heard(done(2))
    assert whys(knowledge, [], [then], tick=5) == ["reported_before"]
