"""The events of a tick that have no row yet.

Most get their row when they are processed, so each row is written once and in its final size; those that leave no row, such as
heartbeats, never get one. Arrivals are undone together with the rows of a savepoint (`Town.forget_since`): `undo` takes back what
was done since a `mark`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Arrival = Mapping[str, Any]
"""The columns of an event that has arrived, by name."""


@dataclass(slots=True)
class Arrivals:
    """The arrivals of one tick, by their seq."""

    _rows: dict[int, Arrival] = field(default_factory=dict)
    _seqs: dict[str, int] = field(default_factory=dict)
    _done: list[tuple[int, Arrival, bool]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, seq: object) -> bool:
        return seq in self._rows

    def add(self, seq: int, row: Arrival) -> None:
        """An event has arrived."""
        self._put(seq, row)
        self._done.append((seq, row, True))

    def take(self, seq: int) -> Arrival | None:
        """An arrival that gets its row now, or will never have one; None if the event has a row."""
        row = self._rows.get(seq)
        if row is not None:
            self._drop(seq, row)
            self._done.append((seq, row, False))
        return row

    def find(self, event_id: str) -> Arrival | None:
        """The arrival with this id."""
        seq = self._seqs.get(event_id)
        return None if seq is None else self._rows[seq]

    def after(self, seq: int) -> list[Arrival]:
        """The arrivals with a greater seq, in order."""
        return [self._rows[number] for number in sorted(self._rows) if number > seq]

    def mark(self) -> int:
        """A mark for `undo`."""
        return len(self._done)

    def undo(self, mark: int) -> None:
        """Take back everything since a mark."""
        while len(self._done) > mark:
            seq, row, was_added = self._done.pop()
            (self._drop if was_added else self._put)(seq, row)

    def _put(self, seq: int, row: Arrival) -> None:
        self._rows[seq] = row
        self._seqs[row["event_id"]] = seq

    def _drop(self, seq: int, row: Arrival) -> None:
        del self._rows[seq]
        del self._seqs[row["event_id"]]
