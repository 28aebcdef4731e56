"""What a restore in place leaves behind: beads that were filed after the restored commit, and settings that go back."""

from typing import Final

from shared.domain.shapes import answer
from shared.ports.steps import Steps
from shared.ports.town_past import TownPast
from shared.questions import setting_changes
from shared.questions.setting_changes import SettingChange
from shared.storage.restore import KeptPast, RestorePoint
from shared.town import migrations

NAMED: Final = 50
_OWN: Final = "SELECT bead_id, title, type, status FROM beads WHERE type <> 'agent' ORDER BY created_at, bead_id"


@answer
class LeftBead:
    """A bead of which the town knows nothing after the restore, with its last status."""

    bead_id: str
    title: str
    type: str
    status: str


@answer
class LeftBehind:
    """What the newest commit has and the restored one does not: at most 50 of the beads, of which there are `beadCount`.

    `settings` go back from their old value, that of the newest commit, to the new one, that of the restored commit.
    """

    beads: tuple[LeftBead, ...]
    bead_count: int
    settings: tuple[SettingChange, ...]


@answer
class PointView:
    """A restore point of a town, and what a restore in place would leave behind of the present town."""

    town_id: str
    point: RestorePoint
    left: LeftBehind


def point_view(kept: KeptPast, past: TownPast, txid: int) -> Steps[PointView]:
    """A commit that can be restored. Raises Refused (404) if it cannot, UnknownTown, DamagedImage."""
    old = yield from kept.at_txid(txid)
    newest = yield from past.newest(kept.town_id)
    return PointView(kept.town_id, old.point, left_behind(newest.image, old.image))


def left_behind(newest: bytes, restored: bytes) -> LeftBehind:
    """What a town that goes from one image to the other one leaves behind. Beads in its archive are not left."""
    with migrations.readable(restored) as sql:
        kept = {row[0] for row in sql.execute("SELECT bead_id FROM beads ORDER BY bead_id")}
    with migrations.readable(newest) as sql:
        gone = [LeftBead(*row) for row in sql.execute(_OWN).fetchall() if row[0] not in kept]
    return LeftBehind(tuple(gone[:NAMED]), len(gone), setting_changes.between_images(newest, restored))
