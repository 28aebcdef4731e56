"""The debug calls as people make them: bodies in, documents out, and nothing in the world is touched."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused, UnknownTown
from shared.domain.shapes import document, read
from shared.domain.times import to_text
from shared.replay.replayed import Replay
from shared.replay.time_window import HTTP_SIZE, PageLimits
from shared.replay.what_if.run import WhatIf
from shared.town import database
from tests.documented import as_stored, unlike
from tests.properties.amount import examples
from tests.replayed import SECOND, a_busy_world, a_world_with_a_past, asked, asked_for, dry_run_of, replayed
from tests.towns import T, a_town, ago, event
from tests.worlds import World

LIMIT = 6_000_000


@pytest.fixture(scope="module")
def busy() -> World:
    return a_busy_world()


def refused(world: World, body: object) -> tuple[int, str, str]:
    """Status, place and text of the refusal of a replay."""
    with pytest.raises(Refused) as problem:
        asked(world, body)
    return problem.value.status, problem.value.path, problem.value.message


# replay-events -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "status", "path"),
    [
        ({"form": 1}, 422, "form"),
        ({"cursor": "soon"}, 400, "cursor"),
        ({"cursor": "5@2030-01-01T00:00:00.000Z"}, 400, "cursor"),
        ({"overrides": {"leave_out": []}}, 422, "overrides.leave_out"),
        ({"overrides": {"shiftMs": "5"}}, 422, "overrides.shiftMs"),
        ({"overrides": {"shiftMs": 10**12}}, 422, "overrides.shiftMs"),
        ({"overrides": {"config": {"max_polecats_per_rig": 0}}}, 422, "overrides.config.max_polecats_per_rig"),
        ({"overrides": {"config": {"no_such_setting": 1}}}, 422, "overrides.config.no_such_setting"),
        ({"overrides": {"add": [{"at": "soon", "event": {}}]}}, 400, "overrides.add[0].at"),
        (
            {"overrides": {"add": [{"at": "2026-01-10T12:10:00Z", "event": {"event_id": "made-up-1"}}]}},
            400,
            "overrides.add[0].event.event_type",
        ),
    ],
)
def test_a_request_that_is_wrong_is_refused_with_its_place(
    busy: World, more: dict[str, Any], status: int, path: str
) -> None:
    body = {"from": to_text(T), "to": to_text(busy.clock.now()), **more}
    assert refused(busy, body)[:2] == (status, path)


def test_a_town_that_nobody_created_is_unknown_to_every_call(busy: World) -> None:
    with pytest.raises(UnknownTown):
        asked(busy, {"from": to_text(T), "to": to_text(T)}, town_id="t9")
    with pytest.raises(UnknownTown):
        dry_run_of(busy, town_id="t9")


def test_the_answer_holds_what_the_specification_names(busy: World) -> None:
    answer = asked_for(busy, T, busy.clock.now())
    assert answer["eventsReplayed"] == sum(len(tick["events"]) for tick in answer["ticks"]) > 100
    assert len(answer["actions"]) == sum(len(tick["actions"]) for tick in answer["ticks"]) > 50
    assert {"agents", "nonTerminalBeads"} <= answer["stateSnapshot"].keys()
    assert answer["exact"] is True
    image = busy.image()
    assert answer["asOf"] == {
        "txid": image.txid,
        "tick": image.facts.tick_no,
        "time": to_text(image.facts.time),
        "sqliteVersion": database.SQLITE_VERSION,
        "codeVersion": replayed(busy).ticks[0].code_version,
    }
    assert unlike("Replay", answer) == []
    assert document(read(Replay, answer)) == answer


def test_the_answer_of_a_crowded_day_comes_in_pages_that_fit_into_a_response() -> None:
    """A tenth of everything: of the day, of a page, of the response."""
    page = PageLimits(size=HTTP_SIZE // 10)
    world = a_world_with_a_past(a_town())
    for minute in range(4):
        world.clock.move(minutes=1)
        for batch in range(10):
            names = (f"event-{minute:02}-{batch}-{number:02}" for number in range(100))
            world.post(*(event("nudge_timeout", {"nudge_id": "none"}, event_id=name) for name in names))
        world.run()
    told: list[int] = []
    cursor = None
    sizes = []
    while True:
        answer = asked(world, {"from": to_text(T), "to": to_text(world.clock.now()), "cursor": cursor}, page=page)
        sizes.append(len(json.dumps(answer)))
        told += [tick["tick"] for tick in answer["ticks"]]
        cursor = answer["cursor"]
        if cursor is None:
            break
    assert told == list(range(2, 6))
    assert len(sizes) > 1
    assert max(sizes) < LIMIT // 10


def test_a_window_with_overrides_is_told_beside_history(busy: World) -> None:
    answer = asked_for(busy, T, busy.clock.now(), overrides={"config": {"max_dispatch_attempts": 1}})
    assert answer["ticksParted"] == len(answer["partings"]) > 0
    assert answer["sum"]["actionsOnlyNow"]["transition_bead"] > 0
    assert answer["historyDivergence"] is None
    assert {each["why"] for each in answer["unknownEffects"]} >= {"never_made"}
    assert unlike("WhatIf", answer) == []
    assert document(read(WhatIf, answer)) == answer


# reconcile-dry-run -------------------------------------------------------------------------------------------


def test_a_dry_run_is_the_next_tick() -> None:
    world = a_world_with_a_past(a_town().bead("ready"))
    shown = dry_run_of(world)
    done = world.run().tick
    assert done is not None
    assert as_stored(shown)["actions"] == [action.as_json() for action in done.actions]
    assert shown["asOf"]["tick"] + 1 == shown["input"]["tickNo"]
    assert unlike("DryRun", shown) == []


def test_a_dry_run_with_other_events_time_and_configuration_shows_what_they_would_bring() -> None:
    world = a_world_with_a_past(a_town().bead("ready").bead("also"))
    both = [
        action["action"]["beadId"]
        for action in dry_run_of(world)["actions"]
        if action["action"]["type"] == "dispatch_agent"
    ]
    assert sorted(both) == ["also", "ready"]
    limited = dry_run_of(world, {"config": {"max_polecats_per_rig": 1}})
    assert [action["action"]["type"] for action in limited["actions"]].count("dispatch_agent") == 1
    cancelled = {"event_id": "cancel-it", "event_type": "bead_cancelled", "bead_id": "also", "payload": {}}
    without = dry_run_of(world, {"events": [cancelled], "now": "2026-01-10T13:00:00Z"})
    assert [event["outcome"] for event in without["events"]] == ["applied"]
    assert without["input"]["now"] == "2026-01-10T13:00:00.000Z"
    assert world.town().status("also") == "open"


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        ({"observe": "yes"}, 422, "observe"),
        ({"evnts": []}, 422, "evnts"),
        ({"now": "later"}, 400, "now"),
        ({"events": [{"event_id": "event-0001"}]}, 400, "events[0].event_type"),
        ({"config": {"alarm_interval_active": 1}}, 422, "config.alarm_interval_active"),
        ([], 422, "body"),
    ],
)
def test_a_dry_run_that_is_asked_for_wrongly_is_refused_with_its_place(body: object, status: int, path: str) -> None:
    world = a_world_with_a_past(a_town())
    with pytest.raises(Refused) as problem:
        dry_run_of(world, body)
    assert (problem.value.status, problem.value.path) == (status, path)


def test_processes_are_looked_at_only_where_that_is_asked_for() -> None:
    world = a_world_with_a_past(
        a_town().bead("b").agent("p", status="working", hook="b", last_activity_at=ago(seconds=9))
    )
    assert dry_run_of(world)["input"]["observations"]["asked"] is False
    assert world.runtime.calls == []
    assert "p" in dry_run_of(world, {"observe": True})["input"]["observations"]["agents"]
    assert {call.verb for call in world.runtime.calls} == {"status", "container_state"}


# read-only in fact ---------------------------------------------------------------------------------------------

_TIMES = st.sampled_from([to_text(T + minutes * 60 * SECOND) for minutes in (-5, 0, 3, 12, 30, 90)])
_BODIES = st.one_of(
    st.fixed_dictionaries(
        {"from": _TIMES, "to": _TIMES},
        optional={
            "cursor": st.sampled_from(["", "3@2026-01-10T12:03:00.000Z"]),
            "overrides": st.fixed_dictionaries(
                {},
                optional={
                    "config": st.sampled_from([{}, {"max_dispatch_attempts": 1}, {"x": 1}]),
                    "shiftMs": st.sampled_from([0, 1000, 10**7]),
                    "leaveOut": st.just(["done-7-1"]),
                },
            ),
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "observe": st.booleans(),
            "now": _TIMES,
            "config": st.sampled_from([{}, {"max_polecats_per_rig": 1}, {"x": 1}]),
            "events": st.sampled_from(
                [[], [{"event_id": "dry-run-1", "event_type": "nudge_timeout", "payload": {}}], [{}]]
            ),
        },
    ),
)
READS = {"status", "container_state"}


def everything(world: World) -> list[tuple[str, tuple[Any, ...]]]:
    """Every version of every object."""
    assert isinstance(world.objects, MemoryObjects)
    keys = [key for prefix in ("towns/", "due/", "probe/") for key in world.objects.list(prefix, limit=100_000).keys]
    return [(key, world.objects.versions(key)) for key in keys]


@examples(25)
@given(bodies=st.lists(st.tuples(st.booleans(), _BODIES), min_size=1, max_size=4))
def test_no_sequence_of_calls_writes_anything_or_calls_anybody(busy: World, bodies: list[tuple[bool, Any]]) -> None:
    before, calls, alerts = everything(busy), len(busy.runtime.calls), len(busy.alerts.raised)
    figures, forge = len(busy.metrics.runs), len(busy.forge.calls)
    for dry, body in bodies:
        with suppress(Refused):
            dry_run_of(busy, body) if dry else asked(busy, body)
    assert everything(busy) == before
    assert {call.verb for call in busy.runtime.calls[calls:]} <= READS
    assert (len(busy.alerts.raised), len(busy.metrics.runs), len(busy.forge.calls)) == (alerts, figures, forge)
