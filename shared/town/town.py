"""The town during one tick: the open database and the tick that writes to it."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shared.domain.config import EffectiveSettings, effective
from shared.domain.errors import RowUnreadable
from shared.domain.report import BusinessEvent
from shared.domain.tick import Tick
from shared.domain.usage import Usage
from shared.town.arrivals import Arrivals
from shared.town.rows import RIG_COLUMNS, Rig, rig_of
from shared.town.town_keys import TownKeys


@dataclass(frozen=True, slots=True)
class Proposal:
    """A bead that an agent has proposed in this tick."""

    bead_id: str
    title: str
    priority: str
    agent_id: str


@dataclass(frozen=True, slots=True)
class Said:
    """An event that is being applied, and who sent it, in words."""

    event_id: str
    by: str


class Noted(NamedTuple):
    """How much a tick had noted at some moment, which `Town.forget_since` goes back to."""

    business_events: int
    proposals: int
    config_changed: bool
    used: Usage
    arrivals: int


@dataclass(slots=True)
class AgentNames:
    """The names that agents have. `numbered`: every name with a number below this one, from the first on, is among them."""

    taken: set[str]
    numbered: int


@dataclass(slots=True)
class Town:
    """The state that events and actions change. Only `shared.town` runs statements on `sql`.

    `said` is the event that is being applied, if somebody's token sent it: the audit trail keeps who said what it changes.
    `unreadable` collects the rows that could not be read, by (table, key), for invariant 1. `config_changed` means that an
    event stored another configuration, which applies from the next tick on. `deleted_beads` means that a bead was deleted,
    which may have marked pending events as processed. `used` is what agents were counted to use in this tick. `agent_names` are
    the names that agents have, as far as somebody asked and nobody changed one since. `stopped` are the agents and generations
    that may have a stop in the outbox, once somebody has asked: all others have none.
    """

    sql: sqlite3.Connection
    tick: Tick
    unreadable: dict[tuple[str, str], str] = field(default_factory=dict)
    config_changed: bool = False
    deleted_beads: bool = False
    next_audit_seq: int = 0
    next_event_seq: int = 0
    next_effect_seq: int = 0
    said: Said | None = None
    arrivals: Arrivals = field(default_factory=Arrivals)
    business_events: list[BusinessEvent] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    used: Usage = field(default_factory=Usage)
    agent_names: AgentNames | None = None
    stopped: set[tuple[str, int]] | None = None

    @property
    def keys(self) -> TownKeys:
        """The town keys, which are read and stored as attributes."""
        return TownKeys(self.sql)

    def rig(self, rig_id: str | None) -> Rig | None:
        """One rig, or None."""
        if rig_id is None:
            return None
        row = self.sql.execute(f"SELECT {RIG_COLUMNS} FROM rigs g WHERE g.id = :id", {"id": rig_id}).fetchone()  # noqa: S608
        return None if row is None else rig_of(row)

    def settings(self, rig_id: str | None) -> EffectiveSettings:
        """The settings that apply to a rig, or to the town if there is no such rig."""
        rig = self.rig(rig_id)
        return effective(self.tick.config, None if rig is None else rig.config)

    def note_unreadable(self, error: RowUnreadable) -> None:
        """Note a row that could not be read, for invariant 1."""
        self.unreadable[(error.table, error.key)] = error.problem

    def business_event(self, name: str, data: Mapping[str, object]) -> None:
        """Note a business event for the journal and the log."""
        self.business_events.append(BusinessEvent(name, data))

    def noted(self) -> Noted:
        """A mark for `forget_since`: what was noted so far."""
        return Noted(
            len(self.business_events), len(self.proposals), self.config_changed, self.used, self.arrivals.mark()
        )

    def forget_since(self, noted: Noted) -> None:
        """Go back to a mark, because a savepoint undoes only the database. Arrivals that have got rows since are arrivals again."""
        del self.business_events[noted.business_events :]
        del self.proposals[noted.proposals :]
        self.config_changed = noted.config_changed
        self.used = noted.used
        self.arrivals.undo(noted.arrivals)
        self.agent_names = None

    def next_free_effect_seq(self) -> int:
        """The next sequence number of the outbox."""
        number: int = self.sql.execute("SELECT COALESCE(MAX(seq), 0) + 1 FROM outbox").fetchone()[0]
        return number

    def has_work_in_progress(self) -> bool:
        """Whether an agent is working or a merge request is in progress."""
        row = self.sql.execute(
            "SELECT EXISTS (SELECT 1 FROM agent_metadata WHERE status = 'working') "
            "OR EXISTS (SELECT 1 FROM beads WHERE type = 'merge_request' AND status = 'in_progress')"
        ).fetchone()
        return bool(row[0])
