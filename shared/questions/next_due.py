"""When a town is due next. Its image knows it, except after a tick that changed nothing: such a tick is not committed."""

from datetime import datetime

from shared.domain.tick import TickInput
from shared.engine import tick
from shared.ports.town_store import TownImage
from shared.town import database


def next_due(image: TownImage, given: TickInput) -> datetime | None:
    """When the next tick of a town is due; None if only an event can cause one. If the time is in the past, the town is due now.

    `given` is the input of a tick now. Example: a tick at 12:00 changes the configuration and asks for another at once; that
    one finds nothing to do and is not committed, so the image says 12:00 for ever. In that case a tick on a private copy finds
    the answer.
    """
    facts = image.facts
    if facts.tick_no == 0:
        return facts.time
    if facts.next_due is None or facts.next_due > given.now:
        return facts.next_due
    with database.opened(image.content) as copy:
        report = tick.run(copy, given, town_id=image.town_id)
    return report.next_due if report.quiet else facts.next_due
