"""The orders that a recorded tick gave. A journal row only names its effects; the commit of the tick has their orders."""

from shared.domain.report import ClaimedEffect
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import standings
from shared.town import database


def orders_of(town_id: str, past: TownPast, row: JournalRow) -> Steps[tuple[ClaimedEffect, ...]]:
    """The effects that a tick claimed, with their orders; none if its commit is not kept."""
    claimed = {(each["effect_id"], each["attempt"]) for each in row["outputs"]["effects"]}
    if not claimed:
        return ()
    kept = yield from past.after_tick(town_id, row["tick_no"])
    if not kept:
        return ()
    with database.opened(kept[0].image) as sql:
        found = standings.claimed_effects(sql)
    return tuple(each for each in found if (each.effect_id, each.attempt) in claimed)
