"""New random ids: of workers, of batches, of events that a person posts.

A commit is identified by its worker's id, so a worker id is used for one run only.
"""

import uuid


def worker_id() -> str:
    """The id of one run of a worker."""
    return uuid.uuid4().hex[:16]


def batch_id() -> str:
    """The id of one batch in an inbox."""
    return uuid.uuid4().hex


def event_id(prefix: str) -> str:
    """The id of an event whose sender did not choose one."""
    return f"{prefix}-{uuid.uuid4()}"


def message_id() -> str:
    """The id of a message of a person, short for people who see only its first part."""
    return str(uuid.uuid4())
