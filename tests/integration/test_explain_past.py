"""Explain at a past time, over rows that left the image, of what is gone; every guard by its name; what it refuses."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from shared.domain.errors import Refused
from shared.domain.limits import MILLISECOND
from shared.domain.times import to_text
from shared.ports.runtime import StartRejected
from tests.histories import told
from tests.integration.test_explain import at, explained
from tests.integration.townctl_calls import Townctl
from tests.towns import MS, T, TownBuilder, a_town, ago, event
from tests.worlds import World, a_world


def alive(world: World) -> list[tuple[str, bool]]:
    """Some beads and agents of a town: (id, is an agent)."""
    town = world.town()
    agents = [(row[0], True) for row in town.rows("SELECT bead_id FROM agent_metadata ORDER BY bead_id")]
    beads = town.rows("SELECT bead_id FROM beads WHERE type <> 'agent' ORDER BY created_at DESC, bead_id")
    return [*agents[:3], *((row[0], False) for row in beads[:3])]


# --- the past -------------------------------------------------------------------------------------------------


def test_what_is_told_of_a_past_time_is_what_was_told_then() -> None:
    world = World()
    kept: list[tuple[str, bool, datetime, dict[str, Any]]] = []
    for step, _ in enumerate(told(world, dry_runs=False)):
        if step % 20 == 19:
            now = world.clock.now()
            kept += [(name, agent, now, explained(world, name, agent=agent)) for name, agent in alive(world)]
    assert len(kept) > 25
    for subject, is_agent, then, answer in kept:
        again = explained(world, subject, agent=is_agent, then=then)
        assert {**again, "asOf": None} == {**answer, "asOf": None}, f"{subject} at {then}"
        assert again["asOf"]["tick"] == answer["asOf"]["tick"]


def test_between_two_commits_the_recorded_ticks_are_run_again() -> None:
    world = a_world(a_town().bead("b"))
    world.runtime.fails("start", StartRejected("no capacity"), times=None)
    world.run()
    world.clock.move(seconds=5)
    world.run()
    world.clock.move(seconds=5)
    before = explained(world, "b")
    world.live_through(timedelta(minutes=3))
    then = explained(world, "b", then=at(10))
    assert (then["asOf"]["tick"], then["now"]["dueAt"]) == (3, before["now"]["dueAt"])
    assert {entry["tick"] for entry in then["story"]} <= {2, 3}
    assert explained(world, "b")["now"]["dueAt"] > then["now"]["dueAt"]


# --- the journal outside the image ------------------------------------------------------------------------------


@cache
def a_long_life(use: str) -> World:
    """One for each use: a bead that an event made, and so many ticks after that its first rows left the image."""
    world = a_world(a_town())
    bead = {"bead_id": "b", "type": "issue", "title": "b", "rig_id": "rig-1", "labels": ["gt:held"]}
    world.post(event("bead_created", {"bead": bead}, event_id="the-birth"))
    for number in range(150):
        world.run()
        world.post(event("nudge_timeout", event_id=f"nothing-{number}", at=world.clock.now()))
        world.clock.move(seconds=5)
    return world


def test_rows_that_left_the_image_are_read_from_journal_objects() -> None:
    world = a_long_life("to be read")
    assert world.journal()[0]["tick_no"] > 2
    answer = explained(world, "b")
    assert [(entry["tick"], entry["source"]) for entry in answer["story"] if entry["by"] == "event"] == [
        (2, "the-birth")
    ]
    assert answer["notes"] == []
    early = explained(world, "b", then=at(30))
    assert (early["asOf"]["tick"], early["story"]) == (8, answer["story"])


def test_a_story_whose_rows_are_not_kept_any_more_says_so_and_goes_on_with_the_audit_trail() -> None:
    world = a_long_life("to be damaged")
    for key in world.objects.list("towns/t1/journal/").keys:
        world.objects.delete(key)
    answer = explained(world, "b")
    first = world.journal()[0]["tick_no"]
    assert answer["notes"] == [
        f"the history before tick {first} comes only from the audit trail: older journal rows are not kept"
    ]
    assert [(entry["tick"], entry["by"], entry["code"]) for entry in answer["story"]] == [(None, "audit", "created")]


def test_a_bead_that_was_never_made_and_an_agent_that_was_forgotten_still_have_a_story() -> None:
    world = a_world(a_town().agent("p", last_activity_at=ago(hours=24)))
    nowhere = {"bead_id": "b", "type": "issue", "title": "b", "rig_id": "rig-9"}
    world.post(event("bead_created", {"bead": nowhere}, event_id="refused-1"))
    world.clock.move(ms=1)
    world.run()
    never = explained(world, "b")
    assert (never["now"], never["row"]) == (None, None)
    assert [(entry["source"], entry["outcome"]) for entry in never["story"]] == [("refused-1", "rejected: unknown rig")]
    gone = explained(world, "p", agent=True)
    assert (gone["now"], [entry["code"] for entry in gone["story"] if entry["by"] == "rule"]) == (None, ["GC"])


def test_nothing_is_written() -> None:
    world = a_long_life("to be read")
    keys = world.objects.list("towns/").keys
    before = {key: world.objects.get(key) for key in keys}
    explained(world, "b")
    explained(world, "b", then=at(40))
    assert {key: world.objects.get(key) for key in world.objects.list("towns/").keys} == before


# --- every guard by its name --------------------------------------------------------------------------------------


def _busy(town: TownBuilder) -> TownBuilder:
    return town.agent("f", "refinery", "working", hook="m2").review("m2", "in_progress").review("m")


GUARDS: dict[str, tuple[Callable[[TownBuilder], TownBuilder], str, str | None, str | None]] = {
    "paused": (lambda town: town.bead("b").key("paused", True), "b", "B1", None),
    "draining": (
        lambda town: town.bead("b").key("drain", {"nonce": "n", "started_at": to_text(T)}),
        "b",
        "B1",
        to_text(T + timedelta(minutes=7) + MS),
    ),
    "settling": (
        lambda town: town.bead("b", status="in_progress", updated_at=ago(minutes=6)).key(
            "settling_until", to_text(at(60))
        ),
        "b",
        "B3",
        to_text(at(60)),
    ),
    "blocked_by": (lambda town: town.bead("a").bead("b").edge("b", "a"), "b", "B1", None),
    "held": (lambda town: town.bead("b", labels=["gt:held"]), "b", "B1", None),
    "no_rig": (lambda town: town.bead("b", rig_id=None), "b", "B1", None),
    "staged": (lambda town: town.bead("b").convoy("c", tracked=["b"], staged=1), "b", "B1", None),
    "one_at_a_time": (_busy, "m", "R5", None),
    "review_live": (lambda town: _busy(town.bead("b", status="in_review")).edge("m", "b", "tracks"), "b", "B4", None),
    "bead_lost": (lambda town: town.bead("b", status="in_progress"), "b", "B3", to_text(at(295) + MS)),
    "work_unfinished": (lambda town: town.bead("b", labels=["gt:held"]).convoy("c", tracked=["b"]), "c", "C2", None),
    "addressee_rests": (
        lambda town: town.agent("p").bead("letter", "message", assignee_agent_bead_id="p"),
        "letter",
        "H4",
        None,
    ),
    "only_an_event": (lambda town: town.bead("mol", "molecule"), "mol", None, None),
    "next_tick": (lambda town: town.bead("b"), "b", "B1", to_text(T + MS)),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_every_guard_has_its_name(guard: str) -> None:
    build, subject, rule, due = GUARDS[guard]
    world = a_world(build(a_town()))
    now = explained(world, subject)["now"]
    assert (now["rule"], now["dueAt"]) == (rule, due)
    assert guard in [each["guard"] for each in now["guards"]]
    assert all(each["says"] for each in now["guards"])
    assert guard not in ("settling", "held", "staged", "no_rig", "blocked_by", "draining") or now["reason"] == guard


def test_two_guards_that_hold_at_once_are_both_named() -> None:
    world = a_world(
        a_town().bead("a").bead("b", labels=["gt:held"], dispatch_attempts=1, last_dispatch_attempt_at=T).edge("b", "a")
    )
    now = explained(world, "b")["now"]
    assert [each["guard"] for each in now["guards"]] == ["held", "blocked_by", "backoff"]
    assert [each["actor"] for each in now["guards"]] == ["operator", "a", None]


def test_an_idle_agent_is_told_why_it_gets_no_work() -> None:
    world = a_world(a_town().agent("p").bead("b", labels=["gt:held"]))
    assert explained(world, "p", agent=True)["now"]["says"][0] == "it gets no work: b (held)"
    alone = a_world(a_town().agent("p"))
    assert "no bead of its rig waits" in explained(alone, "p", agent=True)["now"]["says"][0]


def test_what_would_take_a_working_agent_away_is_told_in_order_of_time() -> None:
    town = a_town().bead("b", status="in_progress").agent("p", status="working", hook="b", stalled_at=None)
    comes = explained(a_world(town), "p", agent=True)["now"]["comes"]
    assert [(each["rule"], each["guard"]) for each in comes] == [("A2", "heartbeat")]
    stalled = a_town().bead("b", status="in_progress").agent("p", status="stalled", hook="b", stalled_at=ago(minutes=5))
    ends = {each["rule"]: each["dueAt"] for each in explained(a_world(stalled), "p", agent=True)["now"]["comes"]}
    assert ends["A4"] == to_text(ago(minutes=5) + timedelta(hours=2, minutes=30) + MS)


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subject", "agent", "then", "status", "problem"),
    [
        ("nobody", False, None, 404, "town t1 has no bead nobody"),
        ("nobody", True, T, 404, "town t1 has no agent nobody at 2026-01-10T12:00:00.000Z"),
        ("b", True, None, 400, "b is a bead, not an agent"),
        ("mayor", False, None, 400, "mayor is an agent, not a bead"),
        ("b", False, T + MILLISECOND, 400, "at is in the future"),
        ("b", False, ago(days=1), 400, "at is too early"),
    ],
)
def test_what_cannot_be_told_is_refused(
    subject: str, agent: bool, then: datetime | None, status: int, problem: str
) -> None:
    world = a_world(a_town().bead("b"))
    with pytest.raises(Refused) as refused:
        explained(world, subject, agent=agent, then=then)
    assert (refused.value.status, refused.value.message[: len(problem)]) == (status, problem)
    assert refused.value.hint


# --- townctl ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    call = Townctl(tmp_path / "data", capsys).with_work()
    assert call("tick", "alpha", "--force").code == 0
    return call


def test_townctl_tells_a_life_to_people_and_to_machines(townctl: Townctl) -> None:
    document = townctl.document("explain", "bead", "b1", "--town", "alpha")
    assert (document["id"], document["kind"], document["now"]["rule"]) == ("b1", "bead", "A2")
    shown = townctl("explain", "bead", "b1").out
    for word in ("bead_created", "B1", "dispatch_agent", "next rule: A2", "heartbeat", "because of"):
        assert word in shown
    agent = next(entry for entry in document["story"] if entry["code"] == "hooked")["what"].split()[-1]
    assert "next rule: A2" in townctl("explain", "agent", agent, "alpha").out
    then = document["now"]["at"]
    again = townctl.document("explain", "bead", "b1", "--at", then)
    assert again["story"] == document["story"]


def test_a_person_names_a_bead_or_agent_by_what_tables_show_of_it(townctl: Townctl) -> None:
    """Tables show eight characters of an id and an agent's name, and explain knew neither."""
    bead = "5649000b-5940-878b-a0a4-5adf3aca34cd"
    townctl.post("bead_created", {"bead": {"bead_id": bead, "type": "issue", "title": "More", "rig_id": "rig-1"}})
    assert townctl("tick", "alpha", "--force").code == 0
    assert townctl.document("explain", "bead", "5649000b")["id"] == bead
    agents = townctl.document("agent", "list", "alpha")["agents"]
    worker = next(agent for agent in agents if agent["role"] == "polecat")
    name = worker["identity"].partition("-")[0]
    assert townctl.document("explain", "agent", name)["id"] == worker["agentId"]
    assert townctl.document("explain", "agent", worker["agentId"][:8])["id"] == worker["agentId"]
    assert "has no agent 5649000b" in townctl("explain", "agent", "5649000b", "--json").error["message"]


def test_an_id_that_is_the_beginning_of_others_is_itself_and_any_other_beginning_is_asked_about(
    townctl: Townctl,
) -> None:
    for bead in ("b10", "b11"):
        townctl.post("bead_created", {"bead": {"bead_id": bead, "type": "issue", "title": "x", "rig_id": "rig-1"}})
    assert townctl("tick", "alpha", "--force").code == 0
    assert townctl.document("explain", "bead", "b1")["id"] == "b1"
    assert "b1, b10, b11" in townctl("explain", "bead", "b", "--json").error["message"]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["bead", "nobody"], "has no bead nobody"),
        (["agent", "b1"], "not an agent"),
        (["bead", "b1", "--town", "t9"], "t9"),
        (["bead", "b1", "--at", "yesterday"], "--at is not an ISO 8601 time"),
        (["bead"], ""),
    ],
)
def test_townctl_refuses_with_2_and_says_what_to_do(townctl: Townctl, words: list[str], problem: str) -> None:
    called = townctl("explain", *words, "--json")
    assert called.code == 2
    assert problem in called.error["message"]
    assert called.error["hint"]


def test_townctl_asks_which_town_only_where_two_towns_have_the_bead(townctl: Townctl) -> None:
    townctl.with_work("beta")
    assert townctl.document("explain", "bead", "b1")["id"] == "b1"
    assert townctl("tick", "beta", "--force").code == 0
    called = townctl("explain", "bead", "b1", "--json")
    assert (called.code, json.loads(called.err)["error"]["path"]) == (2, "town")
    assert "alpha, beta" in called.error["hint"]
