"""The port between replay and the storage layer: committed images and recorded inputs of the past, read only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.ports.steps import Steps

JournalRow = Mapping[str, Any]
"""A row of the table `ticks`, columns by name, `inputs` and `outputs` decoded (spec/data-model.md)."""


@dataclass(frozen=True, slots=True)
class PastImage:
    """An image as it was committed. `tick_no` is the last tick in it (0: none), `tick_at` that tick's `now`."""

    town_id: str
    image: bytes
    txid: int
    tick_no: int
    tick_at: datetime | None
    committed_at: datetime


class TownPast(Protocol):
    """What is retained of a town. Methods raise UnknownTown, DamagedImage (which names the object), StoreUnavailable."""

    def newest(self, town_id: str) -> Steps[PastImage]:
        """The image that is committed now."""
        ...

    def oldest(self, town_id: str) -> Steps[PastImage]:
        """The first image that is still kept."""
        ...

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        """The newest kept image whose commit is earlier than `at`; None if none is."""
        ...

    def after_tick(self, town_id: str, tick_no: int) -> Steps[tuple[PastImage, ...]]:
        """Every kept commit whose last tick is this one, in order: the tick's own, then restores in place."""
        ...

    def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """The next rows of the journal after a tick, in order and without repetition, as many as lie together.

        Empty if there are none. The first one may be later than `tick_no` + 1 where older rows are not kept.
        """
        ...
