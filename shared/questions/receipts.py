"""The answers to write requests: what was stored or created."""

from shared.domain.shapes import answer
from shared.ports.agent_logs import LogKind


@answer
class AcceptedEvents:
    """A durable batch of events. `accepted` lists their ids."""

    batch_id: str
    accepted: tuple[str, ...]


@answer
class KeptLogReport:
    """The log of an agent's start that was kept: its bytes of UTF-8, and whether its beginning was left out."""

    agent_id: str
    generation: int
    kind: LogKind
    kept_bytes: int
    cut: bool


@answer
class CreatedTown:
    """A town that was created, and its first commit."""

    town_id: str
    txid: int
    image_digest: str


@answer
class BrakedTown:
    """A town that was told to pause or to start: the event's id; or why it was left as it is, or could not be told."""

    town_id: str
    accepted: str | None
    left: str | None
    problem: str | None


@answer
class BrakedTowns:
    """The towns that were told to pause or to start, in the order of their ids."""

    towns: tuple[BrakedTown, ...]


@answer
class ResumedTown:
    """A town that runs with the others again. `resumed` is false if it did so before."""

    town_id: str
    resumed: bool


@answer
class Said:
    """What a person said to the mayor is stored. `messageId` is the bead that answers to it name."""

    town_id: str
    message_id: str
