"""The images that a process keeps between runs, and the open databases of the newest ones."""

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from shared.ports.town_store import TownImage
from shared.town import database

OPEN_AT_MOST: Final = 8
"""So many images of a process stay open as databases."""


@dataclass(slots=True)
class OpenTown:
    """An open image. `shows` is the committed image that the database is equal to; None: it has changes that no commit has."""

    sql: database.Database
    shows: TownImage | None


@dataclass(slots=True, weakref_slot=True)
class WarmImages:
    """The newest known image of each recent town, at most `limit` of them: a run only asks the store whether it changed.

    Together they take at most `limit_bytes`, unless the only image is larger: memory and /tmp of a Lambda are limited. At most
    `open_limit` of them also stay open as databases, which saves loading the image and compiling every statement again.
    """

    limit: int = 32
    limit_bytes: int = 256 << 20
    open_limit: int = field(default_factory=lambda: OPEN_AT_MOST)
    images: dict[str, TownImage] = field(default_factory=dict)
    _kept_open: dict[str, OpenTown] = field(default_factory=dict)

    def __post_init__(self) -> None:
        weakref.finalize(self, _close_all, self._kept_open)

    def get(self, town_id: str) -> TownImage | None:
        """The image that the last run of this town left, if it is still kept."""
        return self.images.get(town_id)

    def keep(self, image: TownImage) -> None:
        """Keep an image, and drop the least recently kept ones beyond the limits."""
        known = self._kept_open.get(image.town_id)
        if known is not None and not _shows(known, image):
            self._close(image.town_id)
        self.images.pop(image.town_id, None)
        self.images[image.town_id] = image
        held = sum(each.size for each in self.images.values())
        while len(self.images) > self.limit or (held > self.limit_bytes and len(self.images) > 1):
            oldest = next(iter(self.images))
            held -= self.images.pop(oldest).size
            self._close(oldest)

    def forget(self, town_id: str) -> None:
        """Drop the image of a town after an error, so that the next run loads it anew."""
        self.images.pop(town_id, None)
        self._close(town_id)

    @contextmanager
    def opened(self, image: TownImage) -> Iterator[OpenTown]:
        """The image as a database for the duration of a block: the one that is still open if it shows this image, else a new one.

        Afterwards it stays open for the next run, unless the block raised or left it with changes that were not committed.
        """
        known = self._kept_open.pop(image.town_id, None)
        if known is not None and not (_shows(known, image) and database.shows_again(known.sql, image.content)):
            database.close(known.sql)
            known = None
        town = known or OpenTown(database.open_image(image.content), image)
        try:
            yield town
        except BaseException:
            database.close(town.sql)
            raise
        if town.shows is None:
            database.close(town.sql)
            return
        self._kept_open[image.town_id] = town
        while len(self._kept_open) > self.open_limit:
            self._close(next(iter(self._kept_open)))

    def _close(self, town_id: str) -> None:
        known = self._kept_open.pop(town_id, None)
        if known is not None:
            database.close(known.sql)


def _shows(town: OpenTown, image: TownImage) -> bool:
    return town.shows is not None and town.shows.etag == image.etag


def _close_all(kept_open: dict[str, OpenTown]) -> None:
    """Close what is still open, when nobody uses these images any more."""
    while kept_open:
        database.close(kept_open.popitem()[1].sql)
