"""The part of a town store that keeps the archives of towns, and takes in what was left for them at another place."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from shared.domain.images import ArchiveBlock, Record
from shared.domain.tick import Archived
from shared.ports.object_store import Listing, ObjectStore
from shared.ports.steps import Steps, all_of
from shared.ports.town_store import SeenTown, TownImage
from shared.storage import keys
from shared.storage.waiting_room import ObjectWaitingRoom, listing_of

if TYPE_CHECKING:
    from shared.storage.archive import TownArchives


class ArchivingStore(ObjectWaitingRoom):
    """A waiting room with the archives of its towns. If a table keeps what waits, it takes in what was left in the bucket."""

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

    def gather_markers(self) -> Steps[None]:
        """Take in the due markers that were left in the bucket."""
        if self._room is not self._objects:
            from shared.storage import gathering  # noqa: PLC0415 - once an hour, and only with a table

            yield from gathering.markers_from(self, self._objects)

    def gather_inboxes(self, towns: Sequence[SeenTown], *, now: datetime) -> Steps[None]:
        """Take in the batches that were left in the bucket for those of these towns of which a listing has shown some."""
        for town in towns:
            if town.left:
                from shared.storage import gathering  # noqa: PLC0415 - as above

                yield from gathering.inbox_from(self, self._objects, town.town_id, now=now)

    def with_waiting(self, towns: Sequence[SeenTown]) -> Steps[tuple[SeenTown, ...]]:
        """These towns as a listing of the bucket shows them, with what waits for them in the table."""
        calls = tuple(listing_of(self._room, keys.inbox(town.town_id), after="", limit=1) for town in towns)
        pages: list[Listing] = yield from all_of(calls)
        return tuple(
            SeenTown(town.town_id, waits=bool(page.keys), left=town.waits is not False)
            for town, page in zip(towns, pages, strict=True)
        )
