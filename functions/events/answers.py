"""The shapes of the events API's answers. OpenAPI is generated from them."""

from shared.domain.shapes import answer


@answer
class Batch:
    """A durable batch of events. `accepted` lists their ids."""

    batch_id: str
    accepted: tuple[str, ...]


@answer
class Report:
    """A durable batch. `drain_nonce` answers evictions and heartbeats; it is null while the town is not draining."""

    batch_id: str
    accepted: tuple[str, ...]
    drain_nonce: str | None


@answer
class CreatedTown:
    """A town that was created, and its first commit."""

    town_id: str
    txid: int
    image_digest: str


@answer
class TownList:
    """A page of town ids. `next` is the `after` for the next page, null on the last one."""

    towns: tuple[str, ...]
    next: str | None
