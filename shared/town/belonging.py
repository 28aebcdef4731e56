"""Queries about what belongs to a bead: the beads in a convoy or molecule, the follow-ups and ended reviews of a merge request."""

from shared.domain.notes import BeadNotes, BranchNotes
from shared.domain.states import BeadType, Label
from shared.town import lookup
from shared.town.rows import BEAD_COLUMNS, Bead, bead_of
from shared.town.town import Town


def type_of(town: Town, bead_id: str) -> str | None:
    """The type of a bead, readable or not; None if it does not exist."""
    row = town.sql.execute("SELECT type FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
    return None if row is None else row[0]


def live_members(town: Town, convoy_id: str) -> list[tuple[str, str]]:
    """Id and type of the live beads that track a convoy, apart from its landing MRs, ascending."""
    return town.sql.execute(
        "SELECT b.bead_id, b.type FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' AND b.type NOT IN ('merge_request', 'agent') "
        "AND b.status NOT IN ('closed', 'failed') ORDER BY b.bead_id",
        {"id": convoy_id},
    ).fetchall()


def live_children(town: Town, parent_id: str) -> list[tuple[str, str]]:
    """Id and type of the live beads that have this parent, ascending."""
    return town.sql.execute(
        "SELECT b.bead_id, b.type FROM beads b WHERE b.parent_bead_id = :id AND b.type <> 'agent' "
        "AND b.status NOT IN ('closed', 'failed') ORDER BY b.bead_id",
        {"id": parent_id},
    ).fetchall()


def ended_reworks_of(town: Town, review_id: str) -> list[Bead]:
    """The rework beads that failed only because the MR ended, by id."""
    rows = town.sql.execute(
        f"SELECT {BEAD_COLUMNS} FROM beads b WHERE b.parent_bead_id = :id AND b.status = 'failed' ORDER BY b.bead_id",  # noqa: S608
        {"id": review_id},
    ).fetchall()
    return [
        rework
        for rework in lookup.readable(town, rows, bead_of)
        if Label.REWORK in rework.labels and BeadNotes.failure_reason.of(rework.metadata) == "review_ended"
    ]


def has_live_task(town: Town, convoy_id: str) -> bool:
    """Whether a convoy tracks an issue that has neither closed nor failed."""
    row = town.sql.execute(
        "SELECT 1 FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue' "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' AND b.status NOT IN ('closed', 'failed') LIMIT 1",
        {"id": convoy_id},
    ).fetchone()
    return row is not None


def abandoned_reviews_of(town: Town, source_id: str) -> list[str]:
    """Ids of the ended MR beads of a source whose pull request may still be open, newest first."""
    rows = town.sql.execute(
        "SELECT m.bead_id FROM bead_dependencies d JOIN beads m ON m.bead_id = d.bead_id "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks' AND m.type = 'merge_request' "
        "AND m.status IN ('closed', 'failed') "
        "AND json_extract(IIF(json_valid(m.metadata), m.metadata, '{}'), '$.abandoned') = 1 "
        "ORDER BY m.created_at DESC, m.bead_id DESC",
        {"id": source_id},
    ).fetchall()
    return [row[0] for row in rows]


def tracks(town: Town, bead_id: str, convoy_id: str) -> bool:
    """Whether a bead is in a convoy."""
    row = town.sql.execute(
        "SELECT 1 FROM bead_dependencies WHERE bead_id = :bead AND depends_on_bead_id = :convoy "
        "AND dependency_type = 'tracks'",
        {"bead": bead_id, "convoy": convoy_id},
    ).fetchone()
    return row is not None


def follow_ups_of(town: Town, review_id: str) -> list[str]:
    """Ids of the live rework, feedback, conflict and fix-up beads of an MR bead, ascending: its children, those whose metadata
    names it, and the fix-ups of its pull request, unless another live MR has that pull request too.
    """
    rows = town.sql.execute(
        "SELECT b.bead_id FROM beads b LEFT JOIN review_metadata r ON r.bead_id = :id "
        "WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review') "
        "AND EXISTS (SELECT 1 FROM json_each(IIF(json_valid(b.labels), b.labels, '[]')) l "
        "WHERE l.value IN ('gt:rework', 'gt:pr-feedback', 'gt:pr-conflict', 'gt:pr-fixup')) "
        "AND (b.parent_bead_id = :id "
        "OR json_extract(IIF(json_valid(b.metadata), b.metadata, '{}'), '$.mr_bead_id') = :id "
        "OR (json_extract(IIF(json_valid(b.metadata), b.metadata, '{}'), '$.pr_url') = r.pr_url "
        "AND NOT EXISTS (SELECT 1 FROM beads o JOIN review_metadata p ON p.bead_id = o.bead_id WHERE o.type = 'merge_request' "
        "AND o.status IN ('open', 'in_progress') AND o.bead_id <> :id AND p.pr_url = r.pr_url))) ORDER BY b.bead_id",
        {"id": review_id},
    ).fetchall()
    return [row[0] for row in rows]


def task_of(town: Town, bead: Bead) -> Bead:
    """The bead for whose sake an agent works on this one: the source of a merge request and of its follow-ups, else itself."""
    review = bead
    if lookup.FOLLOW_UPS.intersection(bead.labels):
        review = lookup.bead(town, bead.parent_id or BranchNotes.mr_bead_id.of(bead.metadata)) or bead
    if review.type is not BeadType.MERGE_REQUEST:
        return review
    return lookup.source_of(town, review.id) or review


def are_neighbours(town: Town, one: Bead, other: Bead) -> bool:
    """Whether work on two beads has the same task or convoy."""
    mine, its = task_of(town, one), task_of(town, other)
    if mine.id == its.id:
        return True
    convoys = [each.id if each.type is BeadType.CONVOY else _convoy_id(town, each.id) for each in (mine, its)]
    return convoys[0] is not None and convoys[0] == convoys[1]


def _convoy_id(town: Town, bead_id: str) -> str | None:
    convoy = lookup.convoy_of(town, bead_id)
    return None if convoy is None else convoy[0]
