"""The town-store port: committed images with a version and a fence, beside the waiting room.

Every method yields its store calls as steps (`shared.ports.steps`) and touches nothing outside between them.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.images import Content, JournalBlock
from shared.ports.steps import Call, Steps
from shared.ports.waiting_room import WaitingRoom


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """What the manifest says about an image besides its bytes.

    `commit_id` is unique: for a tick it is the tick id, made of the tick number and a worker id that is used only once.
    """

    commit_id: str
    tick_no: int
    time: datetime
    next_due: datetime | None
    schema_version: int

    @property
    def by_tick(self) -> bool:
        """Whether a tick made this commit. A restore and an import have ids of their own and keep the last tick's number."""
        return not self.commit_id.startswith("import-") and "-restore-" not in self.commit_id


@dataclass(frozen=True, slots=True)
class TownImage:
    """One committed image of one town, verified. `etag` is the fence: a commit replaces exactly this version.

    `layers` belongs to the storage layer: the objects that the image consists of. The content of a large image can be read
    until the second commit after it.
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
        """The bytes. For a large image this is a copy."""
        return self.content if isinstance(self.content, bytes) else self.content.whole()

    @property
    def size(self) -> int:
        """The size of the image in bytes."""
        content = self.content
        return len(content) if isinstance(content, bytes) else content.page_size * content.pages


@dataclass(frozen=True, slots=True)
class Published:
    """What has become an immutable object: `layer` (belongs to the storage layer), and the journal up to a tick (0: none)."""

    layer: object = None
    journal_to: int = 0


class Publication(Protocol):
    """The immutable objects that are to be made of a committed image before its successor refers to them.

    The worker makes `calls` beside its other calls at the start of a tick, then drives `settled` with the answers.
    """

    @property
    def calls(self) -> tuple[Call, ...]:
        """The creates, in any order; often none."""
        ...

    def settled(self, answers: tuple[object, ...]) -> Steps[Published]:
        """Which objects exist, given the answers (results or exceptions) in the order of `calls`.

        An object whose create failed for a passing reason is left out; the next tick tries again. Raises DamagedImage if
        other bytes lie under its key, and AccessDenied and other Terminal errors.
        """
        ...


class TownStore(WaitingRoom, Protocol):
    """Keeps the images, inboxes and due markers of all towns.

    Methods raise what the object store raises. StoreUnavailable leaves open whether a commit stands: the caller drops its
    work, and the next load shows the truth. Conflict means that another writer committed first and nothing was changed:
    the caller drops its work and does not retry.
    """

    def load(self, town_id: str, *, known: TownImage | None = None) -> Steps[TownImage]:
        """The newest committed image, every byte verified. Returns `known` itself if it still is the newest.

        Raises UnknownTown, DamagedImage (names the object; nothing is repaired), WrongTown, SchemaMismatch, ImageTooLarge.
        """
        ...

    def create(self, town_id: str, image: bytes, facts: CommitFacts) -> Steps[TownImage]:
        """Commit the first image (txid 1) and mark the town due. Raises TownExists.

        `facts.commit_id` is the idempotency key within the call: a lost answer is resolved by reading the head.
        """
        ...

    def publication(self, image: TownImage, block: JournalBlock | None) -> Publication:
        """What is to be published of a committed image and of the oldest rows of its journal. Makes no call."""
        ...

    def commit(
        self, base: TownImage, image: Content, facts: CommitFacts, *, published: Published = Published()
    ) -> Steps[TownImage]:
        """Replace `base` by `image` (txid + 1), or raise Conflict having changed nothing.

        `facts.commit_id` is the idempotency key within the call: a lost answer is resolved by reading the head, and only the
        same bytes are sent again. After StoreUnavailable the commit may stand. A commit whose answer was lost and which
        another commit has followed since is reported as Conflict: the head no longer names it.
        """
        ...

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """The ids of all towns that have a head, ascending.

        With `prefix`, those that begin with it. With `limit`, the next ones after the town `after`, in the order of the
        store's keys, in which `a-b` comes before `a`.
        """
        ...
