"""Why a bead waits: what status and explain once said wrongly, told again, and the siblings of each story."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.obstacles import OBSTACLES
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.events import BY_TYPE
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions.explain import Explanation, explain_agent, explain_bead
from shared.questions.reasons import ENDED_BY, OF_HOLD, OF_STATE, OF_WAIT, senders_of
from shared.questions.relaxed import HOLDS
from shared.questions.status import status
from shared.questions.waiting import REASONS, AtWork, Waiting
from shared.rules.base import Wait
from tests.towns import MS, TOWN, T, TownBuilder, a_town, ago, event
from tests.worlds import World, a_world

SECOND: Final = timedelta(seconds=1)
PR: Final = "https://github.com/acme/app/pull/7"
Build = Callable[[TownBuilder], TownBuilder]


def guards_of(waiting: Waiting) -> list[str]:
    """The names of its guards."""
    return [guard.guard for guard in waiting.guards]


def explained(world: World, subject: str, *, agent: bool = False) -> Explanation:
    """The present explanation."""
    tell = explain_agent if agent else explain_bead
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type]
    return drive(tell(TOWN, subject, past, now=world.clock.now()))


def moved(town: TownBuilder, bead: str, to: str, at: datetime) -> None:
    """A line of the audit trail."""
    seq = len(town.rows("SELECT 1 FROM bead_events")) + 1
    town.insert(
        "bead_events",
        bead_event_id=f"audit-{seq}",
        seq=seq,
        bead_id=bead,
        event_type="status_changed",
        new_value=to,
        created_at=at,
    ).key("next_audit_seq", seq + 1)


# --- 1: a process that is known to have ended gives no sign of life ----------------------------------------------


def test_a_bead_whose_agent_has_exited_is_not_held_by_a_sign_of_life() -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p").agent("p", status="working", hook="b")
    town.tick(event("container_status", {"status": "exited", "exit_reason": "3", "generation": 1}, agent="p"))
    for waiting in (town.waits()["b"], town.waiting_of("p")):
        assert (waiting.rule, waiting.due_at) == ("A8", ago(seconds=5) + limits.HEARTBEAT_LOST_AFTER + MS)
        assert guards_of(waiting) == ["process_ended"]
        assert "the process of p has ended (exited)" in waiting.guards[0].says


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("status", "dead", "is lost"),
        ("last_dispatch_outcome", "lost", "is lost"),
        ("observed_status", "not_found", "has ended (not_found)"),
        ("observed_status", "failed", "has ended (failed)"),
    ],
)
def test_whatever_is_known_of_the_end_of_a_process_is_said(column: str, value: str, says: str) -> None:
    town = a_town().bead("b", status="in_progress").agent("p", hook="b")
    town.update("agent_metadata", "p", **{column: value})
    [guard] = town.waits()["b"].guards
    assert (guard.guard, says in guard.says) == ("process_ended", True)


def test_the_agent_that_worked_on_a_bead_is_not_said_to_beat_after_its_end() -> None:
    town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p", updated_at=ago(minutes=6))
    town.agent("p", last_dispatch_bead_id="b", last_dispatch_outcome="lost")
    assert guards_of(town.waits()["b"]) == ["process_ended"]


def test_a_process_that_may_still_run_is_waited_for() -> None:
    town = a_town().bead("b", status="in_progress").agent("p", hook="b")
    assert guards_of(town.waits()["b"]) == ["heartbeat"]


# --- 2: guards do not contradict each other -----------------------------------------------------------------------


def test_a_live_review_and_its_end_do_not_hold_at_once() -> None:
    town = a_town().bead("b", status="in_review").review("m", of="b")
    assert guards_of(town.waits()["b"]) == ["review_live"]
    town.update("beads", "m", status="failed")
    waiting = town.waits()["b"]
    assert (waiting.reason, guards_of(waiting), waiting.rule) == ("awaiting_review", ["review_recovery"], "B4")


def test_a_blocked_bead_of_an_empty_rig_is_not_told_that_its_rig_is_full() -> None:
    town = a_town().config(max_polecats_per_rig=1).bead("a", labels=["gt:held"])
    for name in ("b1", "b2", "b3"):
        town.bead(name).edge(name, "a")
    assert [guards_of(town.waits()[name]) for name in ("b1", "b2", "b3")] == [["blocked_by"]] * 3


def test_a_blocked_review_of_an_idle_refinery_is_not_told_that_the_refinery_works() -> None:
    town = a_town().bead("a", labels=["gt:held", "gt:rework"]).agent("f", "refinery")
    for name in ("m1", "m2"):
        town.review(name).edge(name, "a")
    assert [guards_of(town.waits()[name]) for name in ("m1", "m2")] == [["blocked_by"]] * 2


# --- 3: status and explain say the same ---------------------------------------------------------------------------


def test_status_and_explain_show_the_same_object() -> None:
    town = a_town().bead("b", status="in_review").review("m", "in_progress", of="b", pr_url=PR).bead("c").edge("c", "b")
    world = a_world(town.bead("lost", status="in_progress").key("settling_until", to_text(T + 60 * SECOND)))
    report = drive(status(TOWN, world.around))
    assert len(report.waiting) == 4
    for waiting in report.waiting:
        now = explained(world, waiting.bead_id).now
        assert now is not None
        shown = document(waiting)
        assert {name: document(now)[name] for name in shown} == shown


def test_a_paused_town_still_says_what_else_holds_a_bead() -> None:
    town = (
        a_town()
        .key("paused", True)
        .bead("ready")
        .bead("b")
        .edge("b", "ready")
        .bead("s")
        .convoy("c", tracked=["s"], staged=1)
    )
    waits = town.waits()
    assert {name: waits[name].reason for name in ("ready", "b", "s")} == {
        "ready": "paused",
        "b": "blocked_by",
        "s": "staged",
    }
    assert guards_of(waits["s"]) == ["staged", "paused"]


def test_a_settling_town_says_settling_until_it_is_over() -> None:
    town = a_town().bead("b", status="in_progress", updated_at=ago(minutes=6))
    waiting = town.key("settling_until", to_text(T + 60 * SECOND)).waits()["b"]
    assert (waiting.reason, waiting.since, waiting.due_at) == ("settling", ago(seconds=30), T + 60 * SECOND)


def test_after_an_outage_the_next_tick_settles_and_does_not_act() -> None:
    town = (
        a_town()
        .bead("b", status="in_progress", updated_at=ago(minutes=20))
        .key("last_tick_at", to_text(ago(minutes=15)))
    )
    town.bead("w", status="in_progress").agent("p", status="working", hook="w", last_activity_at=ago(minutes=15))
    waiting = town.waits()["b"]
    assert (waiting.reason, waiting.due_at) == ("settling", T + MS + limits.SETTLE_FOR)
    report = town.tick(at=T + MS)
    assert [judged for judged in report.actions if judged.rule == "beads.reopen_lost"] == []


@pytest.mark.parametrize("seen", [T, T + SECOND, T + 30 * SECOND])
def test_what_the_next_tick_does_is_due_at_that_tick_and_never_in_the_past(seen: datetime) -> None:
    town = a_town().bead("b")
    waiting = town.key("last_tick_at", to_text(T)).key("next_due_at", to_text(T)).waits(seen)["b"]
    assert (waiting.reason, waiting.rule) == ("cooldown", "B1")
    assert waiting.due_at == max(T + limits.ACTIVE_INTERVAL, seen + MS)


# --- 4: the end of a chain ----------------------------------------------------------------------------------------


def a_chain(town: TownBuilder, length: int) -> TownBuilder:
    """Each bead waits for the one before it; the first one is b0."""
    for number in range(1, length + 1):
        town.bead(f"b{number}").edge(f"b{number}", f"b{number - 1}")
    return town


def test_a_chain_of_ten_blockers_names_the_first_and_what_that_waits_for() -> None:
    waiting = a_chain(a_town().bead("b0", labels=["gt:held"]), 10).waits()["b10"]
    assert (waiting.reason, waiting.actor) == ("blocked_by", "b9")
    root = waiting.root
    assert root is not None
    assert (root.bead_id, root.reason, root.actor, root.steps, root.roots) == ("b0", "held", "operator", 10, 1)


def test_the_end_may_be_worked_on_or_have_failed() -> None:
    busy = a_chain(a_town().bead("b0", status="in_progress").agent("p", status="working", hook="b0"), 3)
    root = busy.waits()["b3"].root
    assert root is not None
    assert (root.bead_id, root.reason, root.actor) == ("b0", "agent_working", "p")
    failed = a_chain(a_town().bead("b0", status="failed"), 3)
    moved(failed, "b0", "failed", ago(minutes=9))
    root = failed.waits()["b3"].root
    assert root is not None
    assert (root.bead_id, root.status, root.reason, root.since) == ("b0", "failed", None, ago(minutes=9))


def test_of_several_ends_the_first_is_named_and_all_are_counted() -> None:
    town = a_town().bead("x1", labels=["gt:held"]).bead("x2", rig_id=None)
    for name, others in (("left", ["x1"]), ("right", ["x1", "x2"]), ("top", ["left", "right"])):
        town.bead(name)
        for other in others:
            town.edge(name, other)
    root = town.waits()["top"].root
    assert root is not None
    assert (root.bead_id, root.steps, root.roots) == ("x1", 2, 2)


def test_a_chain_goes_on_through_reviews_and_convoys() -> None:
    town = a_town().bead("rework", labels=["gt:rework", "gt:held"])
    town.bead("task", status="in_review").convoy("c", tracked=["task"])
    town.review("m", of="task").edge("m", "rework").bead("after").edge("after", "c")
    for bead, steps in (("after", 4), ("c", 3), ("task", 2), ("m", 1)):
        root = town.waits()[bead].root
        assert root is not None
        assert (root.bead_id, root.reason, root.steps) == ("rework", "held", steps)


def test_a_damaged_town_whose_beads_wait_for_each_other_is_answered() -> None:
    town = a_town().bead("a").bead("b").edge("a", "b").edge("b", "a")
    assert [each.root for each in town.waits().values()] == [None, None]


# --- 5: since when ------------------------------------------------------------------------------------------------


def _failed(town: TownBuilder) -> TownBuilder:
    moved(town.bead("x", status="failed").bead("b").edge("b", "x"), "x", "failed", ago(minutes=7))
    return town


def _blocked(town: TownBuilder) -> TownBuilder:
    return town.bead("b").bead("x", created_at=ago(minutes=7), labels=["gt:held"]).edge("b", "x")


def _reopened(town: TownBuilder) -> TownBuilder:
    moved(_blocked(town).update("beads", "x", created_at=ago(hours=1)), "b", "open", ago(minutes=7))
    return town


def _held(town: TownBuilder) -> TownBuilder:
    town.bead("b").rig("rig-9", name="nine")
    town.tick(event("bead_updated", {"labels": ["gt:held"]}, bead="b", event_id="hold-it"), at=ago(minutes=7))
    town.tick(event("bead_updated", {"title": "New"}, bead="b", event_id="name-it"), at=ago(minutes=5))
    town.tick(event("bead_updated", {"labels": ["gt:held", "x"]}, bead="b", event_id="mark-it"), at=ago(minutes=4))
    return town


def _full(town: TownBuilder) -> TownBuilder:
    town.config(max_polecats_per_rig=1).bead("b").bead("w", status="in_progress").agent("p", status="working", hook="w")
    line = {"bead_id": "w", "agent_id": "p", "event_type": "hooked", "created_at": ago(minutes=7)}
    return town.insert("bead_events", bead_event_id="audit-1", seq=1, **line)


def _in_review(town: TownBuilder) -> TownBuilder:
    moved(town.bead("b", status="in_review").review("m", of="b"), "b", "in_review", ago(minutes=7))
    return town


def _queued(town: TownBuilder) -> TownBuilder:
    town.review("now", "in_progress").review("b").agent("f", "refinery", "working", hook="now")
    moved(town, "now", "in_progress", ago(minutes=7))
    return town


def _open_breaker(town: TownBuilder) -> TownBuilder:
    for number in range(20):
        town.bead(f"x{number:02}", status="failed", last_dispatch_failed_at=ago(minutes=8))
    return town.bead("b").key("breaker", {"open": True, "since": to_text(ago(minutes=7)), "episode": 1})


def _drained(town: TownBuilder) -> TownBuilder:
    return town.bead("b").key("drain", {"nonce": "n", "started_at": to_text(ago(minutes=6))})


SINCE: Final[dict[str, tuple[Build, str, datetime]]] = {
    "a blocker failed": (_failed, "failed_dependency", ago(minutes=7)),
    "a blocker came": (_blocked, "blocked_by", ago(minutes=7)),
    "it was reopened": (_reopened, "blocked_by", ago(minutes=7)),
    "the label was put on": (_held, "held", ago(minutes=7)),
    "the last place was taken": (_full, "rig_full", ago(minutes=7)),
    "its review began": (_in_review, "awaiting_review", ago(minutes=7)),
    "another review began": (_queued, "awaiting_review", ago(minutes=7)),
    "the breaker opened": (_open_breaker, "breaker_open", ago(minutes=7)),
    "the drain began": (_drained, "draining", ago(minutes=6)),
    "it was planned": (lambda town: town.bead("b").convoy("c", tracked=["b"], staged=1), "staged", ago(hours=2)),
    "it was created": (lambda town: town.bead("b", rig_id=None), "no_rig", ago(hours=2)),
}


@pytest.mark.parametrize("since", SINCE)
def test_a_bead_waits_since_its_present_cause_began(since: str) -> None:
    build, reason, at = SINCE[since]
    waiting = build(a_town()).waits()["b"]
    assert (waiting.reason, waiting.since) == (reason, at)


# --- 6: which event ends it ---------------------------------------------------------------------------------------


def test_a_held_bead_names_the_event_the_bead_and_the_sender() -> None:
    [need] = a_town().bead("b", labels=["gt:held"]).waits()["b"].needs
    assert (need.event_type, need.bead_id, need.senders) == (
        "bead_updated",
        "b",
        ("coordinator", "operator"),
    )


@pytest.mark.parametrize(
    ("build", "event_type", "about"),
    [
        (_failed, "bead_reopened", "x"),
        (_blocked, "bead_updated", "x"),
        (_full, "agent_done", "w"),
        (_in_review, "bead_cancelled", "m"),
        (_queued, "agent_done", "now"),
        (lambda town: town.bead("b").key("paused", True), "town_started", None),
        (lambda town: town.bead("b").convoy("c", tracked=["b"], staged=1), "convoy_started", "c"),
        (lambda town: town.agent("p").bead("b", "message", assignee_agent_bead_id="p"), "dispatch_result", "p"),
        (lambda town: town.bead("b", "molecule"), "bead_cancelled", "b"),
    ],
)
def test_what_time_does_not_end_names_the_event_that_does(build: Build, event_type: str, about: str | None) -> None:
    waiting = build(a_town()).waits()["b"]
    assert (waiting.due_at, waiting.needs[0].event_type, waiting.needs[0].bead_id) == (None, event_type, about)
    assert waiting.actor is not None


def test_what_time_ends_needs_no_event() -> None:
    assert a_town().bead("b", status="in_progress").waits()["b"].needs == ()


def test_every_event_that_is_named_exists_and_says_who_may_send_it() -> None:
    named = {event_type for events in ENDED_BY.values() for event_type in events}
    assert named <= set(BY_TYPE)
    assert senders_of("town_started") == ("operator",)


def test_the_tables_have_every_hold_wait_and_reason() -> None:
    assert set(OF_HOLD) == set(HOLDS)
    assert set(OF_WAIT) == set(Wait.__args__)  # type: ignore[attr-defined] # the members of a Literal
    assert set(ENDED_BY) == {*OF_HOLD, *OF_STATE}
    given = {*OF_HOLD.values(), *OF_WAIT.values(), *OF_STATE.values(), *OBSTACLES} - {None}
    assert given | {"failed_dependency"} == set(REASONS)


# --- 7: the place in a queue --------------------------------------------------------------------------------------


def test_a_review_that_waits_for_the_refinery_says_its_place_and_what_is_reviewed_now() -> None:
    town = a_town().agent("f", "refinery", "working", hook="now").review("now", "in_progress", created_at=ago(hours=5))
    for number, name in enumerate(("m1", "m2", "m3")):
        town.review(name, created_at=ago(hours=4 - number))
    moved(town.bead("a", labels=["gt:rework", "gt:held"]).edge("m2", "a"), "now", "in_progress", ago(minutes=7))
    waits = town.waits()
    places = {name: None if each.queue is None else each.queue.position for name, each in waits.items()}
    assert [places[name] for name in ("m1", "m2", "m3")] == [1, None, 2]
    queue = waits["m3"].queue
    assert queue is not None
    assert (queue.length, queue.now) == (2, (AtWork("now", "f", ago(minutes=7)),))
    assert "it now works on now" in waits["m3"].guards[0].says


def test_a_ready_bead_of_a_full_rig_says_its_place() -> None:
    town = _full(a_town()).bead("older", created_at=ago(hours=3))
    queue = town.waits()["b"].queue
    assert queue is not None
    assert (queue.position, queue.length, [each.bead_id for each in queue.now]) == (2, 2, ["w"])


# --- 8: what never was --------------------------------------------------------------------------------------------


def test_a_bead_that_was_refused_never_existed_and_a_forgotten_agent_did() -> None:
    world = a_world(a_town().agent("p", last_activity_at=ago(hours=24)))
    refused = {"bead_id": "b", "type": "issue", "title": "b", "rig_id": "rig-9"}
    world.post(event("bead_created", {"bead": refused}, event_id="refused-1"))
    world.clock.move(ms=1)
    world.run()
    never, forgotten = explained(world, "b").gone, explained(world, "p", agent=True).gone
    assert never is not None
    assert (never.existed, never.at, "never existed in the kept history" in never.says) == (False, None, True)
    assert forgotten is not None
    assert (forgotten.existed, forgotten.at) == (True, world.clock.now())


def test_a_bead_that_exists_is_not_gone() -> None:
    assert explained(a_world(a_town().bead("b")), "b").gone is None


def test_the_name_of_an_agent_given_as_a_bead_is_told_with_the_command_that_explains_it() -> None:
    world = a_world(a_town().agent("p", identity="Toast-polecat-rig-1@t1"))
    with pytest.raises(Refused) as refused:
        explained(world, "Toast")
    assert "it is the agent p" in refused.value.message
    assert "townctl explain agent Toast" in (refused.value.hint or "")
