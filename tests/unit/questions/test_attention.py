"""What needs attention, and what is known of a failed bead."""

from datetime import datetime

import pytest

from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.questions.attention import Attention
from shared.questions.failures import FailedLine
from shared.questions.status import TownStatus, status
from tests.towns import MS, T, TownBuilder, a_town, ago
from tests.worlds import a_world


def seen(town: TownBuilder) -> TownStatus:
    return drive(status("t1", a_world(town).around))


def attention(town: TownBuilder) -> list[tuple[str, str | None]]:
    return [(each.kind, each.about) for each in seen(town).attention]


def failed(town: TownBuilder, bead_id: str, *, code: str = "reconciler", at: datetime = T, seq: int = 1) -> TownBuilder:
    """A bead that failed at a time, with its line in the audit trail."""
    town.bead(bead_id, status="failed")
    return audited(
        town, seq, bead_id, "status_changed", at=at, new="failed", notes=f'{{"failure_reason":{{"code":"{code}"}}}}'
    )


def audited(
    town: TownBuilder, seq: int, bead_id: str, what: str, *, at: datetime = T, new: str | None = None, **columns: str
) -> TownBuilder:
    notes = columns.pop("notes", "{}")
    return town.insert(
        "bead_events",
        bead_event_id=f"e{seq}",
        seq=seq,
        bead_id=bead_id,
        event_type=what,
        new_value=new,
        metadata=notes,
        created_at=at,
        **columns,
    )


def test_a_town_that_goes_on_by_itself_needs_none() -> None:
    town = a_town().bead("b").bead("w", status="in_progress").agent("p", status="working", hook="w")
    assert attention(town) == []


@pytest.mark.parametrize(
    ("at", "needs"), [(ago(hours=24), True), (ago(hours=24, ms=1), False)], ids=["in time", "over"]
)
def test_a_failed_bead_needs_attention_for_a_day(at: datetime, needs: bool) -> None:
    assert attention(failed(a_town(), "b", at=at)) == ([("failed", "b")] if needs else [])


def test_a_failed_bead_that_holds_others_back_needs_attention_for_ever() -> None:
    """After a day, status no longer named the bead behind which everything waited."""
    town = (
        failed(a_town(), "first", at=ago(days=8)).bead("next").edge("next", "first").bead("last").edge("last", "next")
    )
    assert attention(town) == [("failed", "first")]
    [line] = seen(town).failed
    assert (line.bead_id, line.holds_back) == ("first", ("last", "next"))


def test_a_failed_bead_that_holds_others_back_comes_before_those_that_failed_later() -> None:
    """Seen: the first advice of the status was to reopen a bead behind which nothing waited."""
    town = failed(failed(a_town(), "holding", seq=1, at=ago(minutes=9)), "alone", seq=2, at=ago(minutes=1))
    town = town.bead("next").edge("next", "holding")
    assert [line.bead_id for line in seen(town).failed] == ["holding", "alone"]


def test_a_bead_that_somebody_cancelled_needs_none_unless_it_holds_others_back() -> None:
    town = failed(a_town(), "b", code="cancelled")
    assert attention(town) == []
    assert attention(town.bead("next").edge("next", "b")) == [("failed", "b")]


def test_what_a_person_holds_back_on_purpose_needs_none() -> None:
    town = a_town().bead("held", labels=["gt:held"]).bead("t").convoy("c", tracked=["t"], staged=1)
    assert attention(town) == []
    assert attention(a_town().key("draining", True).bead("b", rig_id=None)) == [("waits", "b")]


@pytest.mark.parametrize("seen_by_a_person", [False, True])
def test_an_escalation_needs_attention_until_it_is_acknowledged(seen_by_a_person: bool) -> None:
    town = a_town().bead("e", "escalation")
    town.insert("escalation_metadata", bead_id="e", severity="high", acknowledged=int(seen_by_a_person))
    assert attention(town) == ([] if seen_by_a_person else [("escalation", "e")])


@pytest.mark.parametrize(("answered", "needs"), [(-MS, True), (MS, False)], ids=["before", "after"])
def test_the_mayor_needs_an_answer_until_a_person_has_written_to_it(answered: object, needs: bool) -> None:
    town = a_town().agent("m", "mayor", "waiting", rig=None)
    town.bead("said", "message", "closed", created_by="m", created_at=ago(minutes=1), title="Which rig?")
    town.bead("told", "message", "closed", created_by="person:ann", created_at=ago(minutes=1) + answered)  # type: ignore[operator]
    assert attention(town) == ([("mayor", "m")] if needs else [])


def test_a_mayor_that_has_said_nothing_waits_for_nobody() -> None:
    assert attention(a_town().agent("m", "mayor", "waiting", rig=None)) == []


def test_what_the_mayor_was_told_last_is_known_after_its_effect_has_left_the_town() -> None:
    town = failed(a_town().agent("m", "mayor", "waiting", rig=None), "b")
    audited(town, 2, "m", "mail_sent", at=ago(minutes=2), notes='{"subject":"escalation:e"}')
    audited(town, 3, "m", "mail_sent", at=ago(minutes=1), notes='{"subject":"failed_blocker:b"}')
    told = seen(town).mayor_told
    assert told is not None
    assert (told.topic, told.about, told.title, told.says) == (
        "failed_blocker",
        "b",
        "b",
        "b failed and holds others back",
    )
    assert to_text(told.at or T) == to_text(ago(minutes=1))


def line_of(town: TownBuilder) -> FailedLine:
    [line] = seen(town).failed
    return line


def test_a_failed_bead_says_how_its_newest_start_ended_and_how_many_it_would_get() -> None:
    """The status said only that the attempts were used up."""
    town = failed(a_town().config(max_dispatch_attempts=2).agent("p", generation=4), "b", seq=9)
    audited(town, 1, "b", "agent_spawned", at=ago(minutes=3), agent_id="p", notes='{"generation":4}')
    audited(town, 2, "b", "agent_exited", at=ago(minutes=2), agent_id="p", notes='{"reason":"crashed (exit code 1)"}')
    line = line_of(town)
    assert line.attempts_at_most == 2
    assert line.newest_start is not None
    assert (line.newest_start.agent_id, line.newest_start.generation) == ("p", 4)
    assert line.newest_start.ended == "crashed (exit code 1)"


def test_a_bead_that_was_reopened_and_failed_again_is_named_once() -> None:
    town = failed(a_town(), "b", at=ago(hours=3))
    audited(town, 2, "b", "status_changed", at=ago(hours=2), new="open")
    audited(town, 3, "b", "status_changed", at=ago(hours=1), new="failed")
    assert line_of(town).failed_at == ago(hours=1)


def test_the_worst_comes_first() -> None:
    town = failed(a_town().bead("b", rig_id=None), "f")
    assert [each.kind for each in seen(town).attention] == ["failed", "waits"]
    assert Attention("failed", "f", T) in seen(town).attention
