"""A past for tests: images and journal rows that somebody remembered, in the shape that replay reads."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from shared.domain.images import Record
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, PastImage


@dataclass
class RememberedPast:
    """Every commit of one town, oldest first, and the row of every tick. What is taken out of it is not kept."""

    images: list[PastImage] = field(default_factory=list)
    rows: list[JournalRow] = field(default_factory=list)
    reads: int = 0

    @property
    def left_out(self) -> tuple[str, ...]:
        return ()

    @property
    def passed_over(self) -> tuple[str, ...]:
        return ()

    def around_damage(self) -> "RememberedPast":
        return self

    def up_to_tick(self, town_id: str, tick_no: int) -> Steps[PastImage | None]:
        yield from ()
        return next((image for image in reversed(self.images) if image.tick_no <= tick_no), None)

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        yield from ()
        return {}

    def archive_blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        yield from ()
        return ()

    def archived_in(self, town_id: str, block: int, *, index: int) -> Steps[tuple[Record, ...]]:
        yield from ()
        return ()

    def newest(self, town_id: str) -> Steps[PastImage]:
        yield from ()
        return self.images[-1]

    def oldest(self, town_id: str) -> Steps[PastImage]:
        yield from ()
        return self.images[0]

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        yield from ()
        return next((image for image in reversed(self.images) if image.committed_at < at), None)

    def after_tick(self, town_id: str, tick_no: int) -> Steps[tuple[PastImage, ...]]:
        yield from ()
        return tuple(image for image in self.images if image.tick_no == tick_no)

    def from_tick(self, town_id: str, tick_no: int) -> Steps[PastImage]:
        yield from ()
        return next((image for image in self.images if image.tick_no >= tick_no), self.images[-1])

    def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """Seven rows at a time, as if they lay in small objects."""
        yield from ()
        self.reads += 1
        return tuple(row for row in self.rows if row["tick_no"] > tick_no)[:7]

    def rows_before(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """Seven rows at a time, as if they lay in small objects."""
        yield from ()
        self.reads += 1
        return tuple(row for row in self.rows if row["tick_no"] < tick_no)[-7:]
