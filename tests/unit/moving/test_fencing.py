"""A replica becomes a new, paused town that its old agents cannot reach: never a second living copy."""

from datetime import timedelta

import pytest

from infra.ops.litestream import adopt
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused
from shared.moving import fencing
from shared.ports.steps import drive
from shared.town import database
from shared.town.town_keys import TownKeys
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, event
from tests.worlds import World

LATER = T + timedelta(minutes=1)


def a_living_town() -> TownBuilder:
    town = a_town("old").bead("b1", status="in_progress", assignee_agent_bead_id="p").bead("b2")
    town.agent("p", status="working", hook="b1", generation=4, last_dispatch_outcome="started")
    return town.key("drain", {"nonce": "n", "started_at": "2026-01-10T11:59:00.000Z"})


def taken_over(image: bytes) -> World:
    """The town `copy`, as `litestream import` creates it."""
    world = World()
    made = adopt.as_town(adopt.Replica(image, 3), "copy", now=T)
    drive(world.store.create("copy", made, adopt.facts_of(made, worker_id="w", now=T)))
    world.clock.at = LATER
    return world


@scenario(607)
def test_a_replica_is_taken_over_paused_and_starts_and_stops_nobody() -> None:
    """Seen: `litestream import` ran a second living copy of a town."""
    world = taken_over(a_living_town().image())
    run = world.run(town_id="copy")
    assert run.tick is not None
    assert run.tick.actions == ()
    assert run.effects.attempted == 0
    assert not {"start", "stop", "message"} & {call.verb for call in world.runtime.calls}
    with database.opened(world.image("copy").image) as sql:
        keys = TownKeys(sql)
        assert (keys.id, keys.paused, keys.drain) == ("copy", True, None)


@scenario(607)
def test_what_the_old_agents_report_to_the_copy_does_not_count() -> None:
    world = taken_over(a_living_town().image())
    world.post(event("agent_done", {"branch": "gt/p/b1", "generation": 4}, agent="p"), town_id="copy")
    run = world.run(town_id="copy")
    assert run.tick is not None
    [done] = [each for each in run.tick.events if each.event_id.endswith("agent_done") or "done" in each.event_type]
    assert done.outcome.startswith("skipped")
    assert world.town("copy").one("agent_metadata", "p", "generation", "ended_generation") == (5, 5)


@scenario(607)
def test_effects_of_the_old_town_expire_and_a_paused_one_keeps_its_own() -> None:
    living = World().put_in(a_living_town())
    living.post(event("bead_cancelled", bead="b1"), town_id="old")
    claimed = living.run(town_id="old").image.image
    with database.opened(fencing.taken_over(claimed, "copy", now=T)) as sql:
        states = {state for (state,) in sql.execute("SELECT state FROM outbox").fetchall()}
        assert not states & {"pending", "claimed"}
        assert sql.execute("SELECT COUNT(*) FROM ticks").fetchone() == (0,)

    paused = a_living_town().key("paused", True)
    with database.opened(fencing.taken_over(paused.image(), "copy", now=T)) as sql:
        assert sql.execute("SELECT generation FROM agent_metadata WHERE bead_id = 'p'").fetchone() == (4,)


@scenario(642)
def test_a_braked_town_is_taken_over_as_a_running_one_because_its_agents_may_run() -> None:
    brake = {"by": "ann", "at": "2026-01-10T12:00:00.000Z", "stopped_agents": False}
    braked = a_living_town().key("paused", True).key("brake", brake)
    with database.opened(fencing.taken_over(braked.image(), "copy", now=T)) as sql:
        assert sql.execute("SELECT generation FROM agent_metadata WHERE bead_id = 'p'").fetchone() == (5,)
        assert (TownKeys(sql).paused, TownKeys(sql).brake) == (True, None)


@pytest.mark.parametrize("url", ["s3:bucket", "s3:///path", "s3://bucket/path?password=x", "s3://"])
def test_what_is_no_url_of_a_replica_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="not the URL of a replica") as raised:
        adopt.in_bucket(url, endpoint=None, region=None)
    assert "s3://BUCKET/PATH" in raised.value.hint


def test_only_the_newest_snapshot_and_what_follows_is_read_from_a_bucket() -> None:
    objects = MemoryObjects()
    for key in ("0009/0000000000000001-0000000000000002", "0009/0000000000000001-0000000000000005"):
        objects.put(f"a/ltx/{key}.ltx", b"")
    for first in range(1, 8):
        objects.put(f"a/ltx/0000/{first:016x}-{first:016x}.ltx", b"")
    objects.put("a/generations", b"")
    found = adopt.InBucket(objects, "a/", "s3://bucket/a").names()
    assert found == [
        "ltx/0000/0000000000000005-0000000000000005.ltx",
        "ltx/0000/0000000000000006-0000000000000006.ltx",
        "ltx/0000/0000000000000007-0000000000000007.ltx",
        "ltx/0009/0000000000000001-0000000000000005.ltx",
    ]
