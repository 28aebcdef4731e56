"""The shapes of what the events API answers: OpenAPI and the types are made of them."""

from typing import NotRequired  # pydantic needs this one below Python 3.12

from typing_extensions import TypedDict


class BatchDocument(TypedDict):
    """Events that are durable, by id."""

    batchId: str
    accepted: list[str]


class Nonce(TypedDict):
    """What a container has to know to leave or to come back; null while the town is not draining."""

    drain_nonce: NotRequired[str | None]


class ReportDocument(BatchDocument, Nonce):
    """Events that are durable. `drain_nonce` answers evictions and heartbeats: null while the town is not draining."""


class TownDocument(TypedDict):
    """A town that was created, and its first commit."""

    townId: str
    txid: int
    imageDigest: str


class TownsDocument(TypedDict):
    """A page of town ids. `next` is the `after` of the next one; null: that was the last."""

    towns: list[str]
    next: str | None
