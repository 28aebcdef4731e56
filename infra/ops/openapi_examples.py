"""Examples of answers for the OpenAPI document: a small town in memory lives through a few ticks, and each question is asked of it.

What would change with every edit of the code, such as its version and digests, is replaced by a constant of the same form.
"""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from functions.debug.answers import Health
from functions.events.answers import Batch, CreatedTown, Report
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.shapes import document
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.intake import ingest
from shared.ports.steps import Steps, drive
from shared.questions import bead_list, bead_view, event_list, explain, point_list, rosters, status, tick_list
from shared.questions.filters import BeadFilter, EventFilter
from shared.replay import debug_calls
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.runner.worker import run_town
from shared.storage.restore import Archive
from shared.storage.towns import ObjectTownStore

TOWN: Final = "my-town"
BEAD: Final = "5649000b"
_START: Final = datetime(2026, 1, 10, 12, tzinfo=UTC)
_CHANGING: Final = re.compile(r"\b[0-9a-f]{16,64}\b")
_EVENTS: Final = (
    {
        "event_id": "rig-work-1",
        "event_type": "rig_registered",
        "payload": {"rig_id": "work", "name": "work", "git_url": "https://git.example.com/me/work.git"},
    },
    {
        "event_id": "bead-lexer-1",
        "event_type": "bead_created",
        "payload": {
            "bead": {
                "bead_id": BEAD,
                "type": "issue",
                "title": "Write the lexer",
                "rig_id": "work",
                "labels": ["gt:held"],
            }
        },
    },
    {
        "event_id": "convoy-1",
        "event_type": "convoy_created",
        "payload": {
            "convoy_id": "c0de0000",
            "title": "Build a parser",
            "rig_id": "work",
            "tasks": [{"title": "Write the parser"}],
        },
    },
)


BODIES: Final[dict[tuple[str, str], Any]] = {
    ("put", "/api/towns/{townId}"): {"config": {"max_polecats_per_rig": 3}, "paused": False},
    ("post", "/api/towns/{townId}/events"): {"events": list(_EVENTS)},
    ("post", "/api/towns/{townId}/debug/reconcile-dry-run"): {"observe": False, "now": "2026-01-10T12:05:00Z"},
    ("post", "/api/towns/{townId}/debug/replay-events"): {
        "from": "2026-01-10T12:01:00Z",
        "to": "2026-01-10T12:02:00Z",
        "overrides": {"config": {"max_polecats_per_rig": 1}, "shiftMs": 60000},
    },
}
"""An example of the body of each route that takes one."""


@dataclass
class _Clock:
    """A clock that stands still until it is moved."""

    at: datetime = _START

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@cache
def examples() -> dict[tuple[str, str], Any]:
    """An example of the answer of each route, by method and path."""
    objects, clock = MemoryObjects(), _Clock()
    around = Surroundings(store=ObjectTownStore(objects), clock=clock)
    _live(around, clock)
    past = StoredPast(objects, objects)
    at = clock.now()
    below = "/api/towns/{townId}"
    agent = drive(rosters.agents(TOWN, around.store)).agents[0].agent_id
    window = {"from": to_text(_START + timedelta(minutes=1)), "to": to_text(at)}
    questions: dict[tuple[str, str], Steps[Any]] = {
        ("get", f"{below}/status"): status.status(TOWN, around),
        ("get", f"{below}/ticks"): tick_list.ticks(TOWN, past, limit=1),
        ("get", f"{below}/beads"): bead_list.beads(TOWN, around.store, BeadFilter(), limit=1),
        ("get", f"{below}/beads/{{beadId}}"): bead_view.bead(TOWN, BEAD, around.store),
        ("get", f"{below}/agents"): rosters.agents(TOWN, around.store),
        ("get", f"{below}/convoys"): bead_list.convoys(TOWN, around.store),
        ("get", f"{below}/config"): rosters.settings(TOWN, around.store),
        ("get", f"{below}/points"): point_list.points(Archive(objects, objects, TOWN), limit=2),
        ("get", f"{below}/events"): event_list.events(TOWN, around.store, past, EventFilter(), limit=2),
        ("get", f"{below}/explain/beads/{{beadId}}"): explain.explain_bead(TOWN, BEAD, past, now=at),
        ("get", f"{below}/explain/agents/{{agentId}}"): explain.explain_agent(TOWN, agent, past, now=at),
        ("post", f"{below}/debug/reconcile-dry-run"): debug_calls.reconcile_dry_run(TOWN, around, None, worker_id="w1"),
        ("post", f"{below}/debug/replay-events"): debug_calls.replay_events(TOWN, past, around, window),
    }
    found = {route: _as_json(drive(question)) for route, question in questions.items()}
    return {route: _steady(shown) for route, shown in (_spoken() | found).items()}


def _live(around: Surroundings, clock: _Clock) -> None:
    drive(found_town(TOWN, around, worker_id="w1"))
    for number, event in enumerate((*_EVENTS, _EVENTS[1])):
        clock.sleep(30)
        batch = ingest.accept(json.dumps(event).encode(), received_at=clock.now())
        drive(around.store.post(TOWN, batch.body, received_at=clock.now(), batch_id=f"batch-{number}", wake=True))
        drive(run_town(TOWN, around, worker_id=f"w{number}", force=True))


def _spoken() -> dict[tuple[str, str], dict[str, Any]]:
    """The answers of the routes that ask nothing of a town."""
    batch = "0" * 32
    return {
        ("get", "/api/health"): document(Health("prod", "1.4.2", "0" * 16)),
        ("get", "/api/towns"): {"towns": [TOWN], "next": None},
        ("put", "/api/towns/{townId}"): document(CreatedTown(TOWN, 1, "0" * 64)),
        ("post", "/api/towns/{townId}/events"): document(Report(batch, ("bead-lexer-1",), None)),
        ("post", "/api/towns/{townId}/events/{eventId}/redrive"): document(Batch(batch, ("event-001:r1",))),
    }


def _as_json(value: Any) -> Any:
    return value if isinstance(value, dict) else document(value)


def _steady(value: Any) -> Any:
    if isinstance(value, str):
        return _CHANGING.sub(lambda found: "0" * len(found[0]), value)
    if isinstance(value, dict):
        return {
            name: "3.50.4" if name in ("sqliteVersion", "sqlite_version") else _steady(each)
            for name, each in value.items()
        }
    return [_steady(each) for each in value] if isinstance(value, list) else value
