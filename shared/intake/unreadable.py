"""The stand-in for an object or event that cannot be read: an event that the tick poisons, which raises an alert."""

import hashlib
from typing import Final

from shared.domain import canonical
from shared.domain.states import EventSource
from shared.domain.tick import Envelope
from shared.intake.decoding import received_at

UNREADABLE: Final = "unreadable"
"""The type of the event. It is not in the catalogue, so a tick poisons it."""


def stand_in(key: str, index: int | None, content: bytes, problem: str, *, size: int | None = None) -> Envelope:
    """The event that stands for the object under `key`, or for one event in it. All of it is ASCII.

    `size`: how many bytes there are, if `content`, of which the digest is made, is only the beginning.
    """
    name = hashlib.sha256(f"{key}\n{'' if index is None else index}\n".encode(errors="replace")).hexdigest()
    described = {
        "object": ascii(key[:200]),
        "index": index,
        "problem": ascii(problem[:400]),
        "size": len(content) if size is None else size,
        "sha256": hashlib.sha256(content).hexdigest(),
        "begins": ascii(content[:1024]),
    }
    return Envelope(
        event_id=f"{UNREADABLE}-{name[:40]}",
        event_type=UNREADABLE,
        agent_id=None,
        bead_id=None,
        payload=canonical.dumps(described),
        source=EventSource.INGEST.value,
        created_at=received_at(key),
        received_at=received_at(key),
    )
