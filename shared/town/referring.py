"""Queries about what refers to a bead or a rig, so that nothing is removed that something still needs."""

from collections.abc import Sequence

from shared.domain import canonical
from shared.town.town import Town
from shared.town.town_keys import TownKeys


def belongings(town: Town, bead_id: str) -> list[str]:
    """The ids of the beads that exist only for the sake of a bead, at any depth: its reviews, its parts, what follows up on these.

    The members of a convoy are not among them, but its landing reviews are.
    """
    rows = town.sql.execute(
        "WITH RECURSIVE below(id) AS (VALUES (:id) "
        "UNION SELECT d.bead_id FROM below w CROSS JOIN bead_dependencies d ON d.depends_on_bead_id = w.id "
        "AND d.dependency_type = 'tracks' CROSS JOIN beads m ON m.bead_id = d.bead_id AND m.type = 'merge_request' "
        "UNION SELECT c.bead_id FROM below w CROSS JOIN beads c ON c.parent_bead_id = w.id) "
        "SELECT id FROM below WHERE id <> :id ORDER BY id",
        {"id": bead_id},
    ).fetchall()
    return [row[0] for row in rows]


def first_live(town: Town, bead_ids: Sequence[str]) -> tuple[str, str] | None:
    """Id and status of the first of these beads that is not over, or that an agent is hooked to; None if there is none."""
    row: tuple[str, str] | None = town.sql.execute(
        "SELECT b.bead_id, IIF(a.bead_id IS NULL, b.status, 'worked on by ' || a.bead_id) FROM json_each(:ids) i "
        "CROSS JOIN beads b ON b.bead_id = i.value LEFT JOIN agent_metadata a ON a.current_hook_bead_id = b.bead_id "
        "WHERE b.status NOT IN ('closed', 'failed') OR a.bead_id IS NOT NULL ORDER BY b.bead_id LIMIT 1",
        {"ids": canonical.dumps(list(bead_ids))},
    ).fetchone()
    return row


def first_dependent(town: Town, bead_ids: Sequence[str]) -> tuple[str, str] | None:
    """The first live bead, beside these, that depends on one of them or names it in its metadata, and that one."""
    row: tuple[str, str] | None = town.sql.execute(
        "SELECT d.bead_id, i.value FROM json_each(:ids) i CROSS JOIN bead_dependencies d ON d.depends_on_bead_id = i.value "
        "AND d.dependency_type = 'blocks' CROSS JOIN beads b ON b.bead_id = d.bead_id "
        "AND b.status NOT IN ('closed', 'failed') "
        "WHERE d.bead_id NOT IN (SELECT value FROM json_each(:ids)) ORDER BY d.bead_id, i.value LIMIT 1",
        {"ids": canonical.dumps(list(bead_ids))},
    ).fetchone()
    if row is not None:
        return row
    named: tuple[str, str] | None = town.sql.execute(
        "SELECT b.bead_id, i.value FROM json_each(:types) t CROSS JOIN beads b ON b.type = t.value "
        "AND b.status IN ('open', 'in_progress', 'in_review') CROSS JOIN json_each(:ids) i "
        "WHERE instr(b.metadata, json_quote(i.value)) > 0 AND b.bead_id NOT IN (SELECT value FROM json_each(:ids)) "
        "ORDER BY b.bead_id, i.value LIMIT 1",
        {
            "ids": canonical.dumps(list(bead_ids)),
            "types": canonical.dumps(["issue", "merge_request", "convoy", "molecule", "escalation"]),
        },
    ).fetchone()
    return named


def first_member(town: Town, convoy_id: str) -> str | None:
    """The first bead in a convoy, but for its landing reviews."""
    row = town.sql.execute(
        "SELECT d.bead_id FROM bead_dependencies d CROSS JOIN beads b ON b.bead_id = d.bead_id AND b.type <> 'merge_request' "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' ORDER BY d.bead_id LIMIT 1",
        {"id": convoy_id},
    ).fetchone()
    return None if row is None else row[0]


def first_unfinished_effect(town: Town, bead_ids: Sequence[str]) -> str | None:
    """The first of these beads that an effect is about which has not ended."""
    row = town.sql.execute(
        "SELECT o.subject FROM outbox o WHERE o.state IN ('pending', 'claimed') "
        "AND o.subject IN (SELECT value FROM json_each(:ids)) ORDER BY o.subject LIMIT 1",
        {"ids": canonical.dumps(list(bead_ids))},
    ).fetchone()
    return None if row is None else row[0]


def first_kept(town: Town, bead_ids: Sequence[str]) -> str | None:
    """The first of these beads that the town itself looks up later: its pull request may be queued, or it is the last batch."""
    keys: TownKeys = town.keys
    kept = {*keys.queued_reviews, keys.triage.last_batch_id}
    return next((bead_id for bead_id in sorted(bead_ids) if bead_id in kept), None)


def live_in_rig(town: Town, rig_id: str, *, limit: int) -> list[str]:
    """The first live beads of a rig by id, but for its agents, and the live convoys that have a bead of it."""
    rows = town.sql.execute(
        "SELECT bead_id FROM beads WHERE rig_id = :id AND status IN ('open', 'in_progress', 'in_review') AND type <> 'agent' "
        "UNION SELECT c.bead_id FROM beads c CROSS JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id "
        "AND d.dependency_type = 'tracks' CROSS JOIN beads b ON b.bead_id = d.bead_id AND b.rig_id = :id "
        "WHERE c.type = 'convoy' AND c.status IN ('open', 'in_progress', 'in_review') ORDER BY 1 LIMIT :limit",
        {"id": rig_id, "limit": limit},
    ).fetchall()
    return [row[0] for row in rows]


def busy_in_rig(town: Town, rig_id: str) -> str | None:
    """The first agent of a rig that has a hook or a process."""
    row = town.sql.execute(
        "SELECT a.bead_id FROM beads b CROSS JOIN agent_metadata a ON a.bead_id = b.bead_id WHERE b.rig_id = :id "
        "AND b.type = 'agent' AND (a.current_hook_bead_id IS NOT NULL OR a.status IN ('working', 'stalled', 'waiting')) "
        "ORDER BY a.bead_id LIMIT 1",
        {"id": rig_id},
    ).fetchone()
    return None if row is None else row[0]
