"""Numbers for rows of an import that have none: events, audit lines and effects of a town that keeps only their times."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from shared.domain.times import from_text, parse_iso, to_text
from shared.moving.foreign_rows import GivenRow, NotRead

_TIMES: Final = {
    "town_events": ("received_at", "created_at"),
    "bead_events": ("created_at",),
    "outbox": ("created_at",),
}


def numbered(table: str, given: Sequence[GivenRow]) -> tuple[list[GivenRow], list[NotRead]]:
    """The rows of a table with a number in each, and a note if some had none.

    Rows without a number are numbered by their times, after those that have one; rows of one time keep their order. An event
    without a time of receipt was received when it was made, and one without a source came from outside.
    """
    rows = [_received(row) for row in given] if table == "town_events" else list(given)
    without = [place for place, row in enumerate(rows) if row.values.get("seq") is None] if table in _TIMES else []
    if not without:
        return rows, []
    highest = max((seq for row in rows if isinstance(seq := row.values.get("seq"), int)), default=0)
    without.sort(key=lambda place: [_sortable(rows[place].values.get(name)) for name in _TIMES[table]])
    for number, place in enumerate(without, start=max(highest, 0) + 1):
        rows[place] = replace(rows[place], values={**rows[place].values, "seq": number})
    found = "1 row has" if len(without) == 1 else f"{len(without)} rows have"
    return rows, [NotRead(table, "", "seq", f"{found} no number; numbered by their times", "kept")]


def stored_time(text: str) -> str:
    """A time in the stored form. A text that is not a time is returned as it is."""
    try:
        from_text(text)
    except ValueError:
        try:
            return to_text(parse_iso(text))
        except (ValueError, OverflowError):
            return text
    return text


def _received(row: GivenRow) -> GivenRow:
    values = dict(row.values)
    if values.get("received_at") is None:
        values["received_at"] = values.get("created_at")
    if values.get("source") is None:
        values["source"] = "ingest"
    return replace(row, values=values)


def _sortable(value: object) -> str:
    return stored_time(value) if isinstance(value, str) else ""
