"""The journal of a town as a replay reads it: row after row, the next one always in sight, a block in memory at a time."""

from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast


class JournalRows:
    """Recorded ticks after a tick. `next` is the row that comes, None after the last one."""

    def __init__(self, past: TownPast, town_id: str) -> None:
        """Read nothing yet."""
        self._past = past
        self._town_id = town_id
        self._block: tuple[JournalRow, ...] = ()
        self._position = 0

    @property
    def next(self) -> JournalRow | None:
        """The row that comes."""
        return self._block[self._position] if self._position < len(self._block) else None

    def start_after(self, tick_no: int) -> Steps[None]:
        """Bring the first row after a tick into sight. Raises DamagedImage."""
        self._block = yield from self._past.rows_after(self._town_id, tick_no)
        self._position = 0

    def advance(self) -> Steps[None]:
        """Take the row that is in sight."""
        last = self._block[self._position]["tick_no"]
        self._position += 1
        if self._position == len(self._block):
            yield from self.start_after(last)
