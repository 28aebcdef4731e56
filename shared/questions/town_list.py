"""The list of towns: for each, its newest commit, or why it cannot be read."""

from collections.abc import Sequence

from shared.domain.errors import TownError
from shared.domain.shapes import Time, answer
from shared.ports.steps import Steps
from shared.ports.town_store import TownStore


@answer
class TownEntry:
    """A town with its last tick and the time when the next is due; `problem` says why it cannot be read."""

    town_id: str
    tick: int | None
    time: Time | None
    next_due_at: Time | None
    problem: str | None


@answer
class TownList:
    """A page of towns, in the order of their keys. `next` is the `after` for the next page, null on the last one."""

    towns: tuple[TownEntry, ...]
    next: str | None


def entries(town_ids: Sequence[str], store: TownStore) -> Steps[tuple[TownEntry, ...]]:
    """An entry for each of these towns."""
    found: tuple[TownEntry, ...] = ()
    for town_id in town_ids:
        found = (*found, (yield from _entry(town_id, store)))
    return found


def _entry(town_id: str, store: TownStore) -> Steps[TownEntry]:
    try:
        facts = (yield from store.load(town_id)).facts
    except TownError as error:
        return TownEntry(town_id, None, None, None, error.message)
    return TownEntry(town_id, facts.tick_no, facts.time, facts.next_due, None)
