"""Past ticks: journal rows from the image and from published objects, forwards and backwards."""

import json
from functools import partial

from shared.domain.errors import Refused
from shared.domain.restores import InPlaceRestore, Lineage, restore_in
from shared.domain.shapes import Time, answer
from shared.domain.times import from_text
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import setting_changes, setting_history
from shared.questions.filters import TICKS
from shared.questions.pages import ROWS_SIZE, carried
from shared.questions.setting_changes import Changes
from shared.questions.setting_history import SettingsEvent
from shared.town import database
from shared.town.town_keys import TownKeys


@answer
class PastTick:
    """One tick: its number, its time, and its row of the journal as stored.

    `restore` is the restore in place that took this number. `discarded_by` is the number of the restore that discarded the tick:
    it ran, but the town does not remember it. `settings` are the events that changed settings, or the restore that did.
    """

    tick: int
    time: Time
    row: JournalRow
    restore: InPlaceRestore | None = None
    discarded_by: int | None = None
    settings: tuple[SettingsEvent, ...] = ()


@answer
class TickList:
    """A page of ticks, oldest first. `next` is the `after` of the next page, `previous` the `before` of the previous page.

    Either is null if there is no such page. Numbers may be missing where the journal is no longer kept. `notes` name the objects
    of the journal that cannot be read; their ticks are missing too.
    """

    town_id: str
    ticks: tuple[PastTick, ...]
    next: int | None
    previous: int | None
    notes: tuple[str, ...] = ()


def ticks(
    town_id: str, past: TownPast, *, limit: int = TICKS, after: int | None = None, before: int | None = None
) -> Steps[TickList]:
    """The first ticks after the tick `after`; otherwise the last ones before `before`, or the newest ones.

    Raises Refused (422) if both are given, UnknownTown, DamagedImage.
    """
    if after is not None and before is not None:
        raise Refused(
            "after and before exclude each other",
            status=422,
            path="before",
            hint="give `after` to go forwards, or `before` to go backwards",
        )
    past = past.around_damage()
    present = yield from past.newest(town_id)
    newest = present.tick_no
    with database.opened(present.image) as sql:
        lineage = Lineage(TownKeys(sql).restores)
    page = partial(_page, town_id, lineage, past)
    if after is not None:
        rows, more = yield from _forwards(town_id, past, limit=limit, after=after)
        first = rows[0]["tick_no"] if rows else newest + 1
        before_it = yield from past.rows_before(town_id, first)
        return (yield from page(rows, following=more, previous=first if before_it else None))
    rows, earlier = yield from _backwards(town_id, past, limit=limit, before=newest + 1 if before is None else before)
    more = bool(rows) and rows[-1]["tick_no"] < newest
    return (yield from page(rows, following=more, previous=rows[0]["tick_no"] if earlier else None))


def _page(
    town_id: str,
    lineage: Lineage,
    past: TownPast,
    rows: list[JournalRow],
    *,
    following: bool,
    previous: int | None,
) -> Steps[TickList]:
    changes = yield from setting_changes.changes_in(town_id, past, rows)
    return TickList(
        town_id=town_id,
        ticks=tuple(_tick(row, lineage, changes) for row in rows),
        next=rows[-1]["tick_no"] if rows and following else None,
        previous=previous,
        notes=past.left_out,
    )


def _tick(row: JournalRow, lineage: Lineage, changes: Changes) -> PastTick:
    discarded = lineage.discarded_by(row["tick_no"])
    by = None if discarded is None else discarded.tick
    settings = tuple(setting_history.settings_events(row, changes))
    return PastTick(row["tick_no"], from_text(row["now"]), row, restore_in(row), by, settings)


def _forwards(town_id: str, past: TownPast, *, limit: int, after: int) -> Steps[tuple[list[JournalRow], bool]]:
    """At most `limit` rows after a tick, and whether there are more."""
    taken = _Rows(limit)
    place = after
    while rows := (yield from past.rows_after(town_id, place)):
        for row in rows:
            if not taken.take(row):
                return taken.rows, True
        place = rows[-1]["tick_no"]
    return taken.rows, False


def _backwards(town_id: str, past: TownPast, *, limit: int, before: int) -> Steps[tuple[list[JournalRow], bool]]:
    """At most `limit` rows before a tick, in order, and whether there are earlier ones."""
    taken = _Rows(limit)
    place = before
    while rows := (yield from past.rows_before(town_id, place)):
        for row in reversed(rows):
            if not taken.take(row):
                return taken.rows[::-1], True
        place = rows[0]["tick_no"]
    return taken.rows[::-1], False


class _Rows:
    """The rows of a page, whose number and size are limited. It takes at least one."""

    def __init__(self, limit: int) -> None:
        self.rows: list[JournalRow] = []
        self._limit = limit
        self._size = 0

    def take(self, row: JournalRow) -> bool:
        """Take a row; returns False if the page is full."""
        size = self._size + carried(json.dumps(row))
        if len(self.rows) == self._limit or (self.rows and size > ROWS_SIZE):
            return False
        self.rows.append(row)
        self._size = size
        return True
