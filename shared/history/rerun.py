"""Runs recorded ticks again, one after another, on a private copy of a town, and keeps the image digest up to date."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from shared.domain.report import TickReport
from shared.domain.tick import TickInput
from shared.domain.times import from_text
from shared.engine import tick
from shared.images import image_digest
from shared.images.pages import page_size_of
from shared.ports.town_past import JournalRow, PastImage
from shared.town import database


class Rerun:
    """A private copy of a town. `image` is its bytes after the last tick, `tick_no` that tick, and `txid` its commit in history."""

    def __init__(self, start: PastImage) -> None:
        """Open a copy of a committed image. Raises WrongTown, SchemaMismatch."""
        self._open(start)

    def _open(self, start: PastImage) -> None:
        self.town_id = start.town_id
        self.tick_no = start.tick_no
        self.txid = start.txid
        self.image = start.image
        self.before = start.image
        self.sql = database.open_image(start.image)
        try:
            database.check_identity(self.sql, start.town_id)
        except BaseException:
            database.close(self.sql)
            raise
        self._digest = image_digest.RunningDigest(start.image, page_size_of(start.image))

    @property
    def digest(self) -> str:
        """The image digest after the last tick, computed from the pages."""
        return self._digest.digest

    def run(self, given: TickInput) -> TickReport:
        """Run one tick, and keep the image from which it started as `before`. A quiet tick changes nothing."""
        report = tick.run(self.sql, given, town_id=self.town_id)
        self.before = self.image
        if not report.quiet:
            self.tick_no = given.tick_no
            self.txid += 1
            self.image = database.image_of(self.sql)
            self._digest.follow(self.image)
        return report

    def as_past(self, start: PastImage) -> PastImage:
        """The present state as an image from which another rerun can start."""
        return replace(start, image=self.image, txid=self.txid, tick_no=self.tick_no)

    def restart(self, image: PastImage) -> None:
        """Continue from another committed image of the same town. Raises WrongTown, SchemaMismatch."""
        database.close(self.sql)
        self._open(image)

    def close(self) -> None:
        """Close the copy."""
        database.close(self.sql)


@contextmanager
def rerun(start: PastImage) -> Iterator[Rerun]:
    """A rerun for the duration of a block. Raises WrongTown, SchemaMismatch."""
    running = Rerun(start)
    try:
        yield running
    finally:
        running.close()


def past_digest(image: PastImage) -> str:
    """The image digest, computed from the pages."""
    return image_digest.of_image(image.image)


def input_of(row: JournalRow) -> TickInput:
    """The input of the tick in a journal row."""
    return TickInput.from_record(row)


def time_of(row: JournalRow) -> datetime:
    """The `now` of the tick in a journal row."""
    return from_text(row["now"])
