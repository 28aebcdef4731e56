"""The town-store port: committed images, each with a version and a fence, and the waiting room.

Every method yields its store calls as steps (`shared.ports.steps`) and touches nothing outside between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.domain.errors import TownError
from shared.domain.images import ArchiveBlock, Content, JournalBlock
from shared.domain.tick import Archived
from shared.ports.steps import Call, Steps
from shared.ports.town_archive import TownArchive
from shared.ports.waiting_room import WaitingRoom
from shared.ports.watch import Watch


@dataclass(frozen=True, slots=True)
class CommitFacts:
    """The facts that the manifest records about an image.

    `commit_id` is unique: for a tick it is the tick id, made of the tick number and a worker id that is used only once.
    `drain_nonce` is the nonce of the drain in the image, None if the town does not drain. `epoch` counts the restores in place:
    commits are ordered by (epoch, time), because a restore may bring time back.
    """

    commit_id: str
    tick_no: int
    time: datetime
    next_due: datetime | None
    schema_version: int
    drain_nonce: str | None = None
    epoch: int = 0

    @property
    def by_tick(self) -> bool:
        """Whether a tick made this commit. The ids of restores and imports differ."""
        return not self.commit_id.startswith("import-") and "-restore-" not in self.commit_id


@dataclass(frozen=True, slots=True)
class TownImage:
    """One committed image of one town, verified. `etag` is the fence: a commit replaces exactly this version.

    `layers` is for the storage layer: the objects of which the image consists. The content of a large image can be read
    until two later images have been made from it.
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
    """The published parts of an image: `layer` (for the storage layer), and the journal up to tick `journal_to` (0: none)."""

    layer: object = None
    journal_to: int = 0


class Publication(Protocol):
    """The immutable objects to create from a committed image before its successor refers to them.

    The worker makes `calls` together with its other calls at the start of a tick, then drives `settled` with the answers.
    """

    @property
    def calls(self) -> tuple[Call, ...]:
        """The creates, in any order; often none."""
        ...

    def settled(self, answers: tuple[object, ...]) -> Steps[Published]:
        """Which objects exist, given the answers (results or exceptions) in the order of `calls`.

        An object whose create failed for a passing reason is left out; the next tick tries again. Raises DamagedImage if its
        key holds other bytes, and AccessDenied and other Terminal errors.
        """
        ...


@dataclass(frozen=True, slots=True)
class SeenTown:
    """A town as a listing shows it. `waits`: whether events wait in its inbox; None if the listing does not show that.

    `left`: events may have been left for it where nobody reads them.
    """

    town_id: str
    waits: bool | None
    left: bool = False


class TownStore(WaitingRoom, TownArchive, Watch, Protocol):
    """Keeps the images, inboxes and due markers of all towns, and the watch over them.

    Methods raise what the object store raises. After StoreUnavailable it is unknown whether a commit stands: the caller
    drops its work, and the next load shows whether it does. Conflict means that another writer committed first and nothing was
    changed: the caller drops its work and does not retry.
    """

    def load(self, town_id: str, *, known: TownImage | None = None) -> Steps[TownImage]:
        """The newest committed image, every byte verified. Returns `known` itself if it is still the newest.

        Raises UnknownTown, DamagedImage (names the object; nothing is repaired), WrongTown, SchemaMismatch, ImageTooLarge.
        """
        ...

    def create(self, town_id: str, image: bytes, facts: CommitFacts) -> Steps[TownImage]:
        """Commit the first image (txid 1) and mark the town due. Raises TownExists.

        `facts.commit_id` is the idempotency key within the call: a lost answer is resolved by reading the head.
        """
        ...

    def publication(self, image: TownImage, block: JournalBlock | None) -> Publication:
        """The objects to publish from a committed image and the oldest rows of its journal. Makes no call."""
        ...

    def archive(self, image: TownImage, block: ArchiveBlock, *, index: int) -> Steps[Archived | None]:
        """Create the objects for a block of beads that may leave a committed image, which relies on the index of commit `index`.

        None if that failed for a passing reason: a later tick tries again. Raises DamagedImage if the archive's index cannot be
        read, AccessDenied and other Terminal errors.
        """
        ...

    def commit(
        self, base: TownImage, image: Content, facts: CommitFacts, *, published: Published = Published()
    ) -> Steps[TownImage]:
        """Replace `base` by `image` (txid + 1), or raise Conflict having changed nothing.

        `facts.commit_id` is the idempotency key within the call: a lost answer is resolved by reading the head, and only the
        same bytes are sent again. After StoreUnavailable the commit may stand. A commit whose answer was lost and
        that another commit has followed is reported as Conflict: the head no longer names it.
        """
        ...

    def towns(self, *, after: str = "", limit: int | None = None, prefix: str = "") -> Steps[tuple[str, ...]]:
        """The ids of all towns that have a head, ascending.

        With `prefix`, those that begin with it. With `limit`, the next ones after the town `after`, in the order of the
        store's keys, in which `a-b` comes before `a`.
        """
        ...

    def towns_seen(self, *, after: str = "", limit: int) -> Steps[tuple[SeenTown, ...]]:
        """As `towns` with a limit, with what the listing shows of each inbox: no further call is made for it."""
        ...

    def gather_markers(self) -> Steps[None]:
        """Take in the due markers that were left where nobody reads them. Makes no call if the store itself keeps what waits."""
        ...

    def gather_inboxes(self, towns: Sequence[SeenTown], *, now: datetime) -> Steps[None]:
        """Take in the batches that were left where nobody reads them, for those of these towns whose `left` says so."""
        ...

    def standings(self, town_ids: Sequence[str]) -> Steps[tuple[CommitFacts | TownError, ...]]:
        """The facts of the newest commit of each of these towns, or why they cannot be read. No image is transferred."""
        ...

    def manifests(self, town_ids: Sequence[str]) -> Steps[tuple[CommitFacts | TownError, ...]]:
        """As `standing`, of several towns at the same time, or why they cannot be read."""
        ...

    def standing(self, town_id: str) -> Steps[CommitFacts]:
        """The facts of the newest commit. Only the manifest is transferred, so the seal of the head is not checked.

        Raises UnknownTown, DamagedImage, WrongTown, SchemaMismatch.
        """
        ...
