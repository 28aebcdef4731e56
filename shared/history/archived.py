"""Questions about beads that have left the image: their families are put into the private copy that is being asked."""

from collections.abc import Iterable

from shared.domain.images import Record
from shared.ports.steps import Steps
from shared.ports.town_archive import TownArchive
from shared.town import archive, database
from shared.town.town_keys import TownKeys


def fetch(
    sql: database.Database, archives: TownArchive, town_id: str, bead_ids: Iterable[str]
) -> Steps[frozenset[str]]:
    """Put those of these beads that are archived into an open private copy, with their families; returns their ids.

    With a bead come those that it depends on, so that its dependencies can be shown.
    """
    asked = list(bead_ids)
    index = TownKeys(sql).archive_index
    if not index or not asked:
        return frozenset()
    wanted = archive.unknown(sql, [*asked, *archive.awaited_with(sql, asked)])
    found = yield from archives.archived(town_id, wanted, index=index)
    beyond = archive.unknown(sql, [each for record in found.values() for each in archive.awaited_in(record)])
    more = yield from archives.archived(town_id, beyond, index=index)
    put_into(sql, [*found.values(), *more.values()])
    return frozenset(found).intersection(asked)


def put_into(sql: database.Database, records: Iterable[Record]) -> list[str]:
    """Put families into an open private copy, as far as it lacks them; returns the ids of their beads that were put there."""
    records = list(records)
    new = archive.unknown(sql, [bead_id for record in records for bead_id in archive.bead_ids_in(record)])
    begun = not sql.in_transaction
    if begun:
        database.begin(sql)
    archive.put_back(sql, records)
    if begun:
        database.commit(sql)
    return new


def put_everything_into(sql: database.Database, archives: TownArchive, town_id: str) -> Steps[None]:
    """Put all archived beads into an open private copy, which relies on no archive afterwards."""
    keys = TownKeys(sql)
    index = keys.archive_index
    for block in (yield from archives.archive_blocks(town_id, index=index)):
        put_into(sql, (yield from archives.archived_in(town_id, block, index=index)))
    if index:
        keys.archive_index = 0
