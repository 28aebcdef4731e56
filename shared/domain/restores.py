"""Restores in place as the town remembers them, and which ticks they left as the town's history.

A restore in place takes the next tick number and has a row in the journal, like a tick. Example: tick 20 ran, then tick number
21 restored the town as it was after tick 10, and ticks 22 and 23 followed. The town's history is 1 to 10 and 21 to 23. Ticks 11
to 20 ran, but the town does not remember them: they are its discarded future.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

from shared.domain.shapes import Time, answer
from shared.domain.times import from_text, to_text

KEPT: Final = 100
"""So many restores are remembered; older ones are forgotten."""


@answer
class InPlaceRestore:
    """A restore in place. It took the tick number `tick`, made commit `txid` at `at` and began `epoch`.

    It brought back commit `restored_txid` of `restored_at`, whose last tick was `restored_tick`. `last_tick` was the last tick
    before the restore that is known. With `lost_head` the newest commit could not be read: later ticks may have run and are lost.
    """

    tick: int
    txid: int
    at: Time
    epoch: int
    restored_txid: int
    restored_tick: int
    restored_at: Time
    last_tick: int
    lost_head: bool = False

    def as_json(self) -> dict[str, Any]:
        """The restore as the image and the journal store it."""
        return {
            "tick": self.tick,
            "txid": self.txid,
            "at": to_text(self.at),
            "epoch": self.epoch,
            "restored_txid": self.restored_txid,
            "restored_tick": self.restored_tick,
            "restored_at": to_text(self.restored_at),
            "last_tick": self.last_tick,
            "lost_head": self.lost_head,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """The restore that an image or a journal row stores."""
        return cls(**{**stored, "at": from_text(stored["at"]), "restored_at": from_text(stored["restored_at"])})

    def says(self) -> str:
        """What it did, in words."""
        lost = f"; the head was lost, and with it all ticks after {self.last_tick}" if self.lost_head else ""
        then = f"commit {self.restored_txid} of {to_text(self.restored_at)} (tick {self.restored_tick})"
        return f"commit {self.txid} restored an older state: {then}{lost}"


def restore_in(row: Mapping[str, Any]) -> InPlaceRestore | None:
    """The restore that a journal row records; None for the row of a tick."""
    stored = row["inputs"].get("restore")
    return None if stored is None else InPlaceRestore.from_json(stored)


@dataclass(frozen=True, slots=True)
class Lineage:
    """The ticks that led to the state of a town whose restores these are, in order."""

    restores: Sequence[InPlaceRestore]

    def discarded_by(self, tick: int, *, until: int | None = None) -> InPlaceRestore | None:
        """The restore that discarded a tick; None if the tick belongs to the history of the town as of the tick `until`."""
        end = until
        for restore in reversed(self.restores):
            if end is not None and restore.tick > end:
                continue
            if tick >= restore.tick:
                return None
            if tick > restore.restored_tick:
                return restore
            end = restore.restored_tick
        return None


def remembered(known: Iterable[InPlaceRestore], *others: InPlaceRestore) -> tuple[InPlaceRestore, ...]:
    """These restores in order of ticks, without repetition; the newest KEPT."""
    by_tick = {each.tick: each for each in (*known, *others)}
    return tuple(by_tick[tick] for tick in sorted(by_tick))[-KEPT:]


def next_after(restores: Iterable[InPlaceRestore], tick: int, *, until: datetime) -> InPlaceRestore | None:
    """The first restore that took the number `tick` or a later one, and was made at most at `until`."""
    return next((each for each in restores if each.tick >= tick and each.at <= until), None)
