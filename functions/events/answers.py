"""The shapes of the events API's answers. OpenAPI is generated from them."""

from typing import NotRequired  # pydantic needs this one below Python 3.12

from typing_extensions import TypedDict


class BatchDocument(TypedDict):
    """A durable batch of events. `accepted` lists their ids."""

    batchId: str
    accepted: list[str]


class Nonce(TypedDict):
    """The nonce of the current drain; null while the town is not draining."""

    drain_nonce: NotRequired[str | None]


class ReportDocument(BatchDocument, Nonce):
    """A durable batch. `drain_nonce` answers evictions and heartbeats; it is null while the town is not draining."""


class TownDocument(TypedDict):
    """A town that was created, and its first commit."""

    townId: str
    txid: int
    imageDigest: str


class TownsDocument(TypedDict):
    """A page of town ids. `next` is the `after` for the next page, null on the last one."""

    towns: list[str]
    next: str | None
