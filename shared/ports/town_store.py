"""The port between the engine and the storage layer: images with a version, an inbox, due markers.

Every method is a generator of steps (`shared.ports.steps`): it yields each store call and touches nothing between them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.images import Content, JournalBlock
from shared.ports.steps import Call, Steps


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What the manifest says of an image besides its bytes.

    `commit_id` never repeats: it is the tick id, made from the tick number and a fresh worker id.
    """

    commit_id: str
    tick_no: int
    time: datetime
    next_due: datetime | None
    schema_version: int

    @property
    def by_tick(self) -> bool:
        """Whether a tick made this commit. A restore and an import keep the number of the last tick under an id of their own."""
        return not self.commit_id.startswith("import-") and "-restore-" not in self.commit_id


@dataclass(frozen=True, slots=True)
class TownImage:
    """One committed image of one town, verified. `etag` is the fence: a commit replaces exactly this version.

    `layers` is the storage layer's own: what the image stands on in the store. A large image can be read until the second
    commit after it.
    """

    town_id: str
    content: Content
    etag: str
    txid: int
    image_digest: str
    facts: CommitFacts
    layers: object = None

    @property
    def image(self) -> bytes:
        """The bytes; of a large image a copy."""
        return self.content if isinstance(self.content, bytes) else self.content.whole()

    @property
    def size(self) -> int:
        """How many bytes the image has."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.page_size * content.pages


@dataclass(frozen=True, slots=True)
class Published:
    """What was made immutable of a committed image: the storage layer's `layer`, and the journal up to a tick (0: none)."""

    layer: object = None
    journal_to: int = 0


class Publication(Protocol):
    """What a committed image has grown enough for: calls that may be made beside others, and what follows of the answers."""

    @property
    def calls(self) -> tuple[Call, ...]:
        """The creates, in no order; often none."""
        ...

    def settled(self, answers: tuple[object, ...]) -> Steps[Published]:
        """What stands, given the answers (results or exceptions) in the order of `calls`. Raises DamagedImage, AccessDenied."""
        ...


@dataclass(frozen=True, slots=True)
class InboxObject:
    """One batch as it lies in the inbox; its body is not decoded here."""

    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InboxReading:
    """The oldest objects of an inbox in order of receipt; `more` says that others wait behind them."""

    objects: tuple[InboxObject, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class DueMarker:
    """A marker that says: this town wants a tick at that time. `at` is a whole second, never later than wanted."""

    key: str
    town_id: str
    at: datetime


class TownStore(Protocol):
    """Where towns are kept. Methods raise what `shared.domain.errors` names; Conflict means that another writer won."""

    def load(self, town_id: str, *, known: TownImage | None = None) -> Steps[TownImage]:
        """The newest image; `known` itself if it still is. Raises UnknownTown, DamagedImage, WrongTown, ImageTooLarge."""
        ...

    def create(self, town_id: str, image: bytes, facts: CommitFacts) -> Steps[TownImage]:
        """Commit the first image (txid 1) and mark the town due. Raises TownExists."""
        ...

    def publication(self, image: TownImage, block: JournalBlock | None) -> Publication:
        """What is to be made immutable of a committed image before its successor refers to it."""
        ...

    def commit(
        self, base: TownImage, image: Content, facts: CommitFacts, *, published: Published = Published()
    ) -> Steps[TownImage]:
        """Replace `base` by `image` (txid + 1) or raise Conflict having changed nothing. Lost answers are resolved."""
        ...

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """The ids of all towns that have a head, ascending; with `limit` the next ones behind `after`, in the store's order.

        With `prefix`, those that begin with it.
        """
        ...

    def post(
        self,
        town_id: str,
        body: bytes,
        *,
        received_at: datetime,
        batch_id: str,
        wake: bool,
        judge: Callable[[Sequence[InboxObject]], None] | None = None,
    ) -> Steps[str]:
        """Make a batch durable and return its key; with `wake` a due marker exists when this returns.

        `judge` is shown the newest batches that wait already and may raise: then nothing is stored. Raises
        UnknownTown. Posting the same batch id with the same body again changes nothing.
        """
        ...

    def read_inbox(self, town_id: str, *, limit: int) -> Steps[InboxReading]:
        """The oldest batches, as many as are needed for `limit` events if each batch held one."""
        ...

    def clear_inbox(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete batches whose events are committed."""
        ...

    def mark_due(self, town_id: str, at: datetime) -> Steps[DueMarker]:
        """Write the marker of that second."""
        ...

    def clear_due(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete markers."""
        ...

    def due(self, now: datetime) -> Steps[tuple[DueMarker, ...]]:
        """All markers of `now` or earlier, oldest first."""
        ...
