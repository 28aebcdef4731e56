"""Chains of waits: the beads that a row waits for, the beads that those wait for, and so on to the root."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from shared.domain.states import BeadStatus, BeadType
from shared.questions.holding import Holding
from shared.questions.rows import Row
from shared.questions.since import Beginnings
from shared.questions.waiting import Waiting, WaitRoot
from shared.town.database import Database
from shared.town.reading import TownReader


@dataclass(frozen=True, slots=True)
class _Ends:
    """The roots of a bead, the first of them, and the steps to it; a root is its own root."""

    first: str | None
    steps: int
    all: frozenset[str]


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

    def roots(self, waits: Mapping[str, Waiting]) -> dict[str, WaitRoot]:
        """The first bead at the end of the chains of each bead that waits for another one."""
        ends: dict[str, _Ends] = {}
        for bead_id in waits:
            self._follow(bead_id, waits, ends)
        told = {bead_id: ends[bead_id] for bead_id in waits if ends[bead_id].steps}
        return {
            bead_id: self._described(found.first, found.steps, len(found.all), waits.get(found.first))
            for bead_id, found in told.items()
            if found.first is not None
        }

    def _follow(self, start: str, waits: Mapping[str, Waiting], ends: dict[str, _Ends]) -> None:
        """Find the ends of a bead after those of the beads ahead of it. A chain may be longer than Python's stack."""
        reached, above = [start], set[str]()
        while reached:
            current = reached[-1]
            ahead = () if current in ends else self.ahead(current, waits)
            unknown = [each for each in ahead if each not in ends and each not in above]
            if unknown and current not in above:
                above.add(current)
                reached += reversed(unknown)
                continue
            reached.pop()
            above.discard(current)
            known = [ends[each] for each in ahead if each in ends]
            ends.setdefault(current, _ends_of(current, known, alone=not ahead))

    def _described(self, bead_id: str, steps: int, roots: int, waiting: Waiting | None) -> WaitRoot:
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


def _ends_of(bead_id: str, ahead: list[_Ends], *, alone: bool) -> _Ends:
    if alone:
        return _Ends(bead_id, 0, frozenset((bead_id,)))
    first = next((each for each in ahead if each.first is not None), None)
    if first is None:
        return _Ends(None, 0, frozenset())
    found = ahead[0].all if len(ahead) == 1 else frozenset().union(*(each.all for each in ahead))
    return _Ends(first.first, first.steps + 1, found)
