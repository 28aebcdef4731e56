"""How much a town did lately: its actions in slots of two minutes, of which the town keeps those of the last hour."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from shared.domain.times import from_milliseconds, to_milliseconds

SLOT: Final = timedelta(minutes=2)
SLOTS: Final = 30
_SLOT_MS: Final = SLOT // timedelta(milliseconds=1)


def slot_of(at: datetime) -> int:
    """The number of the slot that contains a time, counted from 1970."""
    return to_milliseconds(at) // _SLOT_MS


def start_of(slot: int) -> datetime:
    """The time at which a slot begins."""
    return from_milliseconds(slot * _SLOT_MS)


def last_hour(now: datetime) -> range:
    """The slots of the last hour, oldest first; the last one contains `now`."""
    newest = slot_of(now)
    return range(newest - SLOTS + 1, newest + 1)


def with_more(known: Mapping[int, int], at: datetime, actions: int) -> Mapping[int, int]:
    """The actions by slot after a tick at this time. Only slots of the last hour stay: a restore may bring time back."""
    kept = {slot: known[slot] for slot in last_hour(at) if slot in known}
    return {**kept, slot_of(at): kept.get(slot_of(at), 0) + actions}
