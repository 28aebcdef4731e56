"""The town-archive port: the beads that have left the images of towns (`shared.town.archive`)."""

from collections.abc import Iterable
from typing import Protocol

from shared.domain.images import Record
from shared.ports.steps import Steps


class TownArchive(Protocol):
    """Reads the archives of towns."""

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        """The families of these beads as they left the image, by the id that was asked for. Those never archived are left out.

        `index` is the commit whose index the image relies on (town key `archive_index`). Raises DamagedImage, which names the
        object that is missing or damaged.
        """
        ...

    def archive_blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        """The blocks of the archive on which an image with this index may rely, by their commits, newest first."""
        ...

    def archived_in(self, town_id: str, block: int, *, index: int) -> Steps[tuple[Record, ...]]:
        """The families that left in this block, and not again in a later one. Raises DamagedImage, which names the object."""
        ...
