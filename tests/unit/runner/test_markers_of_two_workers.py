"""Two workers on one town: neither deletes the marker that the other one has just relied on."""

from datetime import timedelta

import pytest

from shared.domain import limits
from shared.domain.errors import StoreUnavailable
from shared.ports.steps import drive
from shared.runner.warm_images import WarmImages
from tests.fault_injection import Crash, interrupted, meanwhile
from tests.towns import a_town, event
from tests.worlds import World, a_world, in_order


def a_quiet_town_with_a_marker() -> World:
    """Nothing is left to do for minutes; a marker of this very second is still there, so that a pass will look."""
    world = a_world(a_town())
    world.post(event("town_started"))
    world.run()
    world.clock.move(seconds=10)
    world.look()
    world.clock.move(seconds=10)
    next_due = world.image().facts.next_due
    assert next_due is None or next_due > world.clock.now() + timedelta(minutes=1)
    drive(world.store.mark_due("t1", world.clock.now()))
    world.warm = WarmImages()  # the pass to come asks the store for everything
    return world


def another_worker_ticks(world: World) -> None:
    """In the same second; its tick changes the configuration, so the town wants the next tick at once."""
    world.post(event("town_configured", {"config": {"max_dispatch_attempts": 3}}))
    world.run()


@pytest.mark.parametrize("call", range(16))
def test_a_pass_that_saw_an_older_image_leaves_the_town_a_marker(call: int) -> None:
    world = a_quiet_town_with_a_marker()
    done: list[int] = []

    def once() -> None:
        done.append(1)
        another_worker_ticks(world)

    in_order(interrupted(world.looking(), before_call=call, by=once))
    if not done:
        another_worker_ticks(world)  # the pass had fewer calls: one after the other
    next_due = world.image().facts.next_due
    assert next_due is not None
    assert any(marker <= next_due + limits.ACTIVE_INTERVAL for marker in world.markers())


def test_a_pass_that_cannot_look_again_leaves_the_town_a_marker() -> None:
    """It has deleted the marker on which another worker may rely, and cannot see whether one does."""
    world = a_quiet_town_with_a_marker()

    def no_answer() -> None:
        raise StoreUnavailable("no answer")

    in_order(meanwhile(world.looking(), before="get_if_changed towns/t1/head", by=no_answer))
    assert any(marker <= world.clock.now() for marker in world.markers())


def test_the_pass_has_calls_to_interrupt() -> None:
    world = a_quiet_town_with_a_marker()

    def stop() -> None:
        raise Crash

    for call in range(4):
        with pytest.raises(Crash):
            in_order(interrupted(world.looking(), before_call=call, by=stop))
