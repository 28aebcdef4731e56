"""What the holder of a town token may see of a town, judged from the committed image: nothing in a token says it.

A container and an operator see nothing this way. An agent sees what its work is about: its bead, the review and the source of it,
the convoy with the titles and states of the other beads in it, its mail, itself. A coordinator sees the town, but only if the town
agrees that its agent coordinates: it is the mayor, or it is hooked to a triage batch.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain.config import TownConfig
from shared.domain.errors import Refused, RowUnreadable
from shared.domain.ids import IdMaker
from shared.domain.senders import Sender
from shared.domain.states import Role
from shared.domain.tick import Tick
from shared.events.fence import is_stale
from shared.events.speakers import is_triage_batch
from shared.town import lookup
from shared.town.lookup import NewestGeneration
from shared.town.town import Town
from shared.town.writing import leases

_NOT_THIS_WAY: Final = {
    "container": "the token of a container speaks about processes only: ask with the token of the agent",
    "operator": "people ask the routes below /api/towns with a signed request, as `townctl --api URL` does",
}
_HOOK: Final = "SELECT current_hook_bead_id FROM agent_metadata WHERE bead_id = :id"
_REVIEWED: Final = (
    "SELECT m.bead_id FROM beads b JOIN beads m ON m.type = 'merge_request' AND (m.bead_id = b.parent_bead_id "
    "OR m.bead_id = IIF(json_valid(b.metadata), b.metadata ->> '$.mr_bead_id', NULL)) WHERE b.bead_id = :id "
    "ORDER BY m.bead_id"
)
"""The merge request on whose branch a rework, feedback or conflict bead works."""
_TRACKED: Final = (
    "SELECT depends_on_bead_id FROM bead_dependencies WHERE bead_id = :id AND dependency_type = 'tracks' "
    "ORDER BY depends_on_bead_id"
)
_REVIEWS: Final = (
    "SELECT d.bead_id FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'merge_request' "
    "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' ORDER BY d.bead_id"
)
_MEMBERS: Final = (
    "SELECT d.bead_id FROM bead_dependencies d WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' "
    "ORDER BY d.bead_id"
)
_IS_CONVOY: Final = "SELECT bead_id FROM beads WHERE bead_id = :id AND type = 'convoy' ORDER BY bead_id"
_MAIL: Final = "SELECT bead_id FROM beads WHERE assignee_agent_bead_id = :id AND type = 'message' ORDER BY bead_id"


@dataclass(frozen=True, slots=True)
class Sight:
    """What one agent may see. `in_full` are beads with their texts and histories, `in_lists` those and its convoy's other beads."""

    agent_id: str
    whole_town: bool
    in_full: frozenset[str] = frozenset()
    in_lists: frozenset[str] = frozenset()


def sight_of(sql: sqlite3.Connection, town_id: str, holder: Sender, *, now: datetime) -> Sight:
    """What the holder may see of the town in an open image. Raises Refused (403), which says why it may see nothing."""
    if holder.agent is None:
        raise Refused(
            f"a token of scope {holder.scope} reads nothing of a town", status=403, hint=_NOT_THIS_WAY[holder.scope]
        )
    tick = Tick(town_id, 0, "question", now, TownConfig(), IdMaker(town_id, 0))  # what a lease depends on is only `now`
    town = Town(sql, tick)
    agent_id = holder.agent
    newest = lookup.generation_of(town, agent_id)
    if newest is None:
        raise Refused(
            f"town {town_id} has no agent {agent_id} any more", status=403, hint="end: nobody waits for this agent"
        )
    _require_lease(town, holder, agent_id, newest)
    hook = next(iter(_ids(sql, _HOOK, agent_id)), None)
    if holder.scope == "coordinator" and (newest.role == Role.MAYOR or _answers_triage(town, hook)):
        return Sight(agent_id, whole_town=True)
    return _of_its_work(sql, agent_id, hook)


def _require_lease(town: Town, holder: Sender, agent_id: str, newest: NewestGeneration) -> None:
    """Refuse (403) a generation that may not speak any more. A token without one, which a person made, is the newest's."""
    if holder.generation is None:
        return
    if is_stale(newest.role, newest.generation, holder.generation):
        problem = (
            f"this token is of generation {holder.generation} of {agent_id}, and its newest is {newest.generation}"
        )
        raise Refused(problem, status=403, hint="end: another process of this agent has taken over, or will")
    if leases.is_over(town, agent_id, newest):
        problem = f"the lease of generation {holder.generation} of {agent_id} is over"
        raise Refused(problem, status=403, hint="end: the town has taken the work from this process, and stops it")


def _answers_triage(town: Town, hook: str | None) -> bool:
    try:
        batch = lookup.bead(town, hook)
    except RowUnreadable:  # then nobody can say that it is one
        return False
    return batch is not None and is_triage_batch(batch)


def _of_its_work(sql: sqlite3.Connection, agent_id: str, hook: str | None) -> Sight:
    """The beads that the work on a hook is about."""
    work = set() if hook is None else {hook, *_ids(sql, _REVIEWED, hook)}
    work |= _all(sql, _TRACKED, work)
    # what an issue tracks is its convoy, what a merge request tracks is its source: so the convoy may be one step further
    work |= _all(sql, _TRACKED, work)
    convoys = _all(sql, _IS_CONVOY, work)
    work |= _all(sql, _REVIEWS, work - convoys)
    in_full = frozenset(work | {agent_id, *_ids(sql, _MAIL, agent_id)})
    return Sight(agent_id, whole_town=False, in_full=in_full, in_lists=in_full | _all(sql, _MEMBERS, convoys))


def _all(sql: sqlite3.Connection, query: str, bead_ids: Iterable[str]) -> set[str]:
    return {found for bead_id in sorted(bead_ids) for found in _ids(sql, query, bead_id)}


def _ids(sql: sqlite3.Connection, query: str, bead_id: str) -> list[str]:
    return [found for (found,) in sql.execute(query, {"id": bead_id}) if found is not None]
