"""The commits that a town can be restored to, newest first, and their number; with what each commit changed in the settings."""

from typing import Final

from shared.domain.errors import Refused, TownError
from shared.domain.shapes import answer
from shared.history.found_rows import FoundRows
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import setting_changes, setting_history
from shared.questions.filters import POINTS
from shared.questions.setting_history import SettingsEvent
from shared.storage.restore import KeptPast, RestorePoint

_BLOCKS: Final = 16


@answer
class PointList:
    """The newest restore points, or the newest from before a tick, newest first; `total` counts all restore points of the town.

    Points with a smaller `epoch` are from before a restore in place. `settings` are the events with which the ticks of these
    points changed settings: the point of that tick has the change, the point before it does not. `notes` say it if the newest
    commit, or what changed the settings, cannot be read.
    """

    town_id: str
    points: tuple[RestorePoint, ...]
    total: int
    notes: tuple[str, ...] = ()
    settings: tuple[SettingsEvent, ...] = ()


def points(kept: KeptPast, past: TownPast, *, limit: int = POINTS, before: int | None = None) -> Steps[PointList]:
    """The newest restore points of a town; with `before`, the newest without that tick. Raises Refused (404), UnknownTown."""
    up_to = None if before is None else (yield from _before(kept.town_id, past, before))
    found = yield from kept.points(limit=limit, up_to=up_to)
    total = yield from kept.count_points()
    notes = yield from kept.lost()
    settings: tuple[SettingsEvent, ...] = ()
    if not notes:
        try:
            settings = yield from _settings(kept.town_id, past.around_damage(), found)
        except (
            TownError
        ) as error:  # the list is the way back, also from a schema that this code does not know: it comes without them
            notes = (f"what each commit changed in the settings cannot be read: {error.message}",)
    return PointList(kept.town_id, tuple(found), total, notes, settings)


def _before(town_id: str, past: TownPast, tick: int) -> Steps[int]:
    image = yield from past.up_to_tick(town_id, tick - 1)
    if image is None:
        raise Refused(
            f"town {town_id} has no restore point from before tick {tick}",
            status=404,
            path="before",
            hint=f"`townctl points {town_id}` lists those that are kept",
        )
    if image.tick_no + 1 < tick:
        yield from _require_tick(town_id, past, tick)
    return image.txid


def _require_tick(town_id: str, past: TownPast, tick: int) -> Steps[None]:
    """Refuse (404) a tick that the town has not had yet. Where the newest commit cannot be read, any tick may have been."""
    try:
        newest = yield from past.newest(town_id)
    except TownError:
        return
    if tick > newest.tick_no + 1:
        raise Refused(
            f"town {town_id} has no tick {tick}: its newest is {newest.tick_no}",
            status=404,
            path="before",
            hint=f"`townctl ticks {town_id}` shows its ticks",
        )


def _settings(town_id: str, past: TownPast, found: list[RestorePoint]) -> Steps[tuple[SettingsEvent, ...]]:
    newest = yield from past.newest(town_id)
    rows = FoundRows(past, town_id, newest=newest.tick_no, blocks=_BLOCKS)
    changing: list[JournalRow] = []
    for tick in sorted({point.tick for point in found if point.tick is not None}):
        row = yield from rows.of_tick(tick)
        if row is not None and setting_changes.changes_settings(row):
            changing.append(row)
    changes = yield from setting_changes.changes_in(town_id, past, changing)
    return tuple(event for row in reversed(changing) for event in setting_history.settings_events(row, changes))
