"""What every route answers is what the OpenAPI document says: asked of a town in which everything has happened.

Requests that are made at random hardly ever find a bead or a window. These do; and what they find would not pass if a key
were gone, new or of another type.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from functions.debug import app as debug
from functions.events import app as events
from shared.domain.times import to_text
from shared.town import database
from tests.apis import ask, deploy
from tests.cloud import a_cloud
from tests.documented import complaints, documented_paths
from tests.http_events import Answer
from tests.replayed import a_busy_world
from tests.towns import T
from tests.worlds import World

BELOW = "/api/towns/{townId}"
SEEN = "/api/agents/towns/{townId}"
REPLAY = f"{BELOW}/debug/replay-events"
TIMELINE = f"{BELOW}/timeline"


@pytest.fixture(scope="module")
def world() -> World:
    return a_busy_world()


@pytest.fixture(autouse=True)
def deployed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(a_cloud(world), monkeypatch)


def of(method: str, route: str, body: Any = None, *, mayor: str = "mayor", query: str = "", **names: str) -> Answer:
    """The answer to a request of a documented route."""
    function = events if (method, route) in OF_EVENTS else debug
    path = route.format(**{"townId": "t1", **names})
    return ask(function, method, f"{path}{query}", body, town="t1", mayor=mayor)


OF_EVENTS = {("GET", "/api/towns"), ("PUT", BELOW), ("POST", f"{BELOW}/events"), ("POST", f"{BELOW}/mayor/messages")}
PLAIN: list[tuple[str, str, int, Any]] = [
    ("GET", "/api/health", 200, None),
    ("GET", "/api/towns", 200, None),
    ("GET", f"{BELOW}/status", 200, None),
    ("GET", f"{BELOW}/ticks", 200, None),
    ("GET", f"{BELOW}/view", 200, None),
    ("GET", TIMELINE, 200, None),
    ("GET", f"{BELOW}/ticks/{{tick}}", 200, None),
    ("GET", f"{BELOW}/beads", 200, None),
    ("GET", f"{BELOW}/agents", 200, None),
    ("GET", f"{BELOW}/convoys", 200, None),
    ("GET", f"{BELOW}/config", 200, None),
    ("GET", f"{BELOW}/points", 200, None),
    ("GET", f"{BELOW}/points/{{txid}}", 200, None),
    ("GET", f"{BELOW}/events", 200, None),
    ("GET", f"{SEEN}/status", 200, None),
    ("GET", f"{SEEN}/beads", 200, None),
    ("GET", f"{SEEN}/agents", 200, None),
    ("GET", f"{SEEN}/convoys", 200, None),
    ("GET", f"{BELOW}/reviews", 200, None),
    ("GET", f"{BELOW}/escalations", 200, None),
    ("GET", f"{BELOW}/rigs", 200, None),
    ("GET", f"{BELOW}/mail", 200, None),
    ("GET", f"{BELOW}/mayor/messages", 200, None),
    ("GET", f"{SEEN}/reviews", 200, None),
    ("GET", f"{SEEN}/escalations", 200, None),
    ("GET", f"{SEEN}/rigs", 200, None),
    ("GET", f"{SEEN}/mail", 200, None),
    ("POST", f"{BELOW}/mayor/messages", 202, {"text": "Plan a parser."}),
    ("POST", f"{BELOW}/debug/reconcile-dry-run", 200, {"observe": True}),
    ("POST", f"{BELOW}/events", 202, {"event_id": "started-1", "event_type": "town_started", "payload": {}}),
    ("POST", REPLAY, 200, {}),
    ("POST", REPLAY, 200, {"overrides": {"shiftMs": 1000, "config": {"max_polecats_per_rig": 1}}}),
]


@pytest.mark.parametrize(
    ("method", "route", "status", "body"), PLAIN, ids=[f"{one[1]}-{n}" for n, one in enumerate(PLAIN)]
)
def test_an_answer_is_as_documented_and_nothing_else_would_be(
    world: World, method: str, route: str, status: int, body: Any
) -> None:
    start, end = to_text(T), to_text(world.clock.now())
    if route == REPLAY:
        body = {"from": start, "to": end, **body}
    query = f"?start={start}&end={end}" if route == TIMELINE else ""
    [(mayor,)] = world.town().rows("SELECT bead_id FROM agent_metadata WHERE role = 'mayor'")
    answer = of(method, route, body, mayor=mayor, query=query, tick="60", txid=str(world.image().txid))
    assert answer.status == status, answer.document
    assert complaints(method, route, status, answer.document) == []
    for spoilt in spoilt_ones(answer.document):
        assert complaints(method, route, status, spoilt), sorted(spoilt)


def spoilt_ones(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The document with a key too many, with each key gone, and with each value of a type that nothing has."""
    yield document | {"surprise": 1}
    for name in document:
        yield {key: value for key, value in document.items() if key != name}
        yield document | {name: [[None]]}
    for name, value in document.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and name not in COUNTS:
            yield document | {name: [inner | {"surprise": []}] if isinstance(value, list) else inner | {"surprise": []}}


COUNTS = ("waiting", "waitingSummary")
"""By reason, of which there may be more."""


def test_every_bead_is_shown_as_documented(world: World) -> None:
    sql = database.open_image(world.image().image)
    beads = [row[0] for row in sql.execute("SELECT bead_id FROM beads ORDER BY bead_id")]
    database.close(sql)
    route = f"{BELOW}/beads/{{beadId}}"
    kinds = set()
    for bead in beads:
        answer = of("GET", route, beadId=bead)
        assert (answer.status, complaints("GET", route, 200, answer.document)) == (200, [])
        shown = answer.document["bead"]
        kinds |= {name for name in ("agent", "review", "convoy", "escalation") if shown[name] is not None}
        for name in ("title", "audit", "labels", "dependsOn"):
            less = {key: value for key, value in shown.items() if key != name}
            assert complaints("GET", route, 200, answer.document | {"bead": less})
    assert kinds == {"agent", "review", "convoy", "escalation"}


def test_every_explanation_is_as_documented(world: World) -> None:
    for bead, kind in world.town().rows("SELECT bead_id, type FROM beads ORDER BY bead_id"):
        what, name = ("agents", "agentId") if kind == "agent" else ("beads", "beadId")
        route = f"{BELOW}/explain/{what}/{{{name}}}"
        answer = of("GET", route, **{name: bead})
        assert (answer.status, complaints("GET", route, 200, answer.document)) == (200, [])


def test_every_answer_has_an_example_of_its_shape() -> None:
    """If not: python -m tests.contracts.examples."""
    for route, operations in documented_paths().items():
        for method, operation in operations.items():
            status = next(status for status in operation["responses"] if status.startswith("2"))
            content = operation["responses"][status]["content"]
            if route != "/openapi.json" and "application/json" in content:  # the link in a notice answers with a page
                example = content["application/json"]["example"]
                assert complaints(method, route, int(status), example) == [], (method, route)


def test_a_town_is_created_as_documented(world: World) -> None:
    answer = of("PUT", BELOW, townId="new")
    assert (answer.status, complaints("PUT", BELOW, 201, answer.document)) == (201, [])
    again = of("PUT", BELOW, townId="new")
    assert (again.status, complaints("PUT", BELOW, 409, again.document)) == (409, [])


def test_the_nonce_of_an_eviction_is_documented() -> None:
    evicted = {"event_id": "eviction-1", "event_type": "container_eviction", "payload": {}}
    answer = of("POST", f"{BELOW}/events", evicted)
    assert answer.document["drainNonce"]
    assert complaints("POST", f"{BELOW}/events", 202, answer.document) == []


def test_a_problem_document_is_documented_whole() -> None:
    answer = of("GET", f"{BELOW}/status", townId="none")
    assert {"hint", "path"} <= set(answer.document)
    assert complaints("GET", f"{BELOW}/status", 404, answer.document) == []
    assert complaints("GET", f"{BELOW}/status", 404, answer.document | {"trace": ""})
