"""Every event type: its fields, who may send it, and an example, from its class."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel

from infra.reference import kinds
from infra.reference.event_examples import EXAMPLES
from infra.reference.event_words import MEANINGS
from shared.domain.shapes import answer
from shared.domain.states import SCOPES, Scope
from shared.events import EVENTS
from shared.events.base import Event


@answer
class EventField:
    """A field of a payload. `name` is a path: `tasks[].title` is a field of each object in the list `tasks`.

    Only the fields of events that somebody may send have a meaning.
    """

    name: str
    type: str
    required: bool
    default: Any
    meaning: str | None


@answer
class EventType:
    """A type of events. `needs` are the fields that the envelope must have; without senders, only the town itself makes it."""

    event_type: str
    summary: str
    effect: str
    senders: tuple[Scope, ...]
    mayor_only: bool
    needs: tuple[str, ...]
    fields: tuple[EventField, ...]
    example: Mapping[str, Any] | None


@answer
class EventTypes:
    """Every event type, in the order of the specification."""

    types: tuple[EventType, ...]


def every_type() -> EventTypes:
    """Every event type."""
    return EventTypes(tuple(map(_described, EVENTS)))


def _described(event: type[Event]) -> EventType:
    name = event.event_type
    return EventType(
        event_type=name,
        summary=_sentence(event.__doc__),
        effect=_sentence(event.apply.__doc__),
        senders=tuple(scope for scope in SCOPES if scope in event.senders),
        mayor_only=event.mayor_only,
        needs=event.needs,
        fields=tuple(_fields(event, name if event.senders else None)),
        example=EXAMPLES.get(name),
    )


def _fields(model: type[BaseModel], of: str | None, within: str = "") -> Iterator[EventField]:
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        path, kind = f"{within}{name}", kinds.words(hints[name])
        default = field.get_default(call_default_factory=True, validated_data={})
        default = list(default) if isinstance(default, tuple) else default
        known = None if field.is_required() else default
        yield EventField(path, kind, field.is_required(), known, None if of is None else _meaning(of, path))
        part = kinds.part_of(hints[name])
        if part is not None:
            yield from _fields(part, of, f"{path}[]." if kind.startswith("list") else f"{path}.")


def _meaning(event_type: str, path: str) -> str:
    try:
        return MEANINGS[event_type][path]
    except KeyError:
        raise LookupError(
            f"{event_type}: {path} has no meaning yet: add it to infra/reference/event_words.py"
        ) from None


def _sentence(docstring: str | None) -> str:
    """The text of a docstring on one line, without citations of the specification."""
    return re.sub(r" \(spec/[^)]*\)", "", " ".join((docstring or "").split()))
