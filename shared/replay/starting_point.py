"""Finds the image from which a window can be replayed, or says since when the history of the town is kept."""

from datetime import datetime

from shared.domain.errors import Refused
from shared.domain.limits import just_after
from shared.domain.times import to_text
from shared.history.journal_rows import JournalRows
from shared.history.rerun import time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage, TownPast


def starting_point(
    town_id: str, past: TownPast, start: datetime, *, after: int | None = None
) -> Steps[tuple[PastImage, JournalRows]]:
    """The image to start from, and the journal rows after it. Raises Refused if the history of the window is not kept.

    With `after`, the window goes on after this tick, whatever the times of the ticks are.
    """
    before = yield from past.before(town_id, start) if after is None else past.up_to_tick(town_id, after)
    base = before if before is not None else (yield from past.oldest(town_id))
    rows = JournalRows(past, town_id)
    yield from rows.start_after(base.tick_no)
    if before is None or _is_after_a_gap(rows.next, base):
        since = yield from kept_since(town_id, past)
        if start < since:
            raise _too_early(since)
    return base, rows


def kept_since(town_id: str, past: TownPast) -> Steps[datetime]:
    """The earliest start of a window that can be replayed: from there on, an image and all journal rows after it are kept."""
    base = yield from past.oldest(town_id)
    row = yield from _row_after(base, past)
    while row is not None and _is_after_a_gap(row, base):
        base = yield from past.from_tick(town_id, row["tick_no"] - 1)
        row = yield from _row_after(base, past)
    return just_after(base.committed_at) if row is None else time_of(row)


def _row_after(base: PastImage, past: TownPast) -> Steps[JournalRow | None]:
    rows = yield from past.rows_after(base.town_id, base.tick_no)
    return rows[0] if rows else None


def _is_after_a_gap(row: JournalRow | None, base: PastImage) -> bool:
    """Whether the first row that is kept after an image is not the row of the tick that followed it."""
    return row is not None and row["tick_no"] > base.tick_no + 1


def _too_early(since: datetime) -> Refused:
    return Refused(
        f"from is too early: the history of this town is kept from {to_text(since)} on",
        status=400,
        path="from",
        hint=f"set `from` to {to_text(since)} or later",
    )
