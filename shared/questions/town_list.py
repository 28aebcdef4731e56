"""The list of towns: for each, its newest commit, or why it cannot be read."""

from collections.abc import Sequence

from shared.domain.errors import TownError
from shared.domain.shapes import Time, answer
from shared.ports.steps import Steps
from shared.ports.town_store import CommitFacts, TownStore


@answer
class TownEntry:
    """A town with its last committed tick and the due time that it set; `problem` says why the town cannot be read.

    A `nextDueAt` in the past may be out of date, because a tick that changes nothing is not committed. The town's status has
    the exact time.
    """

    town_id: str
    tick: int | None
    time: Time | None
    next_due_at: Time | None
    problem: str | None


@answer
class TownList:
    """A page of towns, in the order of their keys. `next` is the `after` of the next page, null on the last one."""

    towns: tuple[TownEntry, ...]
    next: str | None


def entries(town_ids: Sequence[str], store: TownStore) -> Steps[tuple[TownEntry, ...]]:
    """An entry for each of these towns, from their heads: no image is loaded."""
    standings = yield from store.standings(town_ids)
    return tuple(_entry(*found) for found in zip(town_ids, standings, strict=True))


def _entry(town_id: str, standing: CommitFacts | TownError) -> TownEntry:
    if isinstance(standing, TownError):
        return TownEntry(town_id, None, None, None, standing.message)
    return TownEntry(town_id, standing.tick_no, standing.time, standing.next_due, None)
