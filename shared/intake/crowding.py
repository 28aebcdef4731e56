"""Refuses a batch, before it is stored, while too much of its sender waits in the inbox (spec/events.md section 1, rule 13).

A tick takes the oldest 1,000 events, so one sender that floods the inbox would delay everybody else. The key of an inbox object
says whose batch it is and how many events it holds: the listing that looks for the town's head shows all that is needed, and no
object is read.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.senders import Sender

_DIGITS: Final = 12


def mark_of(sender: Sender, events: int) -> str:
    """The end of a batch's id: whose batch it is, and the number of its events."""
    return f"-{_tag_of(sender)}-{events}"


def require_room(batch_id: str, sender: Sender, waiting: Sequence[str], *, urgent: bool) -> None:
    """Refuse a batch (429) if too much of its sender waits already. `waiting`: the keys of the waiting batches.

    An `urgent` batch, with an event that is never refused, may wait beside twice as much. A repetition of a batch that waits is
    accepted.
    """
    names = [key.rpartition("/")[2].removesuffix(".json").partition("-")[2] for key in waiting]
    if batch_id in names:
        return
    counts = list(_counts_of(names, _tag_of(sender)))
    factor = 2 if urgent else 1
    if len(counts) < limits.WAITING_BATCHES * factor and sum(counts) < limits.WAITING_EVENTS[sender.scope] * factor:
        return
    raise Refused(
        f"{sum(counts)} events of this sender wait already",
        status=429,
        hint="send the request again after some seconds; send several events in one request, and fewer of them",
    )


def _counts_of(names: Iterable[str], tag: str) -> Iterable[int]:
    """How many events each batch of this sender holds."""
    for name in names:
        _, _, mark = name.partition("-")
        whose, _, count = mark.partition("-")
        if whose == tag and count.isdecimal():
            yield int(count)


def _tag_of(sender: Sender) -> str:
    return hashlib.sha256(sender.account.encode()).hexdigest()[:_DIGITS]
