"""The content of an event: what its type wants, an age that is still remembered, nothing new under an old id."""

from datetime import datetime
from typing import Final

from pydantic import ValidationError

from shared.domain.errors import Refused
from shared.domain.field_errors import FieldError, first_error
from shared.domain.tick import Envelope
from shared.domain.times import from_text
from shared.events.base import Event
from shared.events.fields import TOO_LARGE
from shared.intake import strict_json
from shared.intake.shape import Incoming

ONE_EVENT_FOR_EVER: Final = "an event_id belongs to one event for ever; choose a new one for new content"


def require_valid(event: Incoming, known: type[Event]) -> None:
    """Refuse an event without an envelope field that its type needs, or with a payload that it does not allow.

    A tick reads the payload's text with the same class; that the value and its text are judged alike is tested. Raises
    Refused (400, 413).
    """
    for field in known.needs:
        if getattr(event.envelope, field) is None:
            raise Refused(f"{known.event_type} needs {field}", status=400, path=f"{event.path}.{field}")
    try:
        known.model_validate(event.payload)
    except ValidationError as error:
        problem = first_error(error)
        status = 413 if problem.kind == TOO_LARGE else 400
        raise Refused(problem.message, status=status, path=_place(event, problem)) from None


def require_remembered(event: Incoming, oldest: datetime) -> None:
    """Refuse (410) an event that happened before `oldest`: whether it is a repetition is no longer known."""
    happened = event.envelope.created_at
    if from_text(happened) < oldest:
        raise Refused(
            f"the event happened at {happened}, longer ago than events are remembered",
            status=410,
            path=f"{event.path}.occurred_at",
            hint="events this old can no longer be de-duplicated: check what became of it, then send a new event",
        )


def require_same(event: Incoming, known: Incoming) -> None:
    """Refuse (409) an event whose id another event of its batch has, with other content."""
    if content_of(event.envelope) != content_of(known.envelope):
        raise Refused(
            "two events of this batch have the same event_id and different content",
            status=409,
            path=f"{event.path}.event_id",
            hint=ONE_EVENT_FOR_EVER,
        )


def content_of(envelope: Envelope) -> tuple[str | None, ...]:
    """What two events of one id must have in common."""
    return (envelope.event_type, envelope.agent_id, envelope.bead_id, envelope.payload)


def _place(event: Incoming, problem: FieldError) -> str:
    place = f"{event.path}.payload"
    for part in problem.path:
        place = f"{place}[{part}]" if isinstance(part, int) else strict_json.below(place, part)
    return place
