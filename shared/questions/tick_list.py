"""Past ticks: the rows of the journal, of the image and of the published objects alike, forwards and backwards."""

import json

from shared.domain.errors import Refused
from shared.domain.shapes import Time, answer
from shared.domain.times import from_text
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions.filters import TICKS
from shared.questions.pages import ROWS_SIZE, carried


@answer
class PastTick:
    """One tick: its number, its time, and its row of the journal as stored."""

    tick: int
    time: Time
    row: JournalRow


@answer
class TickList:
    """A page of ticks, oldest first. `next` is the `after` of the page that follows, `previous` the `before` of the one before.

    Either is null if there is no such page. Numbers may be missing where the journal is no longer kept.
    """

    town_id: str
    ticks: tuple[PastTick, ...]
    next: int | None
    previous: int | None


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
    newest = (yield from past.newest(town_id)).tick_no
    if after is not None:
        rows, more = yield from _forwards(town_id, past, limit=limit, after=after)
        first = rows[0]["tick_no"] if rows else newest + 1
        before_it = yield from past.rows_before(town_id, first)
        return _page(town_id, rows, following=more, previous=first if before_it else None)
    rows, earlier = yield from _backwards(town_id, past, limit=limit, before=newest + 1 if before is None else before)
    more = bool(rows) and rows[-1]["tick_no"] < newest
    return _page(town_id, rows, following=more, previous=rows[0]["tick_no"] if earlier else None)


def _page(town_id: str, rows: list[JournalRow], *, following: bool, previous: int | None) -> TickList:
    return TickList(
        town_id=town_id,
        ticks=tuple(PastTick(row["tick_no"], from_text(row["now"]), row) for row in rows),
        next=rows[-1]["tick_no"] if rows and following else None,
        previous=previous,
    )


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
