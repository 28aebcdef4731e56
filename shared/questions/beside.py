"""What is known of a town beside its image, and the input of a tick that would see the town now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.domain.tick import Observations, TickInput
from shared.images import summary
from shared.intake import ingest
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.ports.waiting_room import InboxObject
from shared.ports.watch import Apart
from shared.questions import overview
from shared.runner.inputs import Reading, batches_behind, fix_input
from shared.runner.surroundings import Surroundings
from shared.storage.keys import received_at
from shared.town import database

_NO_TICK: Final = ""
"""A placeholder for the code version: a status does not show it, and computing it takes longer than the rest."""
_NOTHING_NEW: Final = Reading((), (), more=False)


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known of a town beside its image: the time, what waits in its inbox, and whether it runs apart from others."""

    now: datetime
    batches: Sequence[InboxObject] = ()
    behind: int = 0
    apart: Apart | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """What waits in the inbox: batches, and the events in them. `since`: when the oldest was received."""

    batches: int
    events: int
    since: datetime | None


def beside_the_image(town_id: str, around: Surroundings) -> Steps[Beside]:
    """Read it from the store."""
    batches = yield from around.store.read_inbox(town_id, limit=limits.EVENTS_PER_TICK)
    behind = yield from batches_behind(around, town_id, batches)
    apart = yield from around.store.apart(town_id)
    now: datetime = yield Call("clock", around.clock.now)
    return Beside(now, batches.objects, behind, apart)


def present_input(sql: database.Database, image: TownImage, around: Surroundings, now: datetime) -> TickInput:
    """The input of a tick now, without new events and without observing any process."""
    return fix_input(
        around,
        image,
        summary.before_tick(sql),
        now=now,
        worker_id="status",
        reading=_NOTHING_NEW,
        observations=Observations(asked=False),
        code=_NO_TICK,
    )


def unread_of(sql: database.Database, beside: Beside) -> Unread:
    """What waits in the inbox. Of the oldest batch, the last tick may have taken a part."""
    batches, behind = beside.batches, beside.behind
    if not batches:
        return Unread(behind, behind, None)
    oldest, *others = batches
    events = ingest.read_object(oldest.key, oldest.body, size=oldest.size)
    left = len(events) - overview.known_among(sql, [event.event_id for event in events])
    left += sum(ingest.number_of_events(each.key, each.body) for each in others)
    return Unread(len(batches) + behind, left + behind, received_at(oldest.key))
