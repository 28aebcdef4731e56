"""A town to apply events to: real schema, in memory, at noon.

town = a_town().with_rig().with_bead("b1").with_agent("p1", hook="b1", status="working")
result = town.hears("bead_cancelled", bead_id="b1")
"""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from shared import events
from shared.domain import canonical
from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.states import EventSource
from shared.domain.tick import Tick
from shared.domain.times import from_text, to_text
from shared.events.base import EventResult
from shared.town import database
from shared.town.inbox import Fact
from shared.town.town import Town

NOON = from_text("2026-01-10T12:00:00.000Z")
TOWN_ID = "t1"
_EMPTY = database.new_image()


def ago(**span: float) -> str:
    """A stored time before noon: `ago(seconds=90)`."""
    return to_text(NOON - timedelta(**span))


class ATown:
    """A town, its rows as dicts, and a way to tell it what happened."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.sql = database.open_image(_EMPTY)
        tick = Tick(
            town_id=TOWN_ID,
            number=1,
            id="tick-1",
            now=NOON,
            config=TownConfig.model_validate(dict(config)),
            ids=IdMaker(TOWN_ID, 1),
        )
        self.town = Town(sql=self.sql, tick=tick, next_event_seq=1_000)
        self._heard = 0

    def __del__(self) -> None:
        database.close(self.sql)

    def with_rig(self, rig_id: str = "rig-1", *, default_branch: str = "main", **overrides: Any) -> Self:
        return self.insert(
            "rigs",
            id=rig_id,
            name=rig_id,
            git_url="https://github.com/acme/app.git",
            default_branch=default_branch,
            config=canonical.dumps(overrides),
            created_at=ago(days=1),
        )

    def with_bead(self, bead_id: str, **columns: Any) -> Self:
        given = {"type": "issue", "title": bead_id, "created_at": ago(hours=1), "updated_at": ago(hours=1), **columns}
        for name in ("labels", "metadata"):
            if name in given:
                given[name] = canonical.dumps(given[name])
        return self.insert("beads", bead_id=bead_id, **given)

    def with_agent(self, agent_id: str, *, role: str = "polecat", hook: str | None = None, **columns: Any) -> Self:
        self.with_bead(agent_id, type="agent", rig_id=columns.pop("rig_id", None))
        return self.insert(
            "agent_metadata",
            bead_id=agent_id,
            role=role,
            identity=agent_id,
            current_hook_bead_id=hook,
            **columns,
        )

    def with_review(self, review_id: str, *, of: str | None = None, pr_url: str | None = None, **columns: Any) -> Self:
        self.with_bead(review_id, **{"type": "merge_request", "status": "in_progress", **columns})
        self.insert("review_metadata", bead_id=review_id, branch="gt/b", target_branch="trunk", pr_url=pr_url)
        return self if of is None else self.with_edge(review_id, of, "tracks")

    def with_convoy(self, convoy_id: str, *, tasks: tuple[str, ...] = (), staged: int = 0, **columns: Any) -> Self:
        self.with_bead(convoy_id, type="convoy", **columns)
        self.insert("convoy_metadata", bead_id=convoy_id, staged=staged)
        for task in tasks:
            self.with_edge(task, convoy_id, "tracks")
        return self

    def with_edge(self, bead_id: str, depends_on: str, kind: str = "blocks") -> Self:
        return self.insert("bead_dependencies", bead_id=bead_id, depends_on_bead_id=depends_on, dependency_type=kind)

    def with_key(self, name: str, value: Any) -> Self:
        self.town.keys.store(name, value)
        return self

    def insert(self, table: str, **columns: Any) -> Self:
        names = ", ".join(columns)
        places = ", ".join(f":{name}" for name in columns)
        self.sql.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", columns)
        return self

    def hears(
        self,
        event_type: str,
        payload: Mapping[str, Any] | None = None,
        *,
        agent_id: str | None = None,
        bead_id: str | None = None,
        source: EventSource = EventSource.INGEST,
        received_at: str | None = None,
        occurred_at: str | None = None,
    ) -> EventResult:
        """Read and apply one event, as the drain does."""
        self._heard += 1
        at = received_at or self.town.tick.now_text
        fact = Fact(
            event_id=f"event-{self._heard:04}",
            seq=self._heard,
            event_type=event_type,
            agent_id=agent_id,
            bead_id=bead_id,
            payload=json.dumps(payload or {}),
            source=source.value,
            created_at=occurred_at or at,
            received_at=at,
            retry_count=0,
        )
        return events.read(fact).apply(fact, self.town)

    def outcome(self, event_type: str, payload: Mapping[str, Any] | None = None, **envelope: Any) -> str:
        """What became of one event, in the journal's words."""
        return self.hears(event_type, payload, **envelope).outcome.text

    def rows(self, table: str) -> list[dict[str, Any]]:
        """All rows of a table in key order."""
        cursor = self.sql.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def bead(self, bead_id: str) -> dict[str, Any]:
        """One bead, its labels and metadata decoded."""
        row = next(row for row in self.rows("beads") if row["bead_id"] == bead_id)
        return {**row, "labels": json.loads(row["labels"]), "metadata": json.loads(row["metadata"])}

    def agent(self, agent_id: str) -> dict[str, Any]:
        return next(row for row in self.rows("agent_metadata") if row["bead_id"] == agent_id)

    def beads_labelled(self, label: str) -> list[dict[str, Any]]:
        found = [self.bead(row["bead_id"]) for row in self.rows("beads")]
        return [bead for bead in found if label in bead["labels"]]

    def beads_of_type(self, bead_type: str) -> list[dict[str, Any]]:
        return [self.bead(row["bead_id"]) for row in self.rows("beads") if row["type"] == bead_type]

    def edges(self) -> set[tuple[str, str, str]]:
        rows = self.rows("bead_dependencies")
        return {(row["bead_id"], row["depends_on_bead_id"], row["dependency_type"]) for row in rows}

    def audit(self, bead_id: str) -> list[str]:
        """The audit of a bead, oldest first."""
        rows = sorted(self.rows("bead_events"), key=lambda row: row["seq"])
        return [row["event_type"] for row in rows if row["bead_id"] == bead_id]

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """The whole state, to show that nothing changed."""
        tables = (
            "rigs beads agent_metadata review_metadata convoy_metadata bead_dependencies escalation_metadata "
            "bead_events agent_nudges town_events town outbox"
        )
        return {table: self.rows(table) for table in tables.split()}


def a_town(**config: Any) -> ATown:
    """An empty town; settings not given have their defaults."""
    return ATown(config)
