"""Refuses a batch, before it is stored, while too much of its sender waits in the inbox (spec/events.md section 1, rule 13).

A tick takes the oldest 1,000 events, so one sender that floods the inbox would delay everybody else. The key of an inbox object
says whose batch it is and how much it counts: the listing that looks for the town's head shows all that is needed, and no
object is read.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender

_DIGITS: Final = 12


@dataclass(frozen=True, slots=True)
class Share:
    """What a batch takes of the room that its sender has in the inbox, and how many times that room there is for it.

    `weight` is the number of its events, of which each counts once for each started KiB. What only says that a container's agents
    live has a room of its own.
    """

    sender: Sender
    weight: int
    urgent: bool = False
    """It holds an event that is never refused, and may wait beside twice as much."""
    signs_of_life: bool = False

    @property
    def mark(self) -> str:
        """The end of the batch's id: whose batch it is, and how much it counts."""
        return f"-{self.tag}-{self.weight}"

    @property
    def tag(self) -> str:
        """The name under which the batches of this kind and sender are counted."""
        account = f"{self.sender.account} lives" if self.signs_of_life else self.sender.account
        return hashlib.sha256(account.encode()).hexdigest()[:_DIGITS]

    @property
    def factor(self) -> int:
        """How many times the usual room it has."""
        return limits.SIGNS_OF_LIFE if self.signs_of_life else 2 if self.urgent else 1


def require_room(batch_id: str, share: Share, waiting: Sequence[str]) -> None:
    """Refuse a batch (429) for which its sender has no room. `waiting`: the keys of the waiting batches.

    A batch always has room where nothing of its sender waits. A repetition of a batch that waits is accepted.
    """
    names = [key.rpartition("/")[2].removesuffix(".json").partition("-")[2] for key in waiting]
    if batch_id in names:
        return
    counts = list(_counts_of(names, share.tag))
    batches, events = limits.WAITING_BATCHES * share.factor, limits.WAITING_EVENTS[share.sender.scope] * share.factor
    if not counts or (len(counts) < batches and sum(counts) + share.weight <= events):
        return
    raise Refused(
        f"{sum(counts)} events (or KiB of events) of this sender wait already",
        status=429,
        hint="send the request again after some seconds; send several events in one request, and fewer of them",
    )


def _counts_of(names: Iterable[str], tag: str) -> Iterable[int]:
    """How much each batch of this sender counts."""
    for name in names:
        _, _, mark = name.partition("-")
        whose, _, count = mark.partition("-")
        if whose == tag and count.isdecimal():
            yield int(count)
