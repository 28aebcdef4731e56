"""The guards of what is broken: rows that cannot be read, and events that could not be applied."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.domain.times import from_text
from shared.questions.lives import WaitingEvent
from shared.questions.waiting import Guard


def unreadable(table: str, problem: str, since: datetime) -> Guard:
    """The guard for a bead or agent whose row is damaged."""
    says = f"its row in {table} cannot be read ({problem}): every rule skips it until a person repairs it"
    return Guard("unreadable", says, since, actor="operator")


def of_events(events: Iterable[WaitingEvent], next_tick: datetime) -> Iterator[Guard]:
    """One guard for each event that was not applied: the next tick tries it again, or it was poisoned."""
    for event in events:
        since = from_text(event.received_at)
        times = "once" if event.retry_count == 1 else f"{event.retry_count} times"
        said = f"{event.event_type} {event.event_id} failed {times}: {event.last_error}"
        if event.outcome is None:
            yield Guard("event_pending", f"{said}; the next tick tries it again", since, next_tick)
        else:
            says = f"{said}; it is not tried again until an operator redrives it"
            yield Guard("event_poisoned", says, since, actor="operator")
