"""Reads the journal of a town row by row. It looks one row ahead, and keeps one block of rows in memory."""

from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast


class JournalRows:
    """The journal rows after a tick. `start_after` must be called first."""

    def __init__(self, past: TownPast, town_id: str) -> None:
        """Nothing is read before `start_after`."""
        self._past = past
        self._town_id = town_id
        self._block: tuple[JournalRow, ...] = ()
        self._position = 0

    @property
    def next(self) -> JournalRow | None:
        """The next row; None after the last one."""
        return self._block[self._position] if self._position < len(self._block) else None

    def start_after(self, tick_no: int) -> Steps[None]:
        """Move to the first row after a tick. Raises DamagedImage."""
        self._block = yield from self._past.rows_after(self._town_id, tick_no)
        self._position = 0

    def advance(self) -> Steps[None]:
        """Move forward by one row. Raises DamagedImage."""
        last = self._block[self._position]["tick_no"]
        self._position += 1
        if self._position == len(self._block):
            yield from self.start_after(last)


def ticks_text(first: int, last: int) -> str:
    """A range of ticks in words: "tick 5", "ticks 5 to 7"."""
    return f"tick {first}" if first == last else f"ticks {first} to {last}"
