"""Scenarios 187 and 188: the container's token stays fresh while there is work, and an idle container is put to sleep."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.times import to_text
from shared.ports.runtime import NotDone
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, actions, ago, an_empty_town, event, outcome_of, types_of
from tests.worlds import World, a_world, outcomes

REFRESH = "housekeeping.refresh_token"
STOP = "housekeeping.stop_idle_container"


# 187: H5


def a_town_with_a_mayor(status: str, **columns: Any) -> TownBuilder:
    return an_empty_town().rig().agent("mayor", "mayor", status, **columns)


@scenario(187)
def test_a_token_of_an_hour_is_refreshed_while_a_mayor_waits() -> None:
    town = a_town_with_a_mayor("waiting").key("last_token_refresh_at", to_text(ago(ms=3_600_000)))

    report = town.tick()

    assert types_of(report, rule=REFRESH) == ["refresh_container_token"]
    assert [(effect.kind, effect.subject) for effect in report.effects] == [("refresh_token", "container")]


@scenario(187)
def test_a_younger_token_is_left_alone_until_it_is_an_hour_old() -> None:
    town = a_town_with_a_mayor("waiting").key("last_token_refresh_at", to_text(ago(ms=3_599_999)))

    report = town.tick()

    assert actions(report, rule=REFRESH) == []
    assert report.next_due == T + MS


@scenario(187)
def test_nobody_at_work_and_an_idle_mayor_need_no_token() -> None:
    town = a_town_with_a_mayor("idle").key("last_token_refresh_at", to_text(ago(days=1)))

    report = town.tick()

    assert actions(report, rule=REFRESH) == []
    assert report.next_due is None


@scenario(187)
@pytest.mark.parametrize("status", ["working", "stalled", "waiting"])
def test_a_mayor_that_is_alive_needs_a_token(status: str) -> None:
    town = a_town_with_a_mayor(status, stalled_at=T if status == "stalled" else None).key("last_token_refresh_at", None)

    assert types_of(town.tick(), rule=REFRESH) == ["refresh_container_token"]


@scenario(187)
def test_work_needs_a_token_whatever_the_mayor_does() -> None:
    town = a_town().bead("b1").key("last_token_refresh_at", None)

    assert types_of(town.tick(), rule=REFRESH) == ["refresh_container_token"]


@scenario(187)
def test_while_one_refresh_is_on_its_way_no_other_is_asked_for() -> None:
    world = a_world(a_town_with_a_mayor("waiting").key("last_token_refresh_at", None))
    world.runtime.fails("refresh_token", NotDone("no answer", passing=True))

    runs = [world.run()]
    world.clock.move(seconds=5)
    runs.append(world.run())  # the failure is taken in; it is tried again 5 s later
    world.clock.move(seconds=5)
    runs.append(world.run())
    world.clock.move(seconds=5)
    runs.append(world.run())

    asked = [types_of(run.tick, rule=REFRESH) for run in runs if run.tick is not None]
    assert asked == [["refresh_container_token"], [], [], []]
    assert world.runtime.tokens == 1
    assert world.outbox() == {"refresh_token container 2": ("done", 2)}
    assert world.town().value("last_token_refresh_at") == to_text(T + timedelta(seconds=15))
    assert list(outcomes(world.journal()[-1]).values()) == ["applied"]


# 188: H6


def an_idle_town(*, minutes: float = 6) -> TownBuilder:
    """Nothing to do, and a mayor that has been idle for so long."""
    return a_town_with_a_mayor("idle", last_activity_at=ago(minutes=minutes))


@scenario(188)
def test_five_minutes_of_rest_are_not_enough() -> None:
    report = an_idle_town(minutes=5).tick(container="running")

    assert actions(report, rule=STOP) == []
    assert report.next_due == T + MS


@scenario(188)
@pytest.mark.parametrize("container", ["running", "healthy"])
def test_after_six_minutes_the_container_is_put_to_sleep(container: str) -> None:
    report = an_idle_town().tick(container=container)

    assert actions(report, rule=STOP) == [{"type": "stop_container", "reason": "mayor_idle_6m"}]


@scenario(188)
@pytest.mark.parametrize(
    ("town", "container"),
    [
        pytest.param(lambda: an_idle_town().bead("b1"), "running", id="active work"),
        pytest.param(
            lambda: an_idle_town().key("drain", {"nonce": "n", "started_at": to_text(T)}), "running", id="draining"
        ),
        pytest.param(an_idle_town, "stopped", id="stopped already"),
        pytest.param(an_idle_town, "unknown", id="nobody answered"),
        pytest.param(lambda: a_town_with_a_mayor("working"), "running", id="the mayor works"),
        pytest.param(lambda: a_town_with_a_mayor("stalled", stalled_at=T), "running", id="the mayor is stalled"),
        pytest.param(
            lambda: an_idle_town().key("last_idle_stop_at", to_text(ago(minutes=2))), "running", id="stopped 2 min ago"
        ),
    ],
)
def test_the_container_is_left_alone(town: Callable[[], TownBuilder], container: str) -> None:
    assert actions(town().tick(container=container), rule=STOP) == []


@scenario(188)
def test_a_mayor_that_waits_may_be_put_to_sleep_too() -> None:
    town = a_town_with_a_mayor("waiting", last_activity_at=ago(minutes=7))

    assert actions(town.tick(container="running"), rule=STOP) == [{"type": "stop_container", "reason": "mayor_idle_7m"}]


@scenario(188)
@pytest.mark.parametrize(
    "town",
    [
        pytest.param(lambda: an_empty_town().rig(), id="no mayor"),
        pytest.param(lambda: a_town_with_a_mayor("idle", last_activity_at=None), id="a mayor that was never heard of"),
    ],
)
def test_without_activity_the_reason_is_that_there_is_no_work(town: Callable[[], TownBuilder]) -> None:
    report = town().tick(container="running")

    assert actions(report, rule=STOP) == [{"type": "stop_container", "reason": "no_active_work"}]


@scenario(188)
def test_a_stop_holds_for_two_minutes() -> None:
    stopped = an_idle_town().key("last_idle_stop_at", to_text(ago(minutes=2)))

    assert stopped.tick(container="running").next_due == T + MS
    assert types_of(stopped.tick(at=T + MS, container="running"), rule=STOP) == ["stop_container"]


def a_stop_that(world: World) -> list[str]:
    """The container is told to sleep; what the next ticks ask for, at 5 s, 2 min and 2 min 10 s."""
    world.run()
    asked = []
    for seconds in (5, 115, 10):
        world.clock.move(seconds=seconds)
        run = world.run()
        assert run.tick is not None
        asked.append(" ".join(types_of(run.tick, rule=STOP)))
    return asked


@scenario(188)
def test_a_container_that_stopped_is_noted_with_its_reason() -> None:
    world = a_world(an_idle_town())

    asked = a_stop_that(world)

    assert asked == ["", "", ""]
    assert world.runtime.container == "stopped"
    assert world.town().value("last_idle_stop_at") == to_text(T + timedelta(seconds=5))
    [noted] = [event for row in world.journal() for event in row["outputs"]["business_events"]]
    assert noted == {"name": "container.idle_stop", "data": {"reason": "mayor_idle_6m"}}


@scenario(188)
def test_a_stop_that_failed_is_not_throttled() -> None:
    """So says the scenario; actions.md section 9 says that the throttle holds after a failure too. A container that
    could not be stopped is still awake, so it is asked again at the pace of the town's ticks.
    """
    world = a_world(an_idle_town())
    world.runtime.fails("stop_container", NotDone("no answer", passing=True), times=None)

    asked = a_stop_that(world)

    assert asked == ["stop_container"] * 3
    assert len(world.runtime.seen("stop_container")) == 4  # each effect has one attempt
    assert world.town().value("last_idle_stop_at") is None
    assert {state for state, _ in world.outbox().values()} == {"failed", "claimed"}


@scenario(188)
def test_the_answer_to_a_stop_says_what_became_of_it() -> None:
    town = an_idle_town()
    asked = town.tick(container="running")
    [effect] = asked.effects
    result = {"effect_id": effect.effect_id, "attempt": 1, "kind": "stop_container", "ok": True}

    report = town.tick(
        event("effect_result", result, event_id="res-stop-1", source="effect"), at=T + timedelta(seconds=5)
    )

    assert outcome_of(report, "res-stop-1") == "applied"
    assert town.rows("SELECT state FROM outbox") == [("done",)]
