"""Explain names the rule, the guard, the due time and the cause of everything that can be stuck, and of nothing else.

The states are those of spec/scenarios.md; each is brought about by events and ticks, so that there is a cause to be named.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.domain import limits
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.ports.runtime import NotDone, StartRejected
from shared.ports.steps import drive
from shared.questions.explain import explain_agent, explain_bead
from tests.towns import MS, TOWN, T, TownBuilder, a_town, ago, event
from tests.worlds import World, a_world

SECOND = timedelta(seconds=1)
PR = "https://github.com/acme/app/pull/7"


def at(seconds: float) -> datetime:
    """So many seconds after T."""
    return T + seconds * SECOND


def explained(world: World, subject: str, *, agent: bool = False, then: datetime | None = None) -> dict[str, Any]:
    """The explanation as JSON has it."""
    tell = explain_agent if agent else explain_bead
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type]
    found = drive(tell(TOWN, subject, past, now=world.clock.now(), at=then))
    decoded: dict[str, Any] = json.loads(json.dumps(document(found)))
    return decoded


@dataclass(frozen=True)
class Stuck:
    """What an explanation must say: rule code, guard, due time, and the source or code of what caused it at which tick."""

    rule: str | None
    guard: str
    due: datetime | None
    cause: str
    tick: int | None

    def told_by(self, answer: dict[str, Any]) -> dict[str, bool]:
        """Which of its parts an explanation says of the present."""
        now = answer["now"]
        cause = now["cause"] or {}
        return {
            "rule": now["rule"] == self.rule,
            "guard": self.guard in [guard["guard"] for guard in now["guards"]],
            "due": now["dueAt"] == (None if self.due is None else to_text(self.due)),
            "cause": self.cause in (cause.get("source"), cause.get("code")) and cause.get("tick") == self.tick,
        }


def assert_stuck(
    world: World, subject: str, why: Stuck, *, agent: bool = False, other: str = "other"
) -> dict[str, Any]:
    """The explanation says all of it; that of another bead, which is over, none of it."""
    answer = explained(world, subject, agent=agent)
    assert why.told_by(answer) == {"rule": True, "guard": True, "due": True, "cause": True}, answer["now"]
    elsewhere = explained(world, other)
    said = json.dumps({**elsewhere["now"], "at": None})
    assert why.guard == "terminal" or why.guard not in said
    assert why.rule is None or elsewhere["now"]["rule"] != why.rule
    assert why.due is None or to_text(why.due) not in said
    assert why.cause not in json.dumps([elsewhere["story"], elsewhere["now"]])
    return answer


def a_place(town: TownBuilder | None = None) -> TownBuilder:
    """A town with a bead that is over: nothing that holds others back holds it."""
    return (town or a_town()).bead("other", status="closed")


# --- the stuck states -----------------------------------------------------------------------------------------


def test_18_a_rejected_dispatch_waits_for_its_backoff() -> None:
    world = a_world(a_place().bead("b"))
    world.runtime.fails("start", StartRejected("no capacity"), times=None)
    while (attempts := world.town().one("beads", "b", "dispatch_attempts")) < 4:
        world.live_through(5 * SECOND)
    assert attempts == 4
    world.clock.move(seconds=20)
    world.run()
    started = datetime.fromisoformat(world.town().one("beads", "b", "last_dispatch_attempt_at"))
    world.clock.at = started + timedelta(minutes=4)
    (last,) = world.town().rows(
        "SELECT event_id FROM town_events WHERE event_type = 'dispatch_result' ORDER BY seq DESC LIMIT 1"
    )[0]
    row = next(row for row in world.journal() if last in json.dumps(row["inputs"]))
    due = started + timedelta(minutes=5) + MS
    answer = assert_stuck(world, "b", Stuck("B2", "backoff", due, last, row["tick_no"]))
    assert answer["now"]["reason"] == "cooldown"
    assert [each["rule"] for each in answer["now"]["comes"]] == ["B2"]
    assert [entry["code"] for entry in answer["story"] if entry["by"] == "rule"] == ["B1", "B2", "B2", "B2"]


def test_25_an_open_breaker_holds_a_ready_bead_back_until_the_oldest_failure_is_half_an_hour_old() -> None:
    town = a_place().bead("b")
    for number in range(20):
        failed = ago(minutes=10) + number * SECOND
        town.bead(f"x{number:02}", status="failed", last_dispatch_failed_at=failed)
    world = a_world(town)
    for _ in range(50):
        world.run()
        world.clock.move(seconds=5)
    due = ago(minutes=10) + timedelta(minutes=30) + MS
    answer = assert_stuck(world, "b", Stuck("B1", "breaker_open", due, "tick 2", 2))
    assert answer["now"]["reason"] == "breaker_open"
    assert answer["now"]["since"] == to_text(T)


def test_129_a_refinery_that_proves_nothing_ends_the_review_and_the_source_waits_for_recovery() -> None:
    town = a_place().bead("b", status="in_review").agent("f", "refinery")
    town.review("m", "in_progress", of="b", assignee_agent_bead_id="f").key("next_audit_seq", 2)
    submitted = {"bead_id": "b", "event_type": "review_submitted", "new_value": "m", "created_at": ago(seconds=5)}
    town.insert("bead_events", bead_event_id="audit-1", seq=1, **submitted)
    world = a_world(town)
    world.post(event("agent_done", {"branch": "gt/b"}, agent="f", bead="m", event_id="unproven-done"))
    world.run()
    assert world.town().status("m") == "failed"
    over = explained(world, "m")
    assert Stuck(None, "terminal", None, "unproven-done", 2).told_by(over)["cause"]
    assert over["now"]["guards"][0]["guard"] == "terminal"
    assert_stuck(world, "b", Stuck("A2", "heartbeat", T + limits.HEARTBEAT_LOST_AFTER + MS, "unproven-done", 2))
    ((escalation,),) = world.town().rows("SELECT bead_id FROM escalation_metadata")
    due = T + timedelta(hours=4) + MS
    assert_stuck(world, escalation, Stuck("H1", "escalation_bump", due, "unproven-done", 2))


def test_132_what_an_older_process_says_is_told_as_stale_and_the_bead_is_worked_on() -> None:
    town = a_place().bead("b", status="in_progress", assignee_agent_bead_id="p")
    world = a_world(town.agent("p", status="working", hook="b", generation=2))
    world.runtime.fails("status", TimeoutError("late"), times=None)
    world.post(event("agent_heartbeat", {"generation": 2}, agent="p", event_id="beat-of-two"))
    world.run()
    world.clock.move(seconds=5)
    late = {"generation": 1, "status": "failed", "reason": "it ended"}
    world.post(event("agent_completed", late, agent="p", event_id="late-end"))
    world.run()
    heard = datetime.fromisoformat(world.town().one("agent_metadata", "p", "last_activity_at"))
    why = Stuck("A2", "heartbeat", heard + limits.HEARTBEAT_LOST_AFTER + MS, "beat-of-two", 2)
    told = assert_stuck(world, "b", why)
    stale = [entry for entry in told["story"] if entry["source"] == "late-end"]
    assert [(entry["tick"], entry["outcome"].startswith("skipped: stale")) for entry in stale] == [(3, True)]
    assert told["now"]["reason"] is None
    said = assert_stuck(world, "p", why, agent=True)
    assert "generation 2" in json.dumps(said["now"]["says"])


def test_139_a_cancelled_bead_is_over_and_its_agent_rests() -> None:
    town = a_place().bead("b", status="in_progress", assignee_agent_bead_id="p").bead("still", status="failed")
    world = a_world(town.agent("p", status="working", hook="b"))
    world.post(event("bead_cancelled", bead="b", event_id="cancel-it"))
    world.run()
    answer = assert_stuck(world, "b", Stuck(None, "terminal", None, "cancel-it", 2))
    assert answer["row"]["status"] == "failed"
    rests = explained(world, "p", agent=True)
    assert rests["now"]["rule"] == "GC"
    assert rests["now"]["dueAt"] == to_text(ago(seconds=5) + limits.AGENT_FORGET_AFTER + MS)
    stopped = [entry for entry in rests["story"] if entry["what"].startswith("stop_agent")]
    assert [(entry["tick"], entry["by"], entry["code"]) for entry in stopped] == [
        (2, "event", "bead_cancelled"),
        (2, "effect", "stop_agent"),
    ]
    assert "cancel-it" not in json.dumps(explained(world, "still"))


def test_141_a_poisoned_event_is_told_attempt_by_attempt() -> None:
    world = a_world(a_place().bead("broken", "issue", "in_review", metadata="[1]", labels=["gt:held"]))
    world.post(event("bead_updated", {"title": "New"}, bead="broken", event_id="bad-event"))
    for _ in range(2):
        world.run()
        world.clock.move(seconds=5)
    pending = next(each for each in explained(world, "broken")["now"]["guards"] if each["guard"] == "event_pending")
    assert (pending["until"], "2 times" in pending["says"]) == (to_text(at(10) + MS), True)
    world.run()
    answer = assert_stuck(world, "broken", Stuck(None, "event_poisoned", None, "invariant 1", 2))
    tries = [(entry["tick"], entry["outcome"]) for entry in answer["story"] if entry["source"] == "bad-event"]
    assert tries == [(2, "failed"), (3, "failed"), (4, "poisoned")]
    assert answer["now"]["events"][0]["attempts"] == 3


def test_160_a_question_waits_for_the_next_batch_and_at_last_for_a_person() -> None:
    about = {"triage_type": "stuck_agent", "agent_bead_id": "p", "hooked_bead_id": "x"}
    town = a_place().bead("q", rig_id=None, labels=["gt:triage-request"], metadata=about, created_by="system")
    world = a_world(town)
    world.runtime.fails("start", StartRejected("no capacity"), times=None)
    world.run()
    world.clock.move(seconds=5)
    world.run()
    (refused,) = world.town().rows("SELECT event_id FROM town_events WHERE event_type = 'dispatch_result'")[0]
    due = at(5) + 30 * SECOND + MS
    assert_stuck(world, "q", Stuck("H2", "triage_backoff", due, refused, 3))
    world.live_through(timedelta(minutes=15))
    exhausted = explained(world, "q")["now"]
    assert (exhausted["rule"], exhausted["dueAt"]) == ("H2", None)
    assert exhausted["guards"][0]["guard"] == "triage_exhausted"


def test_165_a_settling_town_takes_no_agent_away() -> None:
    town = a_place().key("last_tick_at", to_text(ago(minutes=45)))
    for number in range(3):
        town.bead(f"b{number}", status="in_progress", assignee_agent_bead_id=f"p{number}")
        town.agent(f"p{number}", status="working", hook=f"b{number}", last_activity_at=ago(minutes=45))
    world = a_world(town)
    world.runtime.fails("status", TimeoutError("late"), times=None)
    world.run()
    for subject, agent in (("b1", False), ("p1", True)):
        answer = assert_stuck(world, subject, Stuck("A2", "settling", T + limits.SETTLE_FOR, "tick 2", 2), agent=agent)
        assert answer["now"]["since"] == to_text(T)


def test_170_a_late_stop_of_an_older_generation_is_told_and_the_newer_one_lives() -> None:
    town = a_place().bead("b", status="in_progress", assignee_agent_bead_id="p")
    world = a_world(town.agent("p", status="working", hook="b"))
    world.runtime.fails("stop", NotDone("no answer", passing=True))
    world.post(event("bead_cancelled", bead="b", event_id="cancel-it"))
    world.run()
    world.post(event("bead_created", {"bead": {"bead_id": "c", "type": "issue", "title": "c", "rig_id": "rig-1"}}))
    world.clock.move(seconds=5)
    world.run()
    for _ in range(3):
        world.clock.move(seconds=5)
        world.run()
    assert world.town().doing("p") == ("working", "c")
    assert world.runtime.running() == {"p": 2}
    world.clock.move(seconds=1)
    beat = event("agent_heartbeat", {"generation": 2}, agent="p", event_id="beat-of-two", at=world.clock.now())
    world.post(beat)
    world.run()
    heard = datetime.fromisoformat(world.town().one("agent_metadata", "p", "last_activity_at"))
    tick = world.town().tick_no
    why = Stuck("A2", "heartbeat", heard + limits.HEARTBEAT_LOST_AFTER + MS, "beat-of-two", tick)
    answer = assert_stuck(world, "p", why, agent=True)
    stops = [entry for entry in answer["story"] if entry["code"] == "stop_agent"]
    assert [entry["outcome"] for entry in stops] == ["failed", "ok"]
    of_the_first = json.dumps(explained(world, "b"))
    assert "cancel-it" in of_the_first
    assert "beat-of-two" not in of_the_first
    assert "dispatch_agent c" not in of_the_first
    assert "generation 2" in json.dumps(answer["now"]["says"])


def test_171_a_row_that_cannot_be_read_is_named_and_the_others_are_not() -> None:
    town = a_place().bead("broken", metadata="[1]").bead("b").agent("odd", "witness")
    world = a_world(town)
    for _ in range(2):
        world.run()
        world.clock.move(seconds=5)
    answer = assert_stuck(world, "broken", Stuck(None, "unreadable", None, "invariant 1", 2))
    assert answer["now"]["guards"][0]["actor"] == "operator"
    assert explained(world, "odd", agent=True)["now"]["guards"][0]["guard"] == "unreadable"
    assert explained(world, "b")["now"]["rule"] == "A2"


def test_198_a_pull_request_that_cannot_be_read_says_so_and_when_it_is_polled_again() -> None:
    town = a_place().bead("b", status="in_review").key("next_audit_seq", 2)
    seen = {"last_poll_at": to_text(ago(seconds=5)), "poll_error_kind": "transient", "polls_failed": 3}
    unread = {"obstacle": "forge_down", "obstacle_since": to_text(ago(minutes=7))}
    notes = {**seen, **unread, "poll_not_before": to_text(at(240)), "changed_at": to_text(ago(minutes=1))}
    town.review("m", "in_progress", of="b", pr_url=PR, updated_at=ago(minutes=8), metadata=notes)
    world = a_world(town)
    world.run()
    now = explained(world, "m")["now"]
    assert (now["reason"], now["rule"], now["dueAt"]) == ("forge_down", "R1", to_text(at(240)))
    assert [guard["guard"] for guard in now["guards"]] == ["forge_down", "forge_backoff"]
    assert "pr_polled" in [need["eventType"] for need in now["needs"]]


def test_208_a_full_rig_lets_a_ready_bead_wait_for_whoever_takes_its_places() -> None:
    town = a_place().config(max_polecats_per_rig=2)
    for number, name in enumerate(("b1", "b2", "b3")):
        town.bead(name, created_at=ago(hours=2) + number * SECOND)
    world = a_world(town)
    world.run()
    busy = sorted(agent for (agent,) in world.town().rows("SELECT bead_id FROM agent_metadata WHERE role = 'polecat'"))
    answer = assert_stuck(world, "b3", Stuck("B1", "rig_full", None, "tick 2", 2))
    (guard,) = answer["now"]["guards"]
    assert (guard["actor"], answer["now"]["reason"]) == (", ".join(busy), "rig_full")
    assert explained(world, "b1")["now"]["rule"] != "B1"
