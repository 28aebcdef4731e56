"""An example of every answer, for the OpenAPI document: `python -m tests.contracts.examples` asks a small town every question.

The examples are stored and not made again for every document, because they contain digests that differ between machines. A test
compares them with the schemas, so they are made again after a change of an answer.
"""

import json
from typing import Any, Final

import pytest

from functions.archive import app as archive
from functions.debug import app as debug
from functions.events import app as events
from infra.ops import openapi
from shared.domain.times import to_text
from shared.ports.agent_logs import LogName
from shared.ports.steps import drive
from shared.questions.agent_log import starts_on
from shared.storage.agent_logs import StoredLogs
from shared.storage.put_away import put_away
from shared.town import migrations
from tests.apis import ask, deploy, kept_past
from tests.cloud import a_cloud
from tests.replayed import a_world_with_a_past
from tests.towns import T, a_town, event
from tests.worlds import World

TOWN: Final = "my-town"
PAUSED: Final = "my-old-town"
ARCHIVED: Final = "my-first-town"
_BELOW: Final = f"/api/towns/{TOWN}"
_SEEN: Final = f"/api/agents/towns/{TOWN}"
_WINDOW: Final = {"from": to_text(T), "to": "2026-01-10T12:05:05.000Z"}
_ASKED: Final[dict[str, tuple[Any, str, str, Any]]] = {
    "get /api/health": (debug, "GET", "/api/health", None),
    "get /api/towns": (events, "GET", "/api/towns", None),
    "get /api/towns/{townId}/status": (debug, "GET", f"{_BELOW}/status", None),
    "get /api/towns/{townId}/ticks": (debug, "GET", f"{_BELOW}/ticks", None),
    "get /api/towns/{townId}/view": (debug, "GET", f"{_BELOW}/view", None),
    "get /api/towns/{townId}/timeline": (
        debug,
        "GET",
        f"{_BELOW}/timeline?start={_WINDOW['from']}&end={_WINDOW['to']}",
        None,
    ),
    "get /api/towns/{townId}/ticks/{tick}": (debug, "GET", f"{_BELOW}/ticks/2", None),
    "get /api/towns/{townId}/beads": (debug, "GET", f"{_BELOW}/beads", None),
    "get /api/towns/{townId}/beads/{beadId}": (debug, "GET", f"{_BELOW}/beads/write-parser", None),
    "get /api/towns/{townId}/agents": (debug, "GET", f"{_BELOW}/agents", None),
    "get /api/towns/{townId}/convoys": (debug, "GET", f"{_BELOW}/convoys", None),
    "get /api/towns/{townId}/config": (debug, "GET", f"{_BELOW}/config", None),
    "get /api/towns/{townId}/config/changes": (debug, "GET", f"{_BELOW}/config/changes", None),
    "get /api/towns/{townId}/events/{eventId}": (debug, "GET", f"{_BELOW}/events/updated-01", None),
    "get /api/towns/{townId}/points": (debug, "GET", f"{_BELOW}/points", None),
    "get /api/towns/{townId}/points/{txid}": (debug, "GET", f"{_BELOW}/points/2", None),
    "get /api/towns/{townId}/events": (debug, "GET", f"{_BELOW}/events", None),
    "get /api/towns/{townId}/explain/beads/{beadId}": (debug, "GET", f"{_BELOW}/explain/beads/write-parser", None),
    "get /api/towns/{townId}/explain/agents/{agentId}": (debug, "GET", f"{_BELOW}/explain/agents/mayor", None),
    "get /api/towns/{townId}/beads/{beadId}/log": (debug, "GET", f"{_BELOW}/beads/write-lexer/log", None),
    "get /api/agents/towns/{townId}/status": (debug, "GET", f"{_SEEN}/status", None),
    "get /api/agents/towns/{townId}/beads": (debug, "GET", f"{_SEEN}/beads", None),
    "get /api/agents/towns/{townId}/beads/{beadId}": (debug, "GET", f"{_SEEN}/beads/write-parser", None),
    "get /api/agents/towns/{townId}/agents": (debug, "GET", f"{_SEEN}/agents", None),
    "get /api/agents/towns/{townId}/convoys": (debug, "GET", f"{_SEEN}/convoys", None),
    "get /api/agents/towns/{townId}/explain/beads/{beadId}": (
        debug,
        "GET",
        f"{_SEEN}/explain/beads/write-parser",
        None,
    ),
    "get /api/agents/towns/{townId}/explain/agents/{agentId}": (debug, "GET", f"{_SEEN}/explain/agents/mayor", None),
    "get /api/towns/{townId}/reviews": (debug, "GET", f"{_BELOW}/reviews", None),
    "get /api/towns/{townId}/escalations": (debug, "GET", f"{_BELOW}/escalations", None),
    "get /api/towns/{townId}/rigs": (debug, "GET", f"{_BELOW}/rigs", None),
    "get /api/towns/{townId}/mail": (debug, "GET", f"{_BELOW}/mail", None),
    "get /api/towns/{townId}/mayor/messages": (debug, "GET", f"{_BELOW}/mayor/messages", None),
    "get /api/agents/towns/{townId}/reviews": (debug, "GET", f"{_SEEN}/reviews", None),
    "get /api/agents/towns/{townId}/escalations": (debug, "GET", f"{_SEEN}/escalations", None),
    "get /api/agents/towns/{townId}/rigs": (debug, "GET", f"{_SEEN}/rigs", None),
    "get /api/agents/towns/{townId}/mail": (debug, "GET", f"{_SEEN}/mail", None),
    "post /api/towns/{townId}/mayor/messages": (
        events,
        "POST",
        f"{_BELOW}/mayor/messages",
        {"text": "Plan a parser, and start it.", "messageId": "message-001"},
    ),
    "post /api/towns/{townId}/debug/reconcile-dry-run": (debug, "POST", f"{_BELOW}/debug/reconcile-dry-run", {}),
    "post /api/towns/{townId}/debug/replay-events": (debug, "POST", f"{_BELOW}/debug/replay-events", _WINDOW),
    "post /api/towns/{townId}/resume": (events, "POST", f"{_BELOW}/resume", None),
    "put /api/towns/{townId}": (events, "PUT", "/api/towns/my-second-town", {}),
    "post /api/towns/{townId}/events": (
        events,
        "POST",
        f"{_BELOW}/events",
        {"event_id": "cancelled-01", "event_type": "bead_cancelled", "bead_id": "write-lexer", "payload": {}},
    ),
    "post /api/towns/{townId}/operator/events": (
        events,
        "POST",
        f"{_BELOW}/operator/events",
        {"event_id": "paused-0001", "event_type": "town_paused", "payload": {"by": "ann"}},
    ),
    "post /api/towns/{townId}/archive": (
        archive,
        "POST",
        f"/api/towns/{PAUSED}/archive",
        {"confirm": PAUSED, "reason": "the project has ended"},
    ),
    "get /api/archived-towns": (archive, "GET", "/api/archived-towns", None),
    "post /api/towns/{townId}/bring-back": (archive, "POST", f"/api/towns/{PAUSED}/bring-back", None),
    "post /api/towns/{townId}/delete": (
        archive,
        "POST",
        f"/api/towns/{ARCHIVED}/delete",
        {"confirm": ARCHIVED, "now": True},
    ),
}
"""The route of each example, and the request that it answers: the function, the method, the path and the body."""


def a_small_town() -> World:
    """A convoy of two beads, of which the second waits for the first; one event that failed permanently."""
    town = a_town(TOWN)
    town.bead("write-lexer", title="Write the lexer").bead("write-parser", title="Write the parser")
    town.edge("write-parser", "write-lexer").convoy("parser", tracked=["write-lexer", "write-parser"], title="Parser")
    world = a_world_with_a_past(town)
    world.post(event("bead_updated", {"priority": "high"}, bead="write-parser", event_id="updated-01"), town_id=TOWN)
    world.put_raw(b'{"event_id": "mistyped-01", "event_type": "bead_cancled", "payload": {}}', town_id=TOWN)
    world.clock.move(seconds=5)
    world.run(town_id=TOWN)
    world.clock.move(minutes=5)
    world.run(town_id=TOWN)
    with migrations.readable(world.image(TOWN).content) as sql:
        [(agent_id, generation), *_] = starts_on(sql, "write-lexer")
    log = LogName(agent_id, generation, "log", "container")
    drive(StoredLogs(world.objects).keep(TOWN, log, "Write the lexer\n12 tests passed\n", at=world.clock.now()))
    _ASKED["get /api/towns/{townId}/agents/{agentId}/log"] = (debug, "GET", f"{_BELOW}/agents/{agent_id}/log", None)
    for town_id in (PAUSED, ARCHIVED):
        world.put_in(a_town(town_id).key("paused", True))
    now = world.clock.now()
    drive(put_away(world.store, kept_past(world, ARCHIVED), by="ann", reason="replaced by my-town", now=now))
    return world


def made() -> dict[str, Any]:
    """Every example by its route."""
    with pytest.MonkeyPatch.context() as patched:
        deploy(a_cloud(a_small_town()), patched)
        found: dict[str, Any] = {}
        for route, (function, method, path, body) in _ASKED.items():
            answer = ask(function, method, path, body, town=TOWN)
            assert answer.status < 300, (route, answer.document)
            found[route] = answer.document
    posted = found["post /api/towns/{townId}/events"]
    redriven = {"batchId": posted["batchId"], "accepted": ["cancelled-01:r1"]}
    forge = {"host": "github.com", "kind": "github", "project": "acme/app", "username": "x-access-token"}
    forge |= {"apiUrl": "https://api.github.com"}
    issued: dict[str, Any] = {"forge": {**forge, "expiresAt": "2026-01-10T13:00:00.000Z", "token": "ghs_example"}}
    issued |= {"reason": None, "knownHosts": None, "sshKey": None}
    kept = {"agentId": "polecat-toast", "generation": 3, "kind": "log", "keptBytes": 16, "cut": False}
    return {
        **found,
        "put /api/towns/{townId}/agents/{agentId}/log": kept,
        "post /api/towns/{townId}/events/{eventId}/redrive": redriven,
        "post /api/towns/{townId}/agents/{agentId}/refresh-token": issued,
    }


def main() -> None:
    """Write the examples and the document that contains them."""
    openapi.EXAMPLES.write_text(json.dumps(made(), indent=1) + "\n", encoding="utf-8")
    openapi.main()


if __name__ == "__main__":
    main()
