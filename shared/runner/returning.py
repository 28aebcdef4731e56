"""The archived beads that new events name: looked up before the tick, whose input they become."""

from collections.abc import Sequence
from typing import Final

from shared.domain.images import Record
from shared.domain.tick import Envelope
from shared.ports.steps import Steps
from shared.ports.town_archive import TownArchive
from shared.runner.named_beads import beads_named
from shared.town import archive, database
from shared.town.town_keys import TownKeys

MAKES_WAIT: Final = ("bead_created", "bead_reopened", "convoy_changed")
"""The types of the events after which a bead depends on ended ones: these may depend on others, in the end on that very bead."""


def returned_families(
    archives: TownArchive, sql: database.Database, events: Sequence[Envelope], *, town_id: str
) -> Steps[tuple[Record, ...]]:
    """The archived families of the beads that new events name and the image lacks, in a fixed order.

    With a bead that is reopened, or on which a new one depends, come the families on which its own family depends, through all that
    failed: a failed bead may be reopened, so a cycle through it must be seen now. A closed bead waits for nothing any more.
    """
    index = TownKeys(sql).archive_index
    if not index or not events:
        return ()
    named = [*beads_named(events), *archive.worked_on(sql, {event.agent_id for event in events if event.agent_id})]
    waits = beads_named([event for event in events if event.event_type in MAKES_WAIT])
    beyond = archive.awaited_with(sql, waits)
    found: dict[str, Record] = yield from archives.archived(
        town_id, archive.unknown(sql, [*named, *beyond]), index=index
    )
    followed = [found[bead_id] for bead_id in (*waits, *beyond) if bead_id in found]
    while followed:
        further = [each for record in followed if archive.may_wait(record) for each in archive.awaited_in(record)]
        asked = [bead_id for bead_id in archive.unknown(sql, further) if bead_id not in found]
        more: dict[str, Record] = yield from archives.archived(town_id, asked, index=index)
        followed = list(more.values())
        found |= more
    families = {archive.bead_ids_in(record): record for record in found.values()}
    return tuple(families[members] for members in sorted(families))
