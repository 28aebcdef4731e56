"""Checks the content of an event: the fields and payload that its type requires, its age, and that its id is not reused."""

from datetime import datetime
from typing import Final

from pydantic import ValidationError

from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.field_errors import FieldError, first_error, what_is_expected
from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.events.base import Event
from shared.events.fields import TOO_LARGE
from shared.intake.shape import Incoming

ONE_EVENT_FOR_EVER: Final = "an event_id belongs to one event for ever; choose a new one for new content"


def require_valid(event: Incoming, known: type[Event]) -> None:
    """Refuse an event that lacks an envelope field of its type, or whose payload its type does not allow.

    A tick validates the payload's text with the same class; a test proves that the value and its text are judged alike.
    Raises Refused (400, 413).
    """
    for field in known.needs:
        if getattr(event.envelope, field) is None:
            hint = f"add {field} to the event, beside its payload"
            raise Refused(f"{known.event_type} needs {field}", status=400, path=f"{event.path}.{field}", hint=hint)
    try:
        known.model_validate(event.payload)
    except ValidationError as error:
        problem = first_error(error)
        status = 413 if problem.kind == TOO_LARGE else 400
        fields = f"`townctl event types {known.event_type}` and docs/events.md show its fields"
        expected = what_is_expected(known, problem)
        hint = f"{expected}; {fields}" if expected else fields
        raise Refused(problem.message, status=status, path=_place(event, problem), hint=hint) from None


def require_remembered(event: Incoming, oldest: datetime) -> None:
    """Refuse (410) an event that happened before `oldest`, because it can no longer be de-duplicated."""
    happened = event.envelope.created_at
    if from_text(happened) < oldest:
        raise Refused(
            f"the event happened at {happened}, too long ago to be de-duplicated",
            status=410,
            path=f"{event.path}.occurred_at",
            hint="check whether it was applied; if not, send a new event without the old occurred_at",
        )


def require_same(event: Incoming, known: Incoming) -> None:
    """Refuse (409) an event that has the same id as another event of its batch, but different content."""
    if content_of(event.envelope) != content_of(known.envelope):
        raise Refused(
            "two events of this batch have the same event_id and different content",
            status=409,
            path=f"{event.path}.event_id",
            hint=ONE_EVENT_FOR_EVER,
        )


def content_of(envelope: Envelope) -> tuple[str | None, ...]:
    """The fields that must be equal in all events with the same id."""
    return (envelope.event_type, envelope.agent_id, envelope.bead_id, envelope.payload)


def _place(event: Incoming, problem: FieldError) -> str:
    place = f"{event.path}.payload"
    for part in problem.path:
        place = f"{place}[{part}]" if isinstance(part, int) else strict_json.below(place, part)
    return place
