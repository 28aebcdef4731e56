"""The events API's answer that no question defines. OpenAPI is generated from it."""

from shared.domain.shapes import answer


@answer
class AcceptedReport:
    """A durable batch. `drain_nonce` answers an eviction, or a heartbeat while the town drains; otherwise it is null."""

    batch_id: str
    accepted: tuple[str, ...]
    drain_nonce: str | None
