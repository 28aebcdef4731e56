"""Rigs: the repositories of a town, with their names and overrides."""

from collections.abc import Mapping

from shared.domain import canonical
from shared.domain.errors import RowUnreadable
from shared.town.rows import RIG_COLUMNS, Rig, rig_of
from shared.town.town import Town
from shared.town.writing import agents


def create(
    town: Town, rig_id: str, *, name: str, git_url: str, default_branch: str, config: Mapping[str, object]
) -> None:
    """Insert a rig. The caller has checked that no other rig has the name."""
    town.sql.execute(
        "INSERT INTO rigs (id, name, git_url, default_branch, config, created_at) "
        "VALUES (:id, :name, :git_url, :branch, :config, :now)",
        {
            "id": rig_id,
            "name": name,
            "git_url": git_url,
            "branch": default_branch,
            "config": canonical.dumps(dict(config)),
            "now": town.tick.now_text,
        },
    )


def update(
    town: Town,
    rig_id: str,
    *,
    name: str,
    git_url: str,
    default_branch: str | None = None,
    config: Mapping[str, object] | None = None,
) -> None:
    """Replace the given values of a rig. None keeps the branch or the overrides."""
    town.sql.execute(
        "UPDATE rigs SET name = :name, git_url = :git_url, default_branch = COALESCE(:branch, default_branch), "
        "config = COALESCE(:config, config) WHERE id = :id",
        {
            "id": rig_id,
            "name": name,
            "git_url": git_url,
            "branch": default_branch,
            "config": None if config is None else canonical.dumps(dict(config)),
        },
    )


def pin_repository(town: Town, rig_id: str, repository_id: str | None) -> None:
    """Store the forge's id of the rig's repository; None forgets it, so that the next poll stores it anew."""
    town.sql.execute(
        "UPDATE rigs SET forge_repository_id = :repository WHERE id = :id AND forge_repository_id IS NOT :repository",
        {"id": rig_id, "repository": repository_id},
    )


def is_at_wrong_repository(town: Town, rig_id: str) -> bool:
    """Whether an MR of the rig waits because its pull request or the rig is at another repository than before."""
    row = town.sql.execute(
        "SELECT 1 FROM beads WHERE type = 'merge_request' AND status = 'in_progress' AND rig_id = :id "
        "AND json_valid(metadata) AND json_extract(metadata, '$.obstacle') = 'wrong_repository' LIMIT 1",
        {"id": rig_id},
    ).fetchone()
    return row is not None


def exists(town: Town, rig_id: str) -> bool:
    """Whether a rig with that id exists, readable or not."""
    return town.sql.execute("SELECT 1 FROM rigs WHERE id = :id", {"id": rig_id}).fetchone() is not None


def named(town: Town, name: str) -> str | None:
    """The id of the rig with that name."""
    row = town.sql.execute("SELECT id FROM rigs WHERE name = :name", {"name": name}).fetchone()
    return None if row is None else row[0]


def readable(town: Town) -> list[Rig]:
    """All rigs in order of id. Unreadable ones are noted for invariant 1."""
    rigs = []
    for row in town.sql.execute(f"SELECT {RIG_COLUMNS} FROM rigs g ORDER BY g.id").fetchall():  # noqa: S608
        try:
            rigs.append(rig_of(row))
        except RowUnreadable as error:
            town.note_unreadable(error)
    return rigs


def has_live_beads(town: Town, rig_id: str) -> bool:
    """Whether the rig has live beads besides its agents."""
    row = town.sql.execute(
        "SELECT 1 FROM beads WHERE rig_id = :id AND status IN ('open', 'in_progress', 'in_review') AND type <> 'agent' "
        "LIMIT 1",
        {"id": rig_id},
    ).fetchone()
    return row is not None


def remove(town: Town, rig_id: str) -> None:
    """Delete a rig with its agents. Its beads stay, without a rig."""
    agent_ids = town.sql.execute(
        "SELECT b.bead_id FROM beads b JOIN agent_metadata a ON a.bead_id = b.bead_id "
        "WHERE b.rig_id = :id ORDER BY b.bead_id",
        {"id": rig_id},
    ).fetchall()
    for (agent_id,) in agent_ids:
        agents.delete(town, agent_id)
    town.sql.execute("UPDATE beads SET rig_id = NULL WHERE rig_id = :id", {"id": rig_id})
    town.sql.execute("DELETE FROM rigs WHERE id = :id", {"id": rig_id})
