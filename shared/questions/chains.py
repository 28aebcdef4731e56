"""Chains of waits: the beads that a row waits for, the beads that those wait for, and so on to the root."""

from collections.abc import Mapping
from functools import cached_property

from shared.domain.states import BeadStatus, BeadType
from shared.questions.holding import Holding
from shared.questions.rows import Row
from shared.questions.since import Beginnings
from shared.questions.waiting import Waiting, WaitRoot
from shared.town.database import Database
from shared.town.reading import TownReader


class Chains:
    """The chains of one town. A row waits for its blockers, an issue in review for its reviews, a convoy for its tasks.

    Edges of type `blocks` form no cycle, because the events that make them refuse one. An image may be damaged, so no bead is
    followed twice; a chain that is a cycle has no root.
    """

    def __init__(
        self, sql: Database, town: TownReader, rows: Mapping[str, Row], holding: Holding, began: Beginnings
    ) -> None:
        """Read the edges through `sql`; everything else has been read before."""
        self._sql = sql
        self._town = town
        self._rows = rows
        self._holding = holding
        self._began = began

    def ahead(self, bead_id: str, waits: Mapping[str, Waiting]) -> tuple[str, ...]:
        """The beads that a bead waits for directly, in order; none if it waits for no bead."""
        row, waiting = self._rows.get(bead_id), waits.get(bead_id)
        if row is None or waiting is None:
            return ()
        guards = {guard.guard for guard in waiting.guards}
        if "blocked_by" in guards:
            live, failed = self._holding.blockers(row)
            return (*live, *failed)
        if row.status == BeadStatus.IN_REVIEW:
            return self._holding.reviews_of(bead_id)
        return self._work.get(bead_id, ()) if row.type == BeadType.CONVOY and "staged" not in guards else ()

    def root(self, bead_id: str, waits: Mapping[str, Waiting]) -> WaitRoot | None:
        """The first bead at the end of the chains of a bead; None if it waits for no bead."""
        roots: dict[str, int] = {}
        seen, reached = {bead_id}, [(bead_id, 0)]
        while reached:
            current, steps = reached.pop()
            ahead = self.ahead(current, waits)
            if not ahead and steps:
                roots.setdefault(current, steps)
            for each in reversed(ahead):
                if each not in seen:
                    seen.add(each)
                    reached.append((each, steps + 1))
        if not roots:
            return None
        first = next(iter(roots))
        return self._told(first, roots[first], len(roots), waits.get(first))

    def _told(self, bead_id: str, steps: int, roots: int, waiting: Waiting | None) -> WaitRoot:
        row = self._rows.get(bead_id)
        if waiting is not None and row is not None:
            return WaitRoot(
                bead_id,
                row.status,
                waiting.reason,
                waiting.since,
                waiting.due_at,
                waiting.actor,
                steps,
                roots,
            )
        if row is not None and row.agent is not None:
            since = self._began.hooked(row.agent.id, bead_id)
            return WaitRoot(bead_id, row.status, "agent_working", since, None, row.agent.id, steps, roots)
        return WaitRoot(bead_id, "failed", None, self._began.moved(bead_id), None, "operator", steps, roots)

    @cached_property
    def _work(self) -> Mapping[str, tuple[str, ...]]:
        """The live tasks of each open convoy, else the live reviews of its tasks and of itself, in order of id."""
        tasks: dict[str, tuple[str, ...]] = {}
        reviews: dict[str, tuple[str, ...]] = {}
        rows = self._sql.execute(
            "SELECT d.depends_on_bead_id, d.bead_id FROM beads c CROSS JOIN bead_dependencies d "
            "ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks' "
            "WHERE c.type = 'convoy' AND c.status = 'open' ORDER BY d.depends_on_bead_id, d.bead_id"
        ).fetchall()
        for convoy, bead in rows:
            row = self._rows.get(bead)
            if row is not None and row.type == BeadType.ISSUE:
                tasks[convoy] = (*tasks.get(convoy, ()), bead)
            own = (bead,) if row is not None and row.type == BeadType.MERGE_REQUEST else self._holding.reviews_of(bead)
            reviews[convoy] = (*reviews.get(convoy, ()), *own)
        return {convoy: tasks.get(convoy) or reviews[convoy] for convoy in reviews}
