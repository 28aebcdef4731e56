"""Many towns, few of them due: only those are touched, whatever comes twice."""

from datetime import timedelta

from shared.adapters.memory_objects import MemoryObjects
from tests.cloud import Cloud, a_cloud
from tests.counting import CountingObjects
from tests.towns import T, a_town, event
from tests.worlds import a_world

TOWNS, DUE = 2000, 60
MINUTE = timedelta(minutes=1)  # not on the hour, when every town is looked at


def a_large_fleet() -> tuple[Cloud, CountingObjects]:
    """2,000 towns with markers, of which 60 have an event waiting; the others are due tomorrow."""
    objects = CountingObjects(MemoryObjects())
    world = a_world(objects=objects)
    image_of_one = a_town("town-0000")
    world.put_in(image_of_one)
    for number in range(1, DUE):
        world.put_in(a_town(f"town-{number:04d}"))
    for number in range(DUE):
        world.post(event("town_started"), town_id=f"town-{number:04d}")
    for number in range(DUE, TOWNS):
        objects.put(f"due/20260111T120000Z/town-{number:04d}", b"")
    world.clock.move(minutes=1)
    objects.reset()
    return a_cloud(world), objects


def test_of_two_thousand_towns_only_the_sixty_that_are_due_are_touched() -> None:
    cloud, objects = a_large_fleet()
    report = cloud.minute(T + MINUTE, remaining=timedelta(seconds=14))

    assert report.handed_over == DUE
    assert objects.towns_touched == set()  # the dispatcher looks at markers and at nothing else
    assert dict(objects.requests) == {"list": report.passes + 1}  # once a minute it looks at the watch

    objects.reset()
    while cloud.queue.pump(cloud.work):
        pass
    assert len(objects.towns_touched) == DUE
    assert sum(objects.requests.values()) <= DUE * 16


def test_duplicates_and_redelivery_change_nothing() -> None:
    cloud, objects = a_large_fleet()
    cloud.minute(T + MINUTE, remaining=timedelta(seconds=14))
    bodies = [(message.body, message.group) for message in cloud.queue.messages]
    while cloud.queue.pump(cloud.work):
        pass
    heads = {f"town-{number:04d}": objects.behind.get(f"towns/town-{number:04d}/head") for number in range(DUE)}
    for body, group in bodies:  # delivered at least once, and here once more
        cloud.queue.put(body, group=group)
    while cloud.queue.pump(cloud.work):
        pass

    assert {town: objects.behind.get(f"towns/{town}/head") for town in heads} == heads
    assert cloud.queue.dead == []
