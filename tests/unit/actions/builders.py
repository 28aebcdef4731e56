"""A town to apply actions to: rows as in tests.towns, one tick at T, and questions about what came of it.

stage = on(a_town().bead("b"))
assert stage.apply(TransitionBead(...)) == Applied()
"""

import json
from dataclasses import dataclass
from typing import Any

from shared.actions import Action
from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.outcomes import ActionOutcome
from shared.domain.tick import Breaker, Tick
from shared.domain.times import to_text
from shared.town import database
from shared.town.town import Town
from tests.towns import T, TownBuilder

NOW = to_text(T)
TICK_NO = 7

Effect = tuple[str, str, int, dict[str, Any]]


@dataclass
class Stage:
    """A town in phase 9 of tick 7."""

    rows: TownBuilder
    town: Town

    def apply(self, action: Action) -> ActionOutcome:
        """Apply an action as the engine does."""
        with database.savepoint(self.town.sql):
            return action.apply(self.town)

    def refused(self, action: Action) -> ActionOutcome:
        """The outcome of an action that is not applied; it must not have changed a single byte."""
        before = self.rows.image()
        outcome = self.apply(action)
        assert self.rows.image() == before, "an action that was not applied changed the town"
        return outcome

    def bead(self, bead_id: str, *columns: str) -> Any:
        """A column of a bead, or several."""
        return self.rows.one("beads", bead_id, *columns)

    def agent(self, agent_id: str, *columns: str) -> Any:
        """A column of an agent's metadata, or several."""
        return self.rows.one("agent_metadata", agent_id, *columns)

    @property
    def effects(self) -> list[Effect]:
        """(kind, subject, generation, payload) of every effect, in order."""
        rows = self.rows.rows("SELECT kind, subject, generation, payload FROM outbox ORDER BY seq")
        return [(kind, subject, generation, json.loads(payload)) for kind, subject, generation, payload in rows]

    def audit(self, bead_id: str) -> list[tuple[Any, ...]]:
        """(event_type, old, new, metadata) of a bead's audit, in order."""
        rows = self.rows.rows(
            "SELECT event_type, old_value, new_value, metadata FROM bead_events WHERE bead_id = ? ORDER BY seq", bead_id
        )
        return [(kind, old, new, json.loads(metadata)) for kind, old, new, metadata in rows]

    def created(self, bead_type: str) -> list[str]:
        """Ids of the beads of a type that this tick made."""
        rows = self.rows.rows(
            "SELECT bead_id FROM beads WHERE type = ? AND created_at = ? ORDER BY bead_id", bead_type, NOW
        )
        return [row[0] for row in rows]


def on(rows: TownBuilder, *, draining: bool = False, breaker_open: bool = False) -> Stage:
    """The stage for a town's rows."""
    tick = Tick(
        town_id=rows.town_id,
        number=TICK_NO,
        id=f"{TICK_NO}-test",
        now=T,
        config=TownConfig.model_validate(rows.value("config")),
        ids=IdMaker(rows.town_id, TICK_NO),
        draining=draining,
        breaker=Breaker(open=breaker_open),
    )
    return Stage(rows, Town(sql=rows.sql, tick=tick, next_audit_seq=1, next_effect_seq=1))
