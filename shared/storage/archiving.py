"""The part of a town store that keeps the archives of towns."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from shared.domain.images import ArchiveBlock, Record
from shared.domain.tick import Archived
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Steps
from shared.ports.town_store import TownImage
from shared.storage.waiting_room import ObjectWaitingRoom

if TYPE_CHECKING:
    from shared.storage.archive import TownArchives


class ArchivingStore(ObjectWaitingRoom):
    """A waiting room with the archives of its towns."""

    def __init__(self, objects: ObjectStore) -> None:
        super().__init__(objects)
        self._known_archives: TownArchives | None = None

    @property
    def _archives(self) -> "TownArchives":
        """The archives. Most functions never read one, so it is imported when it is first needed."""
        if self._known_archives is None:
            from shared.storage.archive import TownArchives  # noqa: PLC0415 - as above

            self._known_archives = TownArchives(self._objects)
        return self._known_archives

    def archive(self, image: TownImage, block: ArchiveBlock, *, index: int) -> Steps[Archived | None]:
        """Create the objects for a block of beads that may leave a committed image; None if that failed for a passing reason."""
        return self._archives.publish(image.town_id, image.txid, block, index=index)

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        """The families of these beads as they left the image, by the id that was asked for."""
        return self._archives.archived(town_id, bead_ids, index=index)

    def archive_blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        """The blocks of the archive on which an image with this index may rely, by their commits, newest first."""
        return self._archives.blocks(town_id, index=index)

    def archived_in(self, town_id: str, block: int, *, index: int) -> Steps[tuple[Record, ...]]:
        """The families that left in this block, and not again in a later one."""
        return self._archives.newest_in(town_id, block, index=index)
