"""Finds the journal rows of ticks that ran at given times. Blocks of rows that were read are kept for the next search."""

from bisect import bisect_left
from collections.abc import Sequence

from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast


class FoundRows:
    """The rows of a town up to its newest tick. At most `blocks` blocks are read; a row in another one is not found."""

    def __init__(self, past: TownPast, town_id: str, *, newest: int, blocks: int) -> None:
        self._past, self._town_id = past, town_id
        self._newest, self._left = newest, blocks
        self._read: list[Sequence[JournalRow]] = []

    def at(self, now: str) -> Steps[JournalRow | None]:
        """The row of the tick whose `now` is this stored time; None if it is not kept or not found.

        Times grow with the ticks, but for a restore in place that brings time back: then the row may not be found.
        """
        low, high = 1, self._newest
        block = yield from self._newest_block()
        while block:
            times = [row["now"] for row in block]
            place = bisect_left(times, now)
            if place < len(times) and times[place] == now:
                return block[place]
            if 0 < place < len(times):
                return None
            if place == 0:
                high = min(high, block[0]["tick_no"]) - 1
            else:
                low = block[-1]["tick_no"] + 1
            if low > high:
                return None
            block = yield from self._block_of((low + high) // 2)
        return None

    def of_tick(self, tick: int) -> Steps[JournalRow | None]:
        """The row of a tick; None if it is not kept or not found."""
        block = yield from self._block_of(tick)
        return next((row for row in block if row["tick_no"] == tick), None)

    def rows_from(self, now: str) -> Steps[tuple[JournalRow, ...]]:
        """The rows of the first block that has a tick at this time or later. Empty if there is none."""
        low, high = 1, self._newest
        found: tuple[JournalRow, ...] = ()
        while low <= high:
            middle = (low + high) // 2
            block = yield from self._block_of(middle)
            if not block:
                return found
            if block[-1]["now"] < now:
                low = block[-1]["tick_no"] + 1
            else:
                found, high = tuple(block), min(middle, block[0]["tick_no"]) - 1
        return found

    def _newest_block(self) -> Steps[Sequence[JournalRow]]:
        if not self._read:
            self._read.append((yield from self._past.rows_before(self._town_id, self._newest + 1)))
        return self._read[0]

    def _block_of(self, tick: int) -> Steps[Sequence[JournalRow]]:
        """The rows of the block that has a tick, or of the next one; none if this search has read enough."""
        for block in self._read:
            if block and block[0]["tick_no"] <= tick <= block[-1]["tick_no"]:
                return block
        if not self._left:
            return ()
        self._left -= 1
        rows = yield from self._past.rows_after(self._town_id, tick - 1)
        self._read.append(rows)
        return rows
