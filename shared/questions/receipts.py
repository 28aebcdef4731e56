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
class Said:
    """What a person said to the mayor is stored. `messageId` is the bead that answers to it name."""

    town_id: str
    message_id: str
