"""Which requests load a town's image, told by the objects that are read: the events function loads none, a redrive does.

An image needs memory and room in /tmp that grow with the town (functions/room.py). Producers post all day, so what they call
must cost the same for a large town.
"""

from typing import Any

import pytest

from functions.api import Route
from functions.events import app as events
from functions.redrive import app as redrive
from tests import apis
from tests.apis import claims_for
from tests.cloud import Cloud, a_cloud
from tests.counting import CountingObjects
from tests.http_events import OPERATOR, Answer, Context, request
from tests.small_layers import small_layers
from tests.towns import a_town, event
from tests.worlds import World

KNOWN = {"townId": "one", "agentId": "toast", "eventId": "poisoned-event"}
BODIES: dict[str, Any] = {
    "POST /api/towns/{townId}/events": [
        {
            "event_id": "beat-0001",
            "event_type": "agent_heartbeat",
            "agent_id": "toast",
            "payload": {"last_event_type": "turn"},
        },
        {"event_id": "evicted-1", "event_type": "container_eviction"},
    ],
    "PUT /api/towns/{townId}/agents/{agentId}/log": b"working",
    "POST /api/towns/{townId}/operator/events": {"event_id": "started-01", "event_type": "town_started"},
    "POST /api/towns/{townId}/mayor/messages": {"text": "hello"},
}
SENDERS = {
    "POST /api/towns/{townId}/events": {"scope": "container"},
    "PUT /api/towns/{townId}/agents/{agentId}/log": {"scope": "agent", "agent": "toast", "generation": "1"},
}


def is_of_an_image(key: str) -> bool:
    """Whether the object is part of an image. The head is read for other reasons too: its manifest says what a town is."""
    return "/ltx/" in key or "/patches/" in key


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A town whose image has left its head, with a poisoned event."""
    small_layers(monkeypatch, 8 * 1024, patch_files=2)
    town = a_town("one").bead("b1", status="in_progress").agent("toast", hook="b1", generation=1, status="working")
    world = World(objects=CountingObjects(town_objects := World().objects))
    world.put_in(town)
    for number in range(4):
        world.run(town_id="one")
        world.clock.move(minutes=1)
        bead = {"bead_id": f"more-{number}", "type": "issue", "title": "t", "body": "x" * 20_000, "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": bead}, event_id=f"more-{number:04}"), town_id="one")
    poison(world, monkeypatch)
    assert any(is_of_an_image(key) for key in town_objects.list("towns/one/").keys)
    made = a_cloud(world)
    apis.deploy(made, monkeypatch)
    return made


def poison(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.events.town import TownStarted

    def fail(*_: Any) -> Any:
        raise KeyError("not now")

    with monkeypatch.context() as broken:
        broken.setattr(TownStarted, "apply", fail)
        world.post(event("town_started", event_id="poisoned-event"), town_id="one")
        for _ in range(3):
            world.run(town_id="one")
            world.clock.move(seconds=10)


def parts_read_for(function: Any, route: Route[Any], cloud: Cloud) -> list[str]:
    """The parts of images that a function reads to answer a request well."""
    counted = cloud.world.objects
    assert isinstance(counted, CountingObjects)
    counted.reset()
    name = f"{route.method} {route.path}"
    path = route.path.format(**KNOWN)
    holder = SENDERS.get(name, {})
    claims = claims_for(path, "one") | holder
    body = BODIES.get(name)
    headers = {"content-type": "text/plain"} if isinstance(body, bytes) else {}
    asked = request(route.method, path, body, caller=OPERATOR, claims=claims, headers=headers)
    answer = Answer.of(function.lambda_handler(asked, Context()))
    assert answer.status in (200, 202, 409), answer
    return sorted({key for key in counted.keys if is_of_an_image(key)})


@pytest.mark.parametrize("route", events.ROUTES, ids=[f"{route.method} {route.path}" for route in events.ROUTES])
def test_the_events_function_reads_no_part_of_an_image(route: Route[Any], cloud: Cloud) -> None:
    assert parts_read_for(events, route, cloud) == []


def test_a_redrive_reads_the_image_in_a_function_that_has_room_for_it(cloud: Cloud) -> None:
    """Which images it has room for is what `test_room` checks."""
    [route] = [each for each in redrive.ROUTES if each.guard != "link"]
    assert parts_read_for(redrive, route, cloud)
