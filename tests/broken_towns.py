"""A town that worked until somebody gave its rig another value: since then each start of an agent crashes."""

from datetime import timedelta
from typing import Any, Final

from shared.domain.times import to_text
from tests.replayed import a_world_with_a_past
from tests.towns import T, a_town, event
from tests.worlds import World

CRASH: Final = "crashed (exit code 1)"
RIG: Final = {"rig_id": "r", "name": "web", "git_url": "https://github.com/acme/web.git"}


def a_town_that_a_change_broke() -> World:
    """`Lay the floor` landed; ben gave the rig another merge_strategy, and anna changed the notices; `Hang the door` then failed.

    `Paint the door` waits for it.
    """
    town = (
        a_town("t1")
        .rig("r", name="web", git_url=RIG["git_url"])
        .config(merge_strategy="direct", max_dispatch_attempts=1)
    )
    landed = to_text(T - timedelta(minutes=2))
    town.bead("floor", status="closed", title="Lay the floor", rig_id="r", closed_at=landed)
    world = a_world_with_a_past(town)
    world.run()
    _applied(world, "rig_registered", {**RIG, "config": {"merge_strategy": "pr"}, "by": "ben"}, "change-01")
    _applied(world, "town_configured", {"config": {"notices": {"per_hour": 5}}, "by": "anna"}, "change-02")
    _filed(world, "door", "Hang the door")
    _filed(world, "paint", "Paint the door", depends_on=["door"])
    for _ in range(20):
        for agent in world.runtime.running():
            world.runtime.exits(agent, reason=CRASH)
        world.clock.move(seconds=30)
        world.run()
    return world


def _applied(world: World, event_type: str, payload: dict[str, Any], event_id: str) -> None:
    world.clock.move(seconds=30)
    world.post(event(event_type, payload, event_id=event_id))
    world.run()


def _filed(world: World, bead_id: str, title: str, **more: Any) -> None:
    bead = {"bead_id": bead_id, "type": "issue", "title": title, "rig_id": "r", **more}
    _applied(world, "bead_created", {"bead": bead}, f"filed-{bead_id}")
