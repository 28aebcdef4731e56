"""Convoys: progress, landing, the staged flag."""

from shared.domain.states import MergeMode
from shared.town.town import Town


def record_progress(town: Town, convoy_id: str) -> bool:
    """Store how many issues the convoy tracks and how many of them have ended (3.9); False if the counts had not changed."""
    total, done = town.sql.execute(
        "SELECT COUNT(*), COALESCE(SUM(b.status IN ('closed', 'failed')), 0) FROM bead_dependencies d "
        "JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue' "
        "WHERE d.depends_on_bead_id = :id AND d.dependency_type = 'tracks'",
        {"id": convoy_id},
    ).fetchone()
    recorded = town.sql.execute(
        "UPDATE convoy_metadata SET total_beads = :total, closed_beads = :done "
        "WHERE bead_id = :id AND (total_beads <> :total OR closed_beads <> :done)",
        {"id": convoy_id, "total": total, "done": done},
    )
    return recorded.rowcount > 0


def create_metadata(
    town: Town, convoy_id: str, *, merge_mode: MergeMode, staged: bool, feature_branch: str | None
) -> None:
    """Insert the convoy's metadata row."""
    town.sql.execute(
        "INSERT INTO convoy_metadata (bead_id, feature_branch, merge_mode, staged) VALUES (:id, :branch, :mode, :staged)",
        {"id": convoy_id, "branch": feature_branch, "mode": merge_mode.value, "staged": int(staged)},
    )


def is_staged(town: Town, convoy_id: str) -> bool:
    """Whether the convoy waits to be started."""
    row = town.sql.execute("SELECT staged FROM convoy_metadata WHERE bead_id = :id", {"id": convoy_id}).fetchone()
    return row is not None and row[0] == 1


def set_mode(town: Town, convoy_id: str, mode: MergeMode, feature_branch: str | None) -> None:
    """Let a convoy whose work has not begun be merged in another way."""
    town.sql.execute(
        "UPDATE convoy_metadata SET merge_mode = :mode, feature_branch = :branch WHERE bead_id = :id",
        {"id": convoy_id, "mode": mode.value, "branch": feature_branch},
    )


def mode_of(town: Town, convoy_id: str) -> str | None:
    """How the convoy is merged, as it is stored."""
    row = town.sql.execute("SELECT merge_mode FROM convoy_metadata WHERE bead_id = :id", {"id": convoy_id}).fetchone()
    return None if row is None else row[0]


def is_feature_branch(town: Town, branch: str, rig_id: str) -> bool:
    """Whether a live convoy whose beads are of this rig has this feature branch."""
    row = town.sql.execute(
        "SELECT 1 FROM beads b JOIN convoy_metadata c ON c.bead_id = b.bead_id AND c.feature_branch = :branch "
        "JOIN bead_dependencies d ON d.depends_on_bead_id = b.bead_id AND d.dependency_type = 'tracks' "
        "JOIN beads t ON t.bead_id = d.bead_id AND t.rig_id = :rig "
        "WHERE b.type = 'convoy' AND b.status IN ('open', 'in_progress', 'in_review') LIMIT 1",
        {"branch": branch, "rig": rig_id},
    ).fetchone()
    return row is not None


def start(town: Town, convoy_id: str) -> str:
    """Start a staged convoy; returns `missing`, `already` or `started`."""
    row = town.sql.execute("SELECT staged FROM convoy_metadata WHERE bead_id = :id", {"id": convoy_id}).fetchone()
    if row is None:
        return "missing"
    if row[0] == 0:
        return "already"
    town.sql.execute("UPDATE convoy_metadata SET staged = 0 WHERE bead_id = :id", {"id": convoy_id})
    return "started"


def set_landed(town: Town, convoy_id: str) -> None:
    """Note that the convoy has landed now."""
    town.sql.execute(
        "UPDATE convoy_metadata SET landed_at = :now WHERE bead_id = :id", {"id": convoy_id, "now": town.tick.now_text}
    )
