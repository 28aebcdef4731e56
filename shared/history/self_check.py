"""The self-check: runs a share of the production ticks again from their records, right after commit and effects.

A difference is a bug in our code (a rule that reads a clock, an unspecified order), not a fault of the town. So it raises an
alert and is counted in a metric, but is never a violation.
"""

import hashlib
from typing import Final

from shared.domain.alert import Alert
from shared.domain.errors import NoRoomLeft
from shared.domain.secret_texts import named
from shared.domain.tick import TickInput
from shared.engine import tick
from shared.engine.drain import error_text
from shared.history.differences import Difference, of_images
from shared.ports.town_store import TownImage
from shared.town import database, journal

_SCALE: Final = 1 << 32
_SHOWN: Final = 5


def chosen(tick_id: str, share: float) -> bool:
    """Whether this tick is checked. It depends only on the tick id and the share, so every worker decides the same."""
    drawn = int.from_bytes(hashlib.sha256(tick_id.encode()).digest()[:4], "big")
    return drawn < share * _SCALE


def differences(base: TownImage, committed: TownImage) -> tuple[Difference, ...]:
    """Where the committed tick diverges when it is run again on its base from its own record. Empty if it does not.

    Raises NoRoomLeft, which says nothing about the tick.
    """
    try:
        again = _again(base, committed)
    except NoRoomLeft:
        raise
    except Exception as error:  # noqa: BLE001 - a tick that fails when it is run again diverges too
        return (_other("exception", None, error_text(error), committed),)
    if again == committed.image:
        return ()
    return of_images(committed.image, again) or (
        _other("pages", "as committed", "different, although all rows are equal", committed),
    )


def alert(committed: TownImage, found: tuple[Difference, ...]) -> Alert:
    """The alert. It contains no values of rows, because these may hold what agents wrote."""
    tick_no, first = committed.facts.tick_no, found[0]
    places = [f"{each.table} {named(each.key or '')} {each.column}" for each in found[:_SHOWN]]
    return Alert(
        kind="replay_diverged",
        message=f"tick {tick_no} of town {committed.town_id} diverges when it is run again: {places[0]}",
        fingerprint=("replay_diverged", first.table, first.column),
        tags={"townId": committed.town_id},
        extra={
            "tick": tick_no,
            "places": places,
            "hint": "a rule or an action depends on something that is not in the input; `townctl replay` shows the tick",
        },
    )


def _again(base: TownImage, committed: TownImage) -> bytes:
    with database.opened(committed.image) as sql:
        (row,) = journal.rows(sql, limit=1, after=committed.facts.tick_no - 1)
    with database.opened(base.image) as sql:
        tick.run(sql, TickInput.from_record(row), town_id=base.town_id)
        return database.image_of(sql)


def _other(column: str, expected: object, got: object, committed: TownImage) -> Difference:
    return Difference("ticks", str(committed.facts.tick_no), column, expected, got)
