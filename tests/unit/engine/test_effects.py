"""When an effect of the outbox is claimed, left alone or given up (spec/tick.md section 5), to the millisecond."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import limits
from tests.towns import MS, T, TownBuilder, a_town, ago

LATER = T + timedelta(minutes=30)


def with_message(town: TownBuilder, number: int = 1, **columns: Any) -> TownBuilder:
    """A message to the mayor that waits in the outbox."""
    key = f"e{number:03}"
    row = {
        "kind": "notify_mayor",
        "subject": key,
        "state": "pending",
        "attempts": 0,
        "deadline": LATER,
        "created_at": ago(minutes=1),
        **columns,
    }
    return town.insert("outbox", effect_id=key, seq=number, generation=1, payload={}, **row)


def state_of(town: TownBuilder, key: str = "e001") -> str:
    found: str = town.one("outbox", key, "state")
    return found


@pytest.mark.parametrize(("after_now", "state"), [(-MS, "expired"), (0 * MS, "claimed"), (MS, "claimed")])
def test_an_effect_may_start_up_to_its_deadline(after_now: timedelta, state: str) -> None:
    town = with_message(a_town(), deadline=T + after_now)
    town.tick()
    assert state_of(town) == state


@pytest.mark.parametrize(("attempts", "state"), [(4, "claimed"), (5, "expired"), (6, "expired")])
def test_an_effect_without_attempts_left_expires(attempts: int, state: str) -> None:
    town = with_message(a_town(), attempts=attempts)
    town.tick()
    assert state_of(town) == state


@pytest.mark.parametrize(("after_now", "state"), [(-MS, "claimed"), (0 * MS, "claimed"), (MS, "pending")])
def test_a_retry_waits_for_its_time(after_now: timedelta, state: str) -> None:
    town = with_message(a_town(), attempts=1, not_before=T + after_now)
    report = town.tick()
    assert state_of(town) == state
    if state == "pending":
        assert report.next_due == T + after_now


@pytest.mark.parametrize(("after_now", "attempts"), [(-MS, 2), (0 * MS, 1), (MS, 1)])
def test_a_claim_holds_up_to_its_end_and_is_looked_at_a_millisecond_later(after_now: timedelta, attempts: int) -> None:
    town = with_message(a_town(), state="claimed", attempts=1, claim="1-gone", claimed_until=T + after_now)
    report = town.tick()
    assert (state_of(town), town.one("outbox", "e001", "attempts")) == ("claimed", attempts)
    assert report.next_due == (T + limits.EFFECT_CLAIM + MS if attempts == 2 else T + after_now + MS)


def test_a_claim_of_the_last_attempt_expires_when_it_is_over() -> None:
    town = with_message(a_town(), state="claimed", attempts=5, claim="1-gone", claimed_until=T)
    assert town.tick().next_due == T + MS
    assert state_of(town) == "claimed"
    town.tick(at=T + MS)
    assert state_of(town) == "expired"


def test_what_waits_for_its_retry_is_looked_at_when_its_deadline_is_over() -> None:
    town = with_message(a_town(), attempts=1, not_before=T + 2 * MS, deadline=T + MS)
    assert town.tick().next_due == T + 2 * MS
    assert state_of(town) == "pending"
    town.tick(at=T + 2 * MS)
    assert state_of(town) == "expired"


def test_a_hundred_effects_are_claimed_in_order_and_the_rest_is_due_at_once() -> None:
    town = a_town()
    for number in range(1, 102):
        with_message(town, number, kind="send_nudge")
    report = town.tick()
    assert [effect.subject for effect in report.effects] == [f"e{number:03}" for number in range(1, 101)]
    assert (state_of(town, "e100"), state_of(town, "e101"), report.next_due) == ("claimed", "pending", T)


@pytest.mark.parametrize(
    ("status", "generation", "state"),
    [("working", 1, "claimed"), ("idle", 1, "expired"), ("working", 2, "expired")],
)
def test_a_start_that_its_agent_has_outgrown_expires(status: str, generation: int, state: str) -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(seconds=1))
    town.agent("p", status=status, hook="b", generation=generation)
    with_message(town, kind="dispatch_agent", subject="p")
    town.tick()
    assert state_of(town) == state


def test_a_start_that_a_rule_of_the_same_tick_has_made_pointless_is_not_performed() -> None:
    """The rules act after effects expire and before they are claimed."""
    town = a_town().bead("b", status="closed", assignee_agent_bead_id="p", updated_at=ago(seconds=1))
    town.agent("p", status="working", hook="b", generation=1)
    with_message(town, kind="dispatch_agent", subject="p")
    report = town.tick()
    assert town.doing("p") == ("idle", None)
    assert [effect.kind for effect in report.effects] == ["stop_agent"]
    assert (state_of(town), report.next_due) == ("pending", T)
    town.tick(at=T + MS)
    assert state_of(town) == "expired"


def test_a_start_of_an_agent_that_is_gone_expires() -> None:
    town = with_message(a_town(), kind="dispatch_agent", subject="gone")
    town.tick()
    assert state_of(town) == "expired"


@pytest.mark.parametrize("kind", ["poll_pr", "merge_pr"])
@pytest.mark.parametrize(("status", "state"), [("in_progress", "claimed"), ("closed", "expired"), (None, "expired")])
def test_a_look_at_a_review_that_is_over_expires(kind: str, status: str | None, state: str) -> None:
    town = a_town()
    if status is not None:
        town.review("m", status, pr_url="https://github.com/acme/main-rig/pull/1")
    with_message(town, kind=kind, subject="m")
    town.tick()
    assert state_of(town) == state


def test_a_message_does_not_depend_on_whom_it_is_about() -> None:
    town = with_message(a_town().bead("m", status="closed"), subject="m")
    town.tick()
    assert state_of(town) == "claimed"
