"""A town as results find it: agents dispatched, merge requests polled, effects claimed.

It stands on the builder of all event tests and adds the outbox, the passing of time and what was appended.
"""

import json
import weakref
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.domain.ids import IdMaker
from shared.domain.states import EffectKind
from shared.events.base import EventResult
from shared.town import database, inbox, lookup, outbox
from shared.town.rows import Agent, Bead, Review
from tests.orders import an_order
from tests.unit.events.builders import NOON, a_town

T = NOON
PR = "https://git.example/acme/app/pull/7"


class SmallTown:
    """Town t1 with rig `rig-1`; `config` is both stored and in force."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.under = a_town(**(config or {})).with_key("config", config or {})
        self.town = self.under.town
        weakref.finalize(self, database.close, self.town.sql)
        self.rig("rig-1")

    def rig(self, rig_id: str, name: str | None = None, config: dict[str, Any] | None = None) -> str:
        self.under.with_rig(rig_id, **(config or {}))
        self.town.sql.execute("UPDATE rigs SET name = :name WHERE id = :id", {"name": name or rig_id, "id": rig_id})
        return rig_id

    def bead(self, bead_id: str, bead_type: str = "issue", status: str = "open", **columns: Any) -> str:
        self.under.with_bead(bead_id, type=bead_type, status=status, **columns)
        return bead_id

    def agent(self, agent_id: str = "p", role: str = "polecat", status: str = "working", **columns: Any) -> str:
        self.under.with_agent(agent_id, role=role, status=status, **columns)
        return agent_id

    def worker(self, agent_id: str = "p", bead_id: str = "b", *, outcome: str = "pending", **columns: Any) -> str:
        """An agent that works on a bead as its newest dispatch, generation 1 unless given."""
        return self.agent(
            agent_id,
            **{"generation": 1, **columns},
            hook=bead_id,
            last_dispatch_bead_id=bead_id,
            last_dispatch_outcome=outcome,
        )

    def merge_request(self, bead_id: str = "m", status: str = "in_progress", **columns: Any) -> str:
        """An MR of source `<id>-source` with a pull request, being polled."""
        source = self.bead(f"{bead_id}-source", status="in_review", rig_id="rig-1")
        columns.setdefault("rig_id", "rig-1")
        pr_url = columns.pop("pr_url", PR)
        ready_since = columns.pop("ready_since", None)
        self.bead(bead_id, "merge_request", status, **columns)
        self.under.insert(
            "review_metadata", bead_id=bead_id, branch="gt/toast/1", pr_url=pr_url, auto_merge_ready_since=ready_since
        )
        self.edge(bead_id, source, "tracks")
        return bead_id

    def edge(self, bead_id: str, other: str, kind: str = "blocks") -> None:
        self.under.with_edge(bead_id, other, kind)

    def effect(
        self, kind: EffectKind, of: str, generation: int = 1, *, claims: int = 1, **payload: Any
    ) -> outbox.Effect:
        """An effect that was claimed so many times."""
        assert outbox.request(self.town, an_order(kind, of, generation, **payload), of, generation)
        found = next(effect for effect in outbox.unfinished(self.town) if (effect.kind, effect.subject) == (kind, of))
        for _ in range(claims):
            outbox.claim(self.town, found)
        return self.effect_row(found.id)

    def effect_row(self, effect_id: str) -> outbox.Effect:
        return next(found for kind in EffectKind if (found := outbox.get(self.town, effect_id, kind)) is not None)

    def later(self, span: timedelta) -> "SmallTown":
        """The next tick, so much later."""
        tick = self.town.tick
        self.town.tick = replace(tick, number=tick.number + 1, now=tick.now + span, ids=IdMaker("t1", tick.number + 1))
        return self

    def apply(
        self, event_type: str, *, agent_id: str | None = None, bead_id: str | None = None, **payload: Any
    ) -> EventResult:
        """Apply one event as the drain would."""
        with database.savepoint(self.town.sql):
            return self.under.hears(event_type, payload, agent_id=agent_id, bead_id=bead_id)

    def appended(self) -> list[tuple[str, str | None, dict[str, Any]]]:
        """The derived events that wait: type, bead, payload. They are taken out, so that each is seen once."""
        facts = inbox.pending(self.town, after=-1)
        for fact in facts:
            inbox.remove(self.town, fact)
        return [(fact.event_type, fact.bead_id, json.loads(fact.payload)) for fact in facts]

    def the_bead(self, bead_id: str) -> Bead:
        found = lookup.bead(self.town, bead_id)
        assert found is not None
        return found

    def the_agent(self, agent_id: str = "p") -> Agent:
        found = lookup.agent(self.town, agent_id)
        assert found is not None
        return found

    def the_review(self, bead_id: str = "m") -> Review:
        found = lookup.review(self.town, bead_id)
        assert found is not None
        return found

    def audit(self, bead_id: str) -> list[str]:
        return self.under.audit(bead_id)

    def beads_of(self, bead_type: str) -> list[Bead]:
        rows = self.town.sql.execute(
            "SELECT bead_id FROM beads WHERE type = :type ORDER BY bead_id", {"type": bead_type}
        )
        return [self.the_bead(row[0]) for row in rows.fetchall()]
