"""When the next tick of a town may be: not before it is due, soon after an event, and not too often."""

from dataclasses import dataclass
from datetime import datetime

from shared.domain import limits
from shared.images import summary
from shared.ports.town_store import TownImage
from shared.ports.waiting_room import InboxReading
from shared.runner.inputs import wakes
from shared.storage import keys


@dataclass(frozen=True, slots=True)
class Later:
    """The answer that a town is not due yet. `at` is when it will be; None: only an event can make it due."""

    at: datetime | None


def not_yet(about: summary.BeforeTick, waiting: InboxReading, now: datetime, image: TownImage) -> Later | None:
    """When the town will be due; None if it is due.

    Two of its ticks are at least `about.interval` apart, unless an event waits that wakes the town and there have been fewer than
    TICKS_AT_ONCE ticks in as many intervals. So a single event acts at once, and a stream of events costs a tick an interval.
    """
    if image.facts.tick_no == 0:
        return None
    wanted = _wanted(about, waiting, now)
    if wanted is None or wanted > now:
        return Later(wanted)
    last = about.last_tick_at
    if last is not None and last - about.interval <= now < last + about.interval:
        burst = about.burst_began
        has_room = burst is None or burst + limits.TICKS_AT_ONCE * about.interval <= now
        if last <= now and has_room and wakes(waiting):
            return None
        return Later(last + about.interval)
    return None  # if the last tick is further ahead, another clock made it: do not wait until ours catches up


def _wanted(about: summary.BeforeTick, waiting: InboxReading, now: datetime) -> datetime | None:
    """When a tick is wanted: at once for an event that wakes the town, for signs of life alone WATCH_INTERVAL after they came.

    So signs of life cause no commit of their own while a town is watched, and a town that nobody watches takes them all the same.
    """
    if not waiting.objects:
        return about.next_due
    received = keys.received_at(waiting.objects[0].key)
    if received is None or wakes(waiting):
        return now
    heard = received + limits.WATCH_INTERVAL
    return heard if about.next_due is None else min(heard, about.next_due)


def head_says_later(image: TownImage, waiting: InboxReading, now: datetime) -> bool:
    """Whether the head alone shows that the town is not due yet, so that its image need not be opened.

    The head of a restored or imported town does not: its next due time is not that of its image.
    """
    facts = image.facts
    is_later = facts.next_due is None or facts.next_due > now
    return is_later and not waiting.objects and facts.tick_no > 0 and facts.by_tick
