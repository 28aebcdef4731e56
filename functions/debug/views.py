"""Documents about a committed image, computed on a private copy in memory that is never written back."""

import json
from typing import Final

from functions.debug.answers import TicksDocument
from shared.ports.town_past import JournalRow, journal_row
from shared.ports.town_store import TownImage
from shared.town import database, journal

ANSWER_SIZE: Final = 4_500_000
"""The most bytes of journal rows in one answer; a Lambda may return 6 MB."""


def ticks_document(image: TownImage, *, after: int | None, limit: int) -> TicksDocument:
    """Journal rows: the newest ones, or those after tick `after`. `next` is the `after` for the next page, if there is one."""
    with database.opened(image.content) as sql:
        database.check_identity(sql, image.town_id)
        found = journal.rows(sql, limit=limit, after=after or 0, oldest=after is not None)
    rows = [journal_row(row) for row in found]
    shown: list[JournalRow] = []
    size = 0
    for row in rows if after is not None else reversed(rows):
        size += len(json.dumps(row))
        if size > ANSWER_SIZE:
            break
        shown.append(row)
    if after is None:
        shown.reverse()
    more = bool(shown) and shown[-1]["tick_no"] < image.facts.tick_no
    return {"townId": image.town_id, "ticks": shown, "next": shown[-1]["tick_no"] if more else None}
