"""The shape of the events API's answer that no question defines. OpenAPI is generated from it."""

from shared.domain.shapes import answer


@answer
class Report:
    """A durable batch. `drain_nonce` answers evictions and heartbeats; it is null while the town is not draining."""

    batch_id: str
    accepted: tuple[str, ...]
    drain_nonce: str | None
