"""What the journal has of an event as it was sent: who sent it, and what it says."""

from collections.abc import Mapping
from typing import Any

from shared.domain import strict_json
from shared.domain.secret_texts import masked
from shared.domain.senders import Sender, stored_ids

Sent = Mapping[str, Any]
"""An envelope as the journal stores it, or the part of it that is known."""


def said_by(envelope: Sent) -> str | None:
    """Who sent an event: the agent of its token, else the name that it gives, else whose token it was. None if nothing says it."""
    sender = sender_of(envelope)
    if sender is not None and sender.agent is not None:
        return sender.words
    payload = payload_of(envelope)
    named = _named(payload) if isinstance(payload, dict) else None
    return str(named) if named else None if sender is None else sender.words


def _named(payload: Mapping[str, object]) -> object:
    """The name that an event gives for its sender; of a new bead, for who asked for it."""
    bead = payload.get("bead")
    return payload.get("by") or (bead.get("created_by") if isinstance(bead, Mapping) else None)


def sender_of(envelope: Sent) -> Sender | None:
    """Whose token sent an event; None if nobody's did, or if the journal's note of it cannot be read."""
    try:
        return None if envelope.get("sender") is None else Sender.from_json(envelope["sender"])
    except ValueError:
        return None


def may_be(envelope: Sent, event_id: str) -> bool:
    """Whether the town may have stored the event under this id."""
    return event_id in stored_ids(envelope["event_id"], sender_of(envelope))


def payload_of(envelope: Sent) -> object:
    """What an event says; its text if that is not JSON."""
    text = envelope.get("payload") or "{}"
    try:
        return strict_json.stored(text)
    except ValueError:
        return text


def bead_of(envelope: Mapping[str, Any]) -> str | None:
    """The bead that an event is about, or that it creates."""
    payload = envelope["payload"]
    if envelope["bead_id"] is not None or not isinstance(payload, str):
        return envelope["bead_id"]  # type: ignore[no-any-return] # the id in a stored event is a text
    try:
        made = strict_json.stored(payload).get("bead")
    except ValueError:
        return None
    return made.get("bead_id") if isinstance(made, Mapping) else None


def scrubbed(value: object) -> object:
    """A JSON value without what looks like a secret."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: scrubbed(inner) for key, inner in value.items()}
    return [scrubbed(inner) for inner in value] if isinstance(value, list | tuple) else value
