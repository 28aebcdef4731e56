"""The waiting room: inbox objects and due markers, and the order in which they are written and deleted.

No acknowledged event that wakes its town may wait without a due marker. A poster and a worker run at the same time, without a lock:

    poster                                  worker
    P1 put the marker                       W1 read the inbox, tick, commit
    P2 create the inbox object              W2 delete the marker
    P3 get the marker; if gone, put it      W3 read the inbox again; if not empty, put a marker
    P4 acknowledge

If W2 comes before P3, the poster sees that the marker is gone and writes it again. If W2 comes after P3, it comes after P2
as well, so W3 finds the object and the worker writes a marker. In either order, one of the two sees the other's write. Without P3,
the order P1 W1 W2 W3 P2 would leave an event waiting until the hourly sweep.
"""

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Final

from shared.domain import limits
from shared.domain.errors import (
    ArchivedTown,
    ConditionRace,
    LostHead,
    PreconditionFailed,
    Refused,
    StoreUnavailable,
    TownExists,
    UnknownTown,
)
from shared.domain.times import to_text
from shared.ports.object_store import Listing, ObjectStore, PlainObjects, StoredObject
from shared.ports.steps import Call, Steps, all_of
from shared.ports.waiting_room import Admission, DueMarker, InboxObject, InboxReading, Room
from shared.storage import keys
from shared.storage.listing import KeysBelow
from shared.storage.mending import way_back

PAGE: Final = 1000  # keys in one listing, the most that S3 returns

_READ_AT_ONCE: Final = 100
_COUNTED: Final = 10 * PAGE
_CREATE_TRIES: Final = 3
_INBOX_BYTES: Final = 64 << 20  # one reading stops before it has more than this, to bound the memory of a worker
_OBJECT_BYTES: Final = limits.INBOX_OBJECT_SIZE + 1  # enough to see that an object is larger than any batch

_lies_in_an_inbox: Final = keys.is_inbox_object

_Listed = tuple[str, int]
"""The key of a batch, and the bytes that it has."""


class ObjectWaitingRoom:
    """The WaitingRoom port over any ObjectStore, or over the table in which the store keeps what waits."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._room = objects.waiting

    def store_time(self) -> datetime:
        """The present time by the store's own clock. Makes its request at once, unlike the methods that yield steps."""
        return self._objects.time()

    def post(
        self,
        town_id: str,
        body: bytes,
        *,
        received_at: datetime,
        batch_id: str,
        wake: bool,
        admit: Room | None = None,
        judge: Admission | None = None,
    ) -> Steps[str]:
        """Make a batch durable and return its key. With `wake`, a due marker exists when this returns.

        `admit` is given the keys of the waiting batches, at most 999, the oldest first; without it the inbox is not listed.
        `judge` gets the newest of the batches that it names, at most 100 and fewer if they are very large; if one of them raises,
        nothing is stored. Raises UnknownTown, and Refused (409) if another body was posted under this batch id. Posting the
        same batch again changes nothing.
        """
        key = keys.inbox_object(town_id, received_at, batch_id)
        if admit is None:
            yield from self._require_head(town_id)
        else:
            beside = yield from self._waiting(town_id)
            named = frozenset(admit(beside.keys))
            newest = beside.last(named, most=_READ_AT_ONCE) if named else []
            if judge is not None and newest:
                judge((yield from self._read(newest[len(newest) - _fitting(newest[::-1], _INBOX_BYTES) :], {})))
        if not wake:
            yield from self._create_batch(key, body)
            return key
        marker = yield from self.mark_due(town_id, received_at)
        yield from self._create_batch(key, body)
        yield from self.ensure(marker)
        return key

    def take_in(self, town_id: str, key: str, body: bytes, *, due: datetime) -> Steps[None]:
        """Make a batch durable that was acknowledged elsewhere, and wake its town; the steps are those of `post`.

        If another body waits here under its id, it waits beside that one.
        """
        marker = yield from self.mark_due(town_id, due)
        try:
            yield from self._create_batch(key, body)
        except Refused:
            yield from self._create_batch(keys.beside(key), body)
        yield from self.ensure(marker)

    def read_inbox(self, town_id: str, *, limit: int) -> Steps[InboxReading]:
        """The oldest batches: at most `limit`, fewer if they are very large, because reading stops at 64 MiB."""
        prefix = keys.inbox(town_id)
        objects: list[InboxObject] = []
        looked_at, room, after = 0, _INBOX_BYTES, ""
        while looked_at < limit and room > 0:
            page = yield from self._page_with_bodies(prefix, after=after, limit=min(_READ_AT_ONCE, limit - looked_at))
            listed = tuple(zip(page.keys, page.sizes, strict=True))
            read = listed[: _fitting(listed, room)]
            objects += yield from self._read(read, dict(zip(page.keys, page.bodies, strict=False)))
            if read != listed:
                break
            if not page.more:
                return InboxReading(tuple(objects), more=False)
            looked_at += len(listed)
            room -= sum(map(_read_of, listed))
            after = page.keys[-1]
        return InboxReading(tuple(objects), more=True)

    def count_inbox(self, town_id: str, *, after: str) -> Steps[int]:
        """The number of batches behind the one with the key `after`; of more than 10,000 only that many are counted."""
        counted = 0
        while counted < _COUNTED:
            page = yield from self._page(keys.inbox(town_id), after=after, limit=PAGE)
            counted += len(page.keys)
            if not page.more:
                break
            after = page.keys[-1]
        return counted

    def clear_inbox(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete batches whose events are committed. Keys that are gone already are not an error."""
        yield from self._delete(keys, only=_lies_in_an_inbox)

    def mark_due(self, town_id: str, at: datetime) -> Steps[DueMarker]:
        """Write the marker of the second that contains `at`."""
        marker = keys.due_marker(town_id, at)
        yield Call(f"put {marker.key}", partial(self._room.put, marker.key, b""))
        return marker

    def clear_due(self, keys: tuple[str, ...]) -> Steps[None]:
        """Delete markers. Keys that are gone already are not an error."""
        yield from self._delete(keys, only=_is_marker)

    def due(self, now: datetime) -> Steps[tuple[DueMarker, ...]]:
        """All markers of `now` or earlier, oldest first. Other objects under the prefix are skipped."""
        end = keys.after_due(now)
        found: list[DueMarker] = []
        after = ""
        while True:
            page = yield from self._page(keys.DUE, after=after, limit=PAGE)
            markers = (keys.marker_of(key) for key in page.keys if key < end)
            found += [marker for marker in markers if marker is not None]
            if not page.more or page.keys[-1] >= end:
                return tuple(found)
            after = page.keys[-1]

    def _require_head(self, town_id: str) -> Steps[None]:
        """Raise UnknownTown if the town was never created. Reads one byte of its head: a listing costs twelve times as much."""
        key = keys.head(town_id)
        there: bytes | None = yield Call(f"start_of {key}", partial(self._objects.start_of, key, 1))
        if there is None:
            raise (yield from no_head(self._objects, town_id))

    def _waiting(self, town_id: str) -> Steps[KeysBelow]:
        """The waiting batches, from a listing of at most 1000 keys that also shows the head. Raises as `_require_head`.

        A table holds no heads, so a town's own is then asked for first.
        """
        if self._room is not self._objects:
            yield from self._require_head(town_id)
            return KeysBelow(
                (yield from self._page(keys.inbox(town_id), after="", limit=PAGE - 1)), keys.inbox(town_id)
            )
        listing = yield from self.listed(keys.town(town_id), after=keys.before_head(town_id), limit=PAGE)
        if keys.head(town_id) not in listing.keys:
            raise (yield from no_head(self._objects, town_id))
        return KeysBelow(listing, keys.inbox(town_id))

    def _create_batch(self, key: str, body: bytes) -> Steps[None]:
        for _ in range(_CREATE_TRIES):
            try:
                yield Call(f"create {key}", partial(self._room.create, key, body))
            except (PreconditionFailed, ConditionRace):
                there: StoredObject | None = yield Call(f"get {key}", partial(self._room.get, key))
                if there is None:
                    # a tick has taken it meanwhile, and its body is unknown: store ours again
                    continue
                if there.body == body:
                    return
                raise Refused(
                    f"{key}: a batch with another body was posted under this id",
                    status=409,
                    path="batch_id",
                    hint="give every batch its own id; nothing of this batch was stored",
                ) from None
            else:
                return
        raise StoreUnavailable(
            f"create {key}: the object was repeatedly created and deleted", hint="post the batch again"
        )

    def ensure(self, marker: DueMarker) -> Steps[None]:
        """Write the marker again if it was deleted meanwhile: step P3 above."""
        there: StoredObject | None = yield Call(f"get {marker.key}", partial(self._room.get, marker.key))
        if there is None:
            yield from self.mark_due(marker.town_id, marker.at)

    def listed(self, prefix: str, *, after: str, limit: int) -> Steps[Listing]:
        """One page of the keys of the store."""
        listing: Listing = yield listing_of(self._objects, prefix, after=after, limit=limit)
        return listing

    def _page(self, prefix: str, *, after: str, limit: int) -> Steps[Listing]:
        """One page of the keys of what waits."""
        listing: Listing = yield listing_of(self._room, prefix, after=after, limit=limit)
        return listing

    def _page_with_bodies(self, prefix: str, *, after: str, limit: int) -> Steps[Listing]:
        """One page of the keys of what waits, with the bodies that the room gives with them."""
        name = f"list {prefix}" + (f" after {after}" if after else "")
        listing: Listing = yield Call(name, partial(self._room.list_with_bodies, prefix, after=after, limit=limit))
        return listing

    def _read(self, found: Sequence[_Listed], given: Mapping[str, bytes | None]) -> Steps[list[InboxObject]]:
        """The objects of these keys that are still there, in the same order. Of one that is too large, only the beginning.

        Those whose bodies are `given` are not asked for again.
        """
        bodies = dict(given)
        asked = [key for key, _ in found if bodies.get(key) is None]
        if asked:
            calls = tuple(Call(f"get {key}", partial(self._room.start_of, key, _OBJECT_BYTES)) for key in asked)
            answers = yield from all_of(calls, at_once=self._room.at_once)
            bodies |= dict(zip(asked, answers, strict=True))
        return [
            InboxObject(key, body, size if len(body) == _OBJECT_BYTES else None)
            for key, size in found
            if (body := bodies[key]) is not None
        ]

    def _delete(self, doomed: Sequence[str], *, only: Callable[[str], bool]) -> Steps[None]:
        if strangers := [key for key in doomed if not only(key)]:
            raise ValueError(f"not keys of the waiting room: {strangers}")
        calls = tuple(Call(f"delete {key}", partial(self._room.delete, key)) for key in doomed)
        if calls:
            yield from all_of(calls, at_once=self._room.at_once)


def listing_of(objects: PlainObjects, prefix: str, *, after: str, limit: int) -> Call:
    """The call for one page of keys."""
    name = f"list {prefix}" + (f" after {after}" if after else "")
    return Call(name, partial(objects.list, prefix, after=after, limit=limit))


def _read_of(listed: _Listed) -> int:
    """How many bytes of this object are read."""
    return min(listed[1], _OBJECT_BYTES)


def _fitting(listed: Sequence[_Listed], room: int) -> int:
    """How many of these objects, from the first one on, fit into so many bytes; at least one, if there is any."""
    return max(bisect_right(list(accumulate(map(_read_of, listed))), room), min(1, len(listed)))


def _is_marker(key: str) -> bool:
    return key.startswith(keys.DUE)


def no_head(objects: ObjectStore, town_id: str) -> Steps[UnknownTown | LostHead]:
    """The error for a town without a head: it was put away, it lost its head, if history of it is left, or it does not exist."""
    at = yield from put_away_at(objects, town_id)
    if at is not None:
        return is_put_away(town_id, at)
    left = yield from history_of(objects, town_id)
    return unknown(town_id) if left is None else lost_head(town_id, left)


def history_of(objects: ObjectStore, town_id: str) -> Steps[str | None]:
    """The key of an object of the history of a town, with or without a head; None if it has no history."""
    for prefix in (keys.ltx_prefix(town_id), keys.journal_prefix(town_id)):
        page: Listing = yield Call(f"list {prefix}", partial(objects.list, prefix, limit=1))
        if page.keys:
            return page.keys[0]
    return None


def put_away_at(objects: ObjectStore, town_id: str) -> Steps[datetime | None]:
    """When a town without a head was put away; None if it was not."""
    key = keys.put_away(town_id)
    page: Listing = yield Call(f"list {key}", partial(objects.list, key, limit=1))
    return page.times[0] if page.keys == (key,) else None


def lost_by(objects: ObjectStore, town_id: str) -> Steps[str | None]:
    """The key of an object of the history of a town without a head that was not put away; None if there is none."""
    away = yield from put_away_at(objects, town_id)
    return None if away is not None else (yield from history_of(objects, town_id))


def require_free(objects: ObjectStore, town_id: str) -> Steps[None]:
    """Check that no history of another town has this id. Raises TownExists."""
    away = yield from put_away_at(objects, town_id)
    if away is not None:
        gone = is_put_away(town_id, away)
        raise TownExists(gone.message, hint=f"{gone.hint}; or choose another id")
    left = yield from history_of(objects, town_id)
    if left is not None:
        raise TownExists(
            f"town {town_id} cannot be created: the history of a town of this name is there ({left}), but not its head",
            hint=f"{way_back(town_id)}; or choose another id",
        )


def is_put_away(town_id: str, at: datetime) -> ArchivedTown:
    """The error for a town that was put away."""
    return ArchivedTown(
        f"town {town_id} was archived at {to_text(at)}",
        hint=f"`townctl town bring-back {town_id}` makes it a town again",
    )


def lost_head(town_id: str, left: str) -> LostHead:
    """The error for a town that has lost its head; `left` is the key of an object of its history."""
    return LostHead(
        f"town {town_id} has lost its head: {keys.head(town_id)} is missing, but its history is there ({left})",
        hint=f"bring it back: {way_back(town_id)}",
    )


def unknown(town_id: str) -> UnknownTown:
    """The error for a town that does not exist."""
    return UnknownTown(
        f"there is no town {town_id} here",
        hint="create it first, or check the name of the data directory or bucket",
    )
