"""What a person says to the mayor, as an ordinary event: a message bead (spec/events.md 4.3), which wakes or starts the mayor."""

from typing import Final

from shared.domain import limits
from shared.domain.errors import Refused
from shared.domain.states import Role
from shared.intake.people import named

_TITLE_AT_MOST: Final = 120


def require_words(text: str) -> None:
    """Raise Refused (413, 422) unless the mayor can be told this text."""
    if not text.strip():
        raise Refused(
            "there is nothing to say: the text is empty", status=422, path="text", hint="say what you want done"
        )
    size = len(text.encode(errors="replace"))
    if size > limits.BODY_SIZE:
        hint = "put the rest into the repository or a bead, and say where it is"
        raise Refused(f"the text has {size} bytes, at most {limits.BODY_SIZE}", status=413, path="text", hint=hint)


def said_to_the_mayor(text: str, *, by: str, message_id: str) -> dict[str, object]:
    """The event. The same message id and text can be sent again. Raises Refused (413, 422)."""
    require_words(text)
    first = next(line.strip() for line in text.splitlines() if line.strip())
    bead = {
        "bead_id": message_id,
        "type": "message",
        "title": first[:_TITLE_AT_MOST],
        "body": text,
        "assignee_agent_id": Role.MAYOR.value,
        "created_by": named(by),
    }
    return {"event_id": f"say-{message_id}", "event_type": "bead_created", "payload": {"bead": bead}}
