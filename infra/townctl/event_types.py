"""`townctl event types`: what can be posted, by whom, and an example of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.output import Answer, compact, plain, table
from shared.domain.errors import Refused

if TYPE_CHECKING:
    from infra.reference.event_types import EventType


def types(
    event_type: Annotated[str | None, Parameter(help="Only this type, with its fields and an example.")] = None, /
) -> Answer:
    """List the types of events and who may send them; with a type, show its fields and an example that can be posted."""
    from infra.reference.event_types import every_type

    found = every_type()
    if event_type is None:
        rows = [(each.event_type, ", ".join(each.senders) or "the town itself", each.summary) for each in found.types]
        hint = Text("fields and an example: townctl event types TYPE")
        return Answer(found, (table("type", "senders", "what has happened", rows=rows), hint))
    one = next((each for each in found.types if each.event_type == event_type), None)
    if one is None:
        raise Refused(
            f"there is no event type {event_type}",
            status=404,
            path="event_type",
            hint="`townctl event types` and docs/events.md list them all",
        )
    return Answer(one, _view(one))


def _view(event: EventType) -> Iterator[RenderableType]:
    yield Text(f"{event.event_type}: {event.summary}", style="bold")
    yield Text(f"what the town does: {event.effect}")
    if not event.senders:
        yield Text("only the town itself makes it; it cannot be posted")
    else:
        only = "; of agents, only the mayor's counts" if event.mayor_only else ""
        yield Text(f"senders: {', '.join(event.senders)}{only}")
    if event.needs:
        yield Text(f"the envelope must have {' and '.join(event.needs)}")
    if event.fields:
        rows = [
            (field.name, "required" if field.required else "", field.type.replace("`", ""), plain(field.meaning or ""))
            for field in event.fields
        ]
        yield table("field", "", "type", "meaning", rows=rows)
    if event.example is not None:
        yield Text("example, for townctl event post TOWN --file FILE:")
        yield compact(event.example)
