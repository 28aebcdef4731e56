"""Refuses a batch, before it is stored, while too much of its sender waits in the inbox (spec/events.md section 1, rule 13).

A tick takes the oldest 1,000 events, so one sender that floods the inbox would delay everybody else. The key of an inbox object
says whose batch it is and how much it counts: one listing shows all that is needed, and no object is read.

Signs of life are most of what is posted, and a listing costs as much as storing them. So each process lists the inbox only when
the batches of a sender that it has stored since it last did could fill too much of the sender's room (`Counts`).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender

_DIGITS: Final = 12
UNSEEN_BATCHES: Final = 10
"""So many batches of a sender a process stores without looking how much of its room is taken, and at most an eighth of its events.

Few, because several processes store at the same time, and one listing must still show the batches of everybody."""
_PART_OF_THE_EVENTS: Final = 8
_SENDERS_KNOWN: Final = 10_000
_LISTINGS_KNOWN: Final = 8
_KEYS_KNOWN: Final = 20_000


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
    def batches(self) -> int:
        """How many batches may wait."""
        return limits.WAITING_BATCHES * self.factor

    @property
    def events(self) -> int:
        """How many events may wait."""
        return limits.WAITING_EVENTS[self.sender.scope] * self.factor

    @property
    def factor(self) -> int:
        """How many times the usual room it has."""
        return limits.SIGNS_OF_LIFE if self.signs_of_life else 2 if self.urgent else 1


def require_room(batch_id: str, share: Share, own: Mapping[str, int]) -> None:
    """Refuse a batch (429) for which its sender has no room. `own`: what waits `beside` it, by key, and how much each counts.

    A batch always has room where nothing of its sender waits. A repetition of a batch that waits is accepted.
    """
    count, events = len(own), sum(own.values())
    if count == 0 or (count < share.batches and events + share.weight <= share.events):
        return
    if any(_name(key) == batch_id for key in list(own)):
        return
    raise Refused(
        f"{events} events (or KiB of events) of this sender wait already",
        status=429,
        hint="send the request again after some seconds; send several events in one request, and fewer of them",
    )


def beside(share: Share | None, waiting: Sequence[str]) -> Mapping[str, int]:
    """The batches that are counted together with a new one, by key, and how much each counts.

    Without a share, all that are not counted.
    """
    return by_sender(tuple(waiting)).get(None if share is None else share.tag, {})


@dataclass(slots=True)
class _Count:
    """What waits of one sender: as counted in the inbox, and with what was stored since then, which is at least `unseen`."""

    batches: int = 0
    events: int = 0
    unseen_batches: int = 0
    unseen_events: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """What this process knows about the room of each sender. Safe for threads; it forgets the senders that it met longest ago."""

    _known: OrderedDict[tuple[str, str], _Count] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def must_look(self, town_id: str, share: Share) -> bool:
        """Whether the inbox must be listed before this batch is stored."""
        with self._lock:
            found = self._known.get((town_id, share.tag)) or _Count()
        return (
            found.batches + 1 > share.batches
            or found.events + share.weight > share.events
            or found.unseen_batches + 1 > UNSEEN_BATCHES
            or found.unseen_events + share.weight > share.events // _PART_OF_THE_EVENTS
        )

    def looked(self, town_id: str, share: Share, own: Mapping[str, int]) -> None:
        """The inbox was listed: these batches wait beside this one."""
        self._keep(town_id, share, _Count(len(own), sum(own.values())))

    def stored(self, town_id: str, share: Share) -> None:
        """The batch was stored."""
        with self._lock:
            found = self._known.get((town_id, share.tag)) or _Count()
        more = _Count(
            found.batches + 1, found.events + share.weight, found.unseen_batches + 1, found.unseen_events + share.weight
        )
        self._keep(town_id, share, more)

    def _keep(self, town_id: str, share: Share, count: _Count) -> None:
        with self._lock:
            self._known[town_id, share.tag] = count
            self._known.move_to_end((town_id, share.tag))
            if len(self._known) > _SENDERS_KNOWN:
                self._known.popitem(last=False)


@lru_cache(_LISTINGS_KNOWN)
def by_sender(waiting: tuple[str, ...]) -> Mapping[str | None, Mapping[str, int]]:
    """What waits, by the tags of the senders. Requests that come at the same time look at the same listing."""
    found: dict[str | None, dict[str, int]] = {}
    for key in waiting:
        tag, count = _mark_in(key)
        found.setdefault(tag, {})[key] = count
    return found


def _name(key: str) -> str:
    """The batch id in a key."""
    return key.rpartition("/")[2].removesuffix(".json").partition("-")[2]


@lru_cache(_KEYS_KNOWN)
def _mark_in(key: str) -> tuple[str | None, int]:
    """Whose batch it is and how much it counts; (None, 0) if its id does not say."""
    whose, _, count = _name(key).partition("-")[2].partition("-")
    return (whose, int(count)) if len(whose) == _DIGITS and count.isdecimal() else (None, 0)
