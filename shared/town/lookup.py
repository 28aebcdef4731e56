"""Queries for events and actions: the rows that belong to one id. Rules use `shared.town.reading`, which reads whole sets."""

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeVar

from shared.domain import canonical
from shared.domain.errors import RowUnreadable
from shared.domain.notes import BeadNotes
from shared.domain.states import Label
from shared.domain.times import readable_time
from shared.town.rows import (
    AGENT_COLUMNS,
    AGENT_TABLES,
    BEAD_COLUMNS,
    REVIEW_COLUMNS,
    RIG_COLUMNS,
    Agent,
    Bead,
    Review,
    Rig,
    Row,
    agent_of,
    bead_of,
    labels_of,
    review_of,
    rig_of,
)
from shared.town.town import Town

T = TypeVar("T")
FOLLOW_UPS: Final = frozenset({Label.REWORK, Label.PR_FIXUP, Label.PR_CONFLICT, Label.PR_FEEDBACK})
"""The labels of issues on the branch of a merge request."""


def bead(town: Town, bead_id: str | None) -> Bead | None:
    """One bead. Raises RowUnreadable."""
    if bead_id is None:
        return None
    row = town.sql.execute(f"SELECT {BEAD_COLUMNS} FROM beads b WHERE b.bead_id = :id", {"id": bead_id}).fetchone()  # noqa: S608
    return None if row is None else bead_of(row)


def exists(town: Town, bead_id: str) -> bool:
    """Whether a bead with that id exists, readable or not."""
    return town.sql.execute("SELECT 1 FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone() is not None


class Creator(NamedTuple):
    """Who created a bead, as far as it is known."""

    by: str | None


def creator_of(town: Town, bead_id: str) -> Creator | None:
    """The creator of a bead, readable or not; None if there is no such bead."""
    row = town.sql.execute("SELECT created_by FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
    return None if row is None else Creator(*row)


def existing(sql: sqlite3.Connection, bead_ids: Sequence[str]) -> frozenset[str]:
    """Those of the ids that beads have, readable or not, read with one query."""
    rows = sql.execute(
        "SELECT b.bead_id FROM json_each(:ids) i JOIN beads b ON b.bead_id = i.value",
        {"ids": canonical.dumps(list(bead_ids))},
    ).fetchall()
    return frozenset(row[0] for row in rows)


def agent(town: Town, agent_id: str | None) -> Agent | None:
    """One agent with its hook. Raises RowUnreadable."""
    if agent_id is None:
        return None
    row = town.sql.execute(
        f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} WHERE a.bead_id = :id",  # noqa: S608
        {"id": agent_id},
    ).fetchone()
    return None if row is None else agent_of(row)


class NewestGeneration(NamedTuple):
    """The newest generation of an agent and what its lease depends on. `role` is as stored."""

    role: str
    generation: int
    dispatched_at: datetime | None
    hook_ended_at: datetime | None


def generation_of(town: Town, agent_id: str) -> NewestGeneration | None:
    """The newest generation of an agent; None if there is no such agent. Anything in its row may be unreadable."""
    row = town.sql.execute(
        "SELECT role, generation, dispatched_at, hook_ended_at FROM agent_metadata WHERE bead_id = :id",
        {"id": agent_id},
    ).fetchone()
    return None if row is None else NewestGeneration(*row[:2], *map(readable_time, row[2:]))


def agents(town: Town, agent_ids: Sequence[str]) -> dict[str, Agent]:
    """These agents by id, read with one query. Unreadable ones are noted for invariant 1."""
    if not agent_ids:
        return {}
    rows = town.sql.execute(
        f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} "  # noqa: S608
        "WHERE a.bead_id IN (SELECT value FROM json_each(:ids)) ORDER BY a.bead_id",
        {"ids": canonical.dumps(list(agent_ids))},
    ).fetchall()
    return {agent.id: agent for agent in readable(town, rows, agent_of)}


def review(town: Town, bead_id: str) -> Review | None:
    """The review metadata of an MR bead. Raises RowUnreadable."""
    row = town.sql.execute(
        f"SELECT {REVIEW_COLUMNS} FROM review_metadata r WHERE r.bead_id = :id",  # noqa: S608
        {"id": bead_id},
    ).fetchone()
    return None if row is None else review_of(row)


def rigs(town: Town, *, limit: int) -> list[Rig]:
    """The first rigs by creation. Unreadable ones are noted for invariant 1."""
    rows = town.sql.execute(
        f"SELECT {RIG_COLUMNS} FROM rigs g ORDER BY g.created_at, g.id LIMIT :limit",  # noqa: S608
        {"limit": limit},
    ).fetchall()
    return list(readable(town, rows, rig_of))


def mayor(town: Town) -> Agent | None:
    """The first mayor by creation."""
    row = town.sql.execute(
        f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} WHERE a.role = 'mayor' ORDER BY b.created_at, b.bead_id LIMIT 1"  # noqa: S608
    ).fetchone()
    return None if row is None else agent_of(row)


def agents_hooked_to(town: Town, bead_id: str) -> list[Agent]:
    """The agents that are hooked to a bead, by id: at most one, unless the image is damaged."""
    rows = town.sql.execute(
        f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} WHERE a.current_hook_bead_id = :id ORDER BY a.bead_id",  # noqa: S608
        {"id": bead_id},
    ).fetchall()
    return [agent_of(row) for row in rows]


def hooked_agent_ids(town: Town, bead_id: str) -> list[str]:
    """The ids of all agents, readable or not, that are hooked to a bead."""
    rows = town.sql.execute(
        "SELECT bead_id FROM agent_metadata WHERE current_hook_bead_id = :id ORDER BY bead_id", {"id": bead_id}
    ).fetchall()
    return [row[0] for row in rows]


def source_of(town: Town, review_id: str) -> Bead | None:
    """The bead that an MR bead tracks; if there are several, the one with the smallest id. Raises RowUnreadable."""
    row = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM bead_dependencies d JOIN beads b ON b.bead_id = d.depends_on_bead_id "  # noqa: S608
        "WHERE d.bead_id = :id AND d.dependency_type = 'tracks' ORDER BY b.bead_id LIMIT 1",
        {"id": review_id},
    ).fetchone()
    return None if row is None else bead_of(row)


def live_reviews_of(town: Town, source_id: str) -> list[str]:
    """Ids of open and in-progress MR beads that track a bead, ascending."""
    rows = town.sql.execute(
        "SELECT m.bead_id FROM bead_dependencies d JOIN beads m ON m.bead_id = d.bead_id "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' AND m.type = 'merge_request' "
        "AND m.status IN ('open', 'in_progress') ORDER BY m.bead_id",
        {"id": source_id},
    ).fetchall()
    return [row[0] for row in rows]


def failed_reviews_of(town: Town, source_id: str) -> list[str]:
    """Ids of failed MR beads that track a bead, ascending."""
    rows = town.sql.execute(
        "SELECT m.bead_id FROM bead_dependencies d JOIN beads m ON m.bead_id = d.bead_id "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' AND m.type = 'merge_request' "
        "AND m.status = 'failed' ORDER BY m.bead_id",
        {"id": source_id},
    ).fetchall()
    return [row[0] for row in rows]


def unresolved_blockers(town: Town, bead_id: str) -> list[Bead]:
    """The beads that block this one (spec/data-model.md 3.10), by id. Unreadable ones are noted for invariant 1."""
    dependent = bead(town, bead_id)
    if dependent is None:
        return []
    rows = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM bead_dependencies d JOIN beads b ON b.bead_id = d.depends_on_bead_id "  # noqa: S608
        "WHERE d.bead_id = :id AND d.dependency_type = 'blocks' AND b.status <> 'closed' ORDER BY b.bead_id",
        {"id": bead_id},
    ).fetchall()
    blockers = readable(town, rows, bead_of)
    return [blocker for blocker in blockers if blocker.live or failed_blocker_holds(town, blocker, dependent)]


def awaiting(town: Town, bead_id: str) -> list[Bead]:
    """The beads that depend on a bead that does not exist yet, by id. Unreadable ones are noted for invariant 1."""
    rows = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM beads b WHERE b.status <> 'closed' "  # noqa: S608
        "AND instr(b.metadata, '\"awaits\"') > 0 AND instr(b.metadata, :name) > 0 ORDER BY b.bead_id",
        {"name": canonical.dumps(bead_id)},
    ).fetchall()
    return [each for each in readable(town, rows, bead_of) if bead_id in BeadNotes.awaits.of(each.metadata)]


def failed_blocker_holds(town: Town, blocker: Bead, dependent: Bead) -> bool:
    """Whether a failed bead still blocks its dependent, according to the configuration."""
    if town.tick.config.on_failed_dependency != "hold":
        return False
    return dependent.type == "issue" or Label.REWORK in blocker.labels


def live_blocker_with_label(town: Town, bead_id: str, label: str) -> Bead | None:
    """The first live blocker of a bead, by id, that has a label."""
    return next(
        (blocker for blocker in unresolved_blockers(town, bead_id) if blocker.live and label in blocker.labels), None
    )


def children_with_label(town: Town, parent_id: str, label: str, *, live: bool = False) -> int:
    """How many beads have this parent and label: of any status, or only live ones."""
    rows = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM beads b WHERE b.parent_bead_id = :id "  # noqa: S608
        "AND (NOT :live OR b.status NOT IN ('closed', 'failed')) ORDER BY b.bead_id",
        {"id": parent_id, "live": live},
    ).fetchall()
    return sum(label in child.labels for child in readable(town, rows, bead_of))


def another_works_on(town: Town, bead: Bead, rig_id: str | None, branch: str) -> bool:
    """Whether another live issue of a rig, which is no follow-up of a merge request, has this branch."""
    rows = town.sql.execute(
        "SELECT b.labels FROM beads b WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review') "
        "AND b.rig_id IS :rig AND b.bead_id <> :id AND json_valid(b.metadata) "
        "AND json_extract(b.metadata, '$.branch') = :branch ORDER BY b.bead_id",
        {"rig": rig_id, "id": bead.id, "branch": branch},
    ).fetchall()
    return any(not FOLLOW_UPS.intersection(labels_of(row[0])) for row in rows)


def convoy_of(town: Town, bead_id: str) -> tuple[str, str | None, str | None] | None:
    """The convoy that a bead tracks: id, feature branch, merge mode; if there are several, the one with the smallest id."""
    row = town.sql.execute(
        "SELECT c.bead_id, m.feature_branch, m.merge_mode FROM bead_dependencies d "
        "JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy' "
        "LEFT JOIN convoy_metadata m ON m.bead_id = c.bead_id "
        "WHERE d.bead_id = :id AND d.dependency_type = 'tracks' ORDER BY c.bead_id LIMIT 1",
        {"id": bead_id},
    ).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def is_convoy(town: Town, bead_id: str) -> bool:
    """Whether a convoy with that id exists."""
    row = town.sql.execute("SELECT 1 FROM beads WHERE bead_id = :id AND type = 'convoy'", {"id": bead_id}).fetchone()
    return row is not None


def tracked_issues(town: Town, convoy_id: str) -> list[str]:
    """Ids of issue beads that track a convoy, ascending."""
    rows = town.sql.execute(
        "SELECT b.bead_id FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue' "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' ORDER BY b.bead_id",
        {"id": convoy_id},
    ).fetchall()
    return [row[0] for row in rows]


def live_triage_batch(town: Town) -> str | None:
    """The first live triage batch by creation."""
    rows = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM beads b WHERE b.type = 'issue' "  # noqa: S608
        "AND b.status IN ('open', 'in_progress', 'in_review') AND b.created_by = 'patrol' "
        "ORDER BY b.created_at, b.bead_id"
    ).fetchall()
    return next((batch.id for batch in readable(town, rows, bead_of) if Label.TRIAGE in batch.labels), None)


def live_escalation_about(town: Town, review_id: str, category: str) -> str | None:
    """The first live escalation of a category, by id, whose metadata names an MR bead."""
    row = town.sql.execute(
        "SELECT b.bead_id FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id "
        "WHERE b.type = 'escalation' AND b.status IN ('open', 'in_progress', 'in_review') AND e.category = :category "
        "AND json_valid(b.metadata) AND json_extract(b.metadata, '$.mr_bead_id') = :id ORDER BY b.bead_id LIMIT 1",
        {"id": review_id, "category": category},
    ).fetchone()
    return None if row is None else row[0]


def live_escalation_with_cause(town: Town, cause: str) -> str | None:
    """The first live escalation with that cause (`<reason>:<subject>`), by id."""
    row = town.sql.execute(
        "SELECT b.bead_id FROM beads b "
        "WHERE b.type = 'escalation' AND b.status IN ('open', 'in_progress', 'in_review') "
        "AND json_valid(b.metadata) AND json_extract(b.metadata, '$.cause') = :cause ORDER BY b.bead_id LIMIT 1",
        {"cause": cause},
    ).fetchone()
    return None if row is None else row[0]


def requests_about(town: Town, escalation_id: str) -> list[str]:
    """The open triage requests about an escalation, by id."""
    rows = town.sql.execute(
        "SELECT b.bead_id FROM beads b WHERE b.type = 'issue' AND b.status = 'open' "
        "AND json_valid(b.metadata) AND json_extract(b.metadata, '$.escalation_bead_id') = :id ORDER BY b.bead_id",
        {"id": escalation_id},
    ).fetchall()
    return [bead_id for (bead_id,) in rows]


def in_progress_of(town: Town, agent_id: str) -> Bead | None:
    """The bead in progress that is assigned to an agent. Of several, the one updated last; of these, the smallest id."""
    row = town.sql.execute(
        "SELECT bead_id FROM beads WHERE assignee_agent_bead_id = :agent "
        "AND type IN ('issue', 'merge_request', 'message', 'molecule', 'escalation', 'convoy') AND status = 'in_progress' "
        "ORDER BY updated_at DESC, bead_id LIMIT 1",
        {"agent": agent_id},
    ).fetchone()
    return None if row is None else bead(town, row[0])


def convoys_concerned(town: Town, bead_id: str) -> list[str]:
    """The convoys whose counts a bead can change: those that it tracks, and for an MR those that its source tracks; by id."""
    rows = town.sql.execute(
        "SELECT c.bead_id FROM bead_dependencies d JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy' "
        "WHERE d.bead_id = :id AND d.dependency_type = 'tracks' "
        "UNION SELECT c.bead_id FROM bead_dependencies s "
        "JOIN bead_dependencies d ON d.bead_id = s.depends_on_bead_id AND d.dependency_type = 'tracks' "
        "JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy' "
        "WHERE s.bead_id = :id AND s.dependency_type = 'tracks' ORDER BY 1",
        {"id": bead_id},
    ).fetchall()
    return [row[0] for row in rows]


def readable(town: Town, rows: list[Row], read: Callable[[Row], T]) -> list[T]:
    """What can be read of these rows. Unreadable ones are noted for invariant 1."""
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except RowUnreadable as error:
            town.note_unreadable(error)
    return found
