"""Scenarios 283 to 286: mail to the mayor and to other agents, and what the mayor says."""

import itertools
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from shared.domain.orders import StartOrder
from shared.domain.report import TickReport
from shared.domain.states import Role
from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.ports.runtime import StartRejected
from shared.ports.steps import drive
from shared.questions.status import TownStatus, status
from tests.scenarios.outside import outcomes_of
from tests.scenarios.stories import answers, deeds, outbox, outcomes
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago, an_empty_town, event
from tests.worlds import World, a_world

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
TO_MAYOR: Final = "housekeeping.deliver_mail: notify_mayor mail:m"
TO_AGENT: Final = "housekeeping.deliver_mail: send_nudge p"
LETTER: Final = "Message m from ann:\n> Hello\n>\n> What is going on?"


def with_mail(town: TownBuilder, to: str | None = "mayor", **columns: Any) -> TownBuilder:
    """Ann has written to somebody."""
    given = {"title": "Hello", "body": "What is going on?", "created_by": "ann", **columns}
    return town.bead("m", "message", assignee_agent_bead_id=to, **given)


def refused(report: TickReport, at: datetime) -> Envelope:
    """The delivery that a tick requested has failed for good."""
    [result] = answers(report, at)
    payload = {**json.loads(result.payload), "delivered": False, "error": "no answer"}
    return event(result.event_type, payload, event_id=result.event_id, at=at, source="effect")


# --- the mayor ----------------------------------------------------------------------------------------------------


def _in_a_session(world: World, doing: str) -> None:
    world.put_in(with_mail(a_town().update("agent_metadata", "mayor", status=doing)))
    session = StartOrder(town_id="t1", agent_id="mayor", generation=1, role=Role.MAYOR, identity="Mayor")
    world.runtime.start(session, effect_id="earlier")


def _working(world: World) -> None:
    _in_a_session(world, "working")


def _waiting(world: World) -> None:
    _in_a_session(world, "waiting")


def _sleeping(world: World) -> None:
    world.put_in(with_mail(a_town()))


def _missing(world: World) -> None:
    world.put_in(with_mail(an_empty_town(), to=None))


@scenario(283)
@pytest.mark.parametrize("begin", [_working, _waiting, _sleeping, _missing])
def test_mail_reaches_the_mayor_in_two_ticks_whatever_he_does(begin: Callable[[World], None]) -> None:
    world = World()
    world.runtime.knows_who_runs = True
    begin(world)
    for _ in range(2):
        world.clock.at += 5 * SECOND
        world.run()
    assert [said for _, said in world.runtime.messages.values()] == [LETTER]
    assert (world.town().status("m"), world.town().rows("SELECT status FROM agent_metadata")) == (
        "closed",
        [("working",)],
    )
    world.live_through(2 * HOUR, every=MINUTE)
    assert [said for _, said in world.runtime.messages.values()] == [LETTER]
    assert len(outbox(world.town(), "notify_mayor")) == 1


@scenario(283)
def test_mail_is_open_until_its_delivery_is_confirmed_and_delivered_by_one_request() -> None:
    town = with_mail(a_town())
    first = town.tick()
    assert (deeds(first), town.status("m")) == ([TO_MAYOR], "open")
    assert [deeds(report) for report in town.ticks(3, start=T + SECOND)] == [[], [], []]
    town.tick(*answers(first, T + 9 * SECOND), at=T + 9 * SECOND)
    assert town.status("m") == "closed"


@scenario(284)
def test_a_runtime_that_fails_for_forty_minutes_loses_no_mail_and_repeats_none() -> None:
    world = a_world(with_mail(a_town()))
    world.runtime.knows_who_runs = True
    world.runtime.fails("start", StartRejected("no capacity", kind="no_capacity"), times=None)
    world.live_through(40 * MINUTE)
    assert (world.town().status("m"), world.runtime.messages) == ("open", {})
    asked = world.town().rows("SELECT created_at FROM outbox WHERE kind = 'notify_mayor' ORDER BY seq")
    assert [round((from_text(at) - T) / MINUTE) for (at,) in asked] == [0, 10]
    world.runtime.recovers("start")
    world.live_through(31 * MINUTE)
    assert list(world.runtime.messages) == ["mail-m"]
    assert world.town().status("m") == "closed"


@scenario(284)
def test_delivery_is_requested_again_after_ten_minutes_and_then_every_hour() -> None:
    town = with_mail(a_town())
    at, asked = T, []
    for _ in range(4):
        report = town.tick(at=at)
        assert deeds(report) == [TO_MAYOR]
        asked.append(at)
        result = town.tick(refused(report, at + SECOND), at=at + SECOND)
        assert outcomes(result) == [("mayor_notified", "applied")]
        waiting = town.waits(at + 2 * SECOND)["m"]
        assert (waiting.reason, waiting.guards[0].guard, waiting.rule) == ("cooldown", "mail_again", "H4")
        assert waiting.due_at is not None
        assert deeds(town.tick(at=waiting.due_at - timedelta(milliseconds=1))) == []
        at = waiting.due_at
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [10 * MINUTE, HOUR, HOUR]


@scenario(284)
def test_mail_that_arrived_although_its_answer_was_lost_is_not_delivered_twice() -> None:
    world = a_world(with_mail(a_town()))
    world.runtime.knows_who_runs = True
    world.runtime.loses_answer("start", times=None)
    world.live_through(2 * HOUR, every=MINUTE)
    assert len(world.runtime.orders) == 1
    assert world.town().status("m") == "closed"


@scenario(283)
@pytest.mark.parametrize("to", ["mayor", None])
def test_a_message_names_the_mayor_by_his_role_or_nobody(to: str | None) -> None:
    town = an_empty_town().agent("the-mayor", "mayor")
    bead = {"bead_id": "m", "type": "message", "title": "Hello", "assignee_agent_id": to}
    report = town.tick(event("bead_created", {"bead": {key: value for key, value in bead.items() if value}}))
    assert outcomes_of(report, "bead_created") == ["applied"]
    assert deeds(report) == [TO_MAYOR]


@scenario(283)
def test_mail_waits_in_a_paused_town() -> None:
    town = with_mail(a_town()).key("paused", True)
    assert (deeds(town.tick()), town.waits()["m"].reason) == ([], "paused")


# --- other agents -------------------------------------------------------------------------------------------------


def a_worker(status: str = "working", **columns: Any) -> TownBuilder:
    """P, who works on b unless told otherwise."""
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", labels=["gt:held"])
    return town.agent("p", status=status, hook="b" if status == "working" else None, **columns)


@scenario(285)
@pytest.mark.parametrize("confirms", ["nudge_result", "nudge_acknowledged"])
def test_mail_to_an_agent_at_work_is_closed_when_it_is_known_to_have_arrived(confirms: str) -> None:
    town = with_mail(a_worker(), "p")
    first = town.tick()
    assert (deeds(first), town.status("m")) == ([TO_AGENT], "open")
    [(nudge_id, said)] = town.rows("SELECT nudge_id, message FROM agent_nudges")
    assert said == LETTER
    waiting = town.waits(T + SECOND)["m"]
    assert (waiting.reason, waiting.actor, waiting.guards[0].says) == ("agent_working", "p", "it is on its way to p")
    arrived = answers(first, T + SECOND)
    if confirms == "nudge_acknowledged":
        arrived = [event("nudge_acknowledged", {"nudge_id": nudge_id}, agent="p", at=T + SECOND)]
    town.tick(*arrived, at=T + SECOND)
    assert town.status("m") == "closed"


@scenario(285)
def test_mail_to_an_agent_that_could_not_be_reached_is_sent_again_under_the_same_nudge() -> None:
    town = with_mail(a_worker(), "p")
    report = town.tick()
    town.tick(refused(report, T + SECOND), at=T + SECOND)
    again = town.tick(event("agent_heartbeat", {}, agent="p", at=T + 10 * MINUTE), at=T + 10 * MINUTE)
    assert deeds(again, of="housekeeping") == [TO_AGENT]
    assert len(town.rows("SELECT 1 FROM agent_nudges")) == 1
    assert [row[3] for row in outbox(town, "send_nudge")] == ["failed", "claimed"]


@scenario(285)
def test_mail_to_an_idle_agent_waits_for_it_and_says_so() -> None:
    town = with_mail(a_worker("idle"), "p")
    assert deeds(town.tick(), of="housekeeping") == []
    waiting = town.waits()["m"]
    assert (waiting.reason, waiting.actor, waiting.due_at) == ("agent_working", "p", None)
    assert waiting.guards[0].says.endswith("is working; it is idle")


@scenario(285)
def test_mail_to_a_deleted_agent_stays_and_says_that_it_is_gone() -> None:
    town = with_mail(a_town(), "gone")
    assert deeds(town.tick()) == []
    waiting = town.waits()["m"]
    assert (waiting.reason, waiting.actor) == ("held", "operator")
    assert waiting.guards[0].says == "its addressee gone is not in the town: it can only be cancelled"


# --- mayor_said ---------------------------------------------------------------------------------------------------


def asked(world: World) -> TownStatus:
    """The status of the town."""
    return drive(status("t1", world.around))


@scenario(286)
def test_what_the_mayor_says_is_kept_and_answers_a_message() -> None:
    world = a_world(with_mail(a_town()))
    before = asked(world)
    assert [(mail.bead_id, mail.to, mail.since, mail.told) for mail in before.unread_mail] == [
        ("m", "mayor", ago(hours=2), 0)
    ]
    world.run()
    assert [mail.told for mail in asked(world).unread_mail] == [1]
    said = "All is well.\n" + "x" * 30_000
    world.post(event("mayor_said", {"text": said, "in_reply_to": "m"}, agent="mayor"))
    world.clock.at += 5 * SECOND
    world.run()
    after = asked(world)
    assert (after.unread_mail, world.town().status("m")) == ((), "closed")
    [saying] = after.mayor_said
    assert (saying.text, saying.in_reply_to) == (said, "m")
    bead = world.town().one("beads", saying.bead_id, "type", "status", "title", "created_by", "body")
    assert bead == ("message", "closed", "All is well.", "mayor", said)
    world.live_through(2 * HOUR, every=MINUTE)
    assert len(world.runtime.messages) <= 1


@scenario(286)
@pytest.mark.parametrize(
    ("payload", "agent", "outcome"),
    [
        ({"text": "Hello"}, None, "applied"),
        ({"text": "Hello"}, "mayor", "applied"),
        ({"text": "Hello"}, "p", "rejected: not the mayor"),
        ({"text": "Hello"}, "nobody", "skipped: missing"),
        ({"text": "Hello", "in_reply_to": "gone"}, "mayor", "rejected: unknown message"),
        ({"text": "Hello", "in_reply_to": "b"}, "mayor", "rejected: unknown message"),
    ],
)
def test_only_the_mayor_speaks_and_only_messages_are_answered(payload: Any, agent: str | None, outcome: str) -> None:
    town = a_town().agent("p").bead("b", labels=["gt:held"])
    report = town.tick(event("mayor_said", payload, agent=agent))
    assert outcomes(report) == [("mayor_said", outcome)]
    assert len(town.rows("SELECT 1 FROM beads WHERE type = 'message'")) == int(outcome == "applied")


@scenario(286)
@pytest.mark.parametrize(
    ("text", "title"),
    [("\n  \n  All is well. \nReally.", "All is well."), (" \n", "(blank)"), ("x" * 121, "x" * 120)],
    ids=["blank lines first", "blank", "long"],
)
def test_what_the_mayor_says_has_its_first_line_with_words_as_title(text: str, title: str) -> None:
    town = a_town()
    town.tick(event("mayor_said", {"text": text}, agent="mayor"))
    assert town.rows("SELECT title FROM beads WHERE type = 'message'") == [(title,)]
