"""An open violation stays visible between the ticks of its town, and the alarm ends when the violation does."""

from datetime import timedelta

import pytest

from shared.domain.errors import StoreUnavailable
from shared.runner.sweep import sweep
from tests.cloud import Cloud, a_cloud
from tests.fault_injection import meanwhile
from tests.scenarios.table import scenario
from tests.towns import T, a_town, event
from tests.worlds import World, a_world, in_order

MARKER = "watch/violated/t1"


def a_broken_world() -> World:
    """Two reviews of one rig are in progress without a pull request."""
    return a_world(a_town().review("m1", "in_progress").review("m2", "in_progress"))


def mend(world: World) -> None:
    world.post(event("bead_cancelled", bead="m2"))


def is_marked(world: World) -> bool:
    return world.objects.get(MARKER) is not None


def gauge_of_the_next_minute(cloud: Cloud) -> float:
    """What a minute says in which the town is not ticked."""
    for key in cloud.world.objects.list("due/").keys:
        cloud.world.objects.delete(key)
    cloud.world.clock.move(minutes=1)
    cloud.minute(remaining=timedelta(seconds=20))
    [value] = cloud.summaries()[-1]["invariantViolations"]
    return float(value)


@scenario(603)
def test_the_alarm_stays_while_a_violation_is_open_and_ends_with_it() -> None:
    """Seen: a violation was open, and the alarm green after a minute."""
    world = a_broken_world()
    world.clock.at = T + timedelta(minutes=10)  # no full hour, so that nothing is swept
    cloud = a_cloud(world)
    assert gauge_of_the_next_minute(cloud) == 0
    assert world.run().tick.metrics.invariant_violations == 1  # type: ignore[union-attr]
    assert [gauge_of_the_next_minute(cloud) for _ in range(3)] == [1, 1, 1]

    mend(world)
    world.clock.move(seconds=5)
    assert world.run().tick.metrics.invariant_violations == 0  # type: ignore[union-attr]
    assert not is_marked(world)
    assert gauge_of_the_next_minute(cloud) == 0


@scenario(603)
def test_a_marker_that_could_not_be_deleted_is_reported_and_deleted_by_the_sweep() -> None:
    def unavailable() -> None:
        raise StoreUnavailable("no answer")

    world = a_broken_world()
    world.run()
    mend(world)
    world.clock.move(seconds=5)
    with pytest.raises(StoreUnavailable):
        in_order(meanwhile(world.steps(), before=f"delete {MARKER}", by=unavailable))
    assert is_marked(world)
    in_order(sweep(world.around))
    assert not is_marked(world)


@scenario(603)
def test_the_sweep_leaves_the_marker_of_a_violation_that_is_open_and_deletes_one_of_no_town() -> None:
    world = a_broken_world()
    world.run()
    world.objects.put("watch/violated/nobody", b"")
    in_order(sweep(world.around))
    assert world.objects.list("watch/violated/").keys == (MARKER,)


def test_a_healthy_town_writes_no_marker_and_deletes_none() -> None:
    world = a_world(a_town().bead("b1"))
    names: list[str] = []

    def seen() -> None:
        names.append("watch")

    in_order(meanwhile(world.steps(), before="delete watch/", by=seen))
    assert names == []
    assert world.objects.list("watch/").keys == ()
