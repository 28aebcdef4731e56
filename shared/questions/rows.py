"""The rows that can wait: all live beads, with the agent that is hooked to each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.town.database import Database
from shared.town.reading import TownReader
from shared.town.rows import Agent


@dataclass(frozen=True, slots=True)
class Row:
    """A bead or agent, readable or not. `agent` is hooked to it; for an agent, it is the agent itself."""

    id: str
    type: str
    status: str
    rig_id: str | None
    assignee: str | None
    agent: Agent | None

    @property
    def worked_on(self) -> bool:
        """Whether an agent works on this bead now, or it is an agent itself. Such a row waits for nothing."""
        return self.type == "agent" or (self.agent is not None and self.agent.status.busy)

    @property
    def live(self) -> bool:
        """Whether it is neither closed nor failed."""
        return self.status not in ("closed", "failed")

    @property
    def subjects(self) -> frozenset[str]:
        """The ids about which an action is an act on this row."""
        return frozenset((self.id,) if self.agent is None else (self.id, self.agent.id))


def live_rows(sql: Database, town: TownReader) -> Mapping[str, Row]:
    """Every live bead except the agents, by id, in order of creation."""
    found = sql.execute(
        "SELECT bead_id, type, status, rig_id, assignee_agent_bead_id FROM beads "
        "WHERE type IN ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule') "
        "AND status IN ('open', 'in_progress', 'in_review') ORDER BY created_at, bead_id"
    )
    return {row.id: row for row in _rows(town, found)}


def row_of(sql: Database, town: TownReader, bead_id: str) -> Row | None:
    """One bead or agent of any status; None if it does not exist."""
    found = sql.execute(
        "SELECT bead_id, type, status, rig_id, assignee_agent_bead_id FROM beads WHERE bead_id = :id", {"id": bead_id}
    )
    return next(_rows(town, found), None)


def _rows(town: TownReader, found: Iterator[tuple[str, str, str, str | None, str | None]]) -> Iterator[Row]:
    for bead_id, bead_type, status, rig_id, assignee in found:
        if bead_type == "agent":
            yield Row(bead_id, bead_type, status, rig_id, assignee, town.agents_by_id.get(bead_id))
            continue
        hooked = town.hooks.get(bead_id)
        over = hooked is None or hooked.hooked is None or hooked.hooked.status.terminal
        yield Row(bead_id, bead_type, status, rig_id, assignee, None if over else hooked)
