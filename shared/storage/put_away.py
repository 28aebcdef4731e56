"""Putting a town away: its newest commit moves to the object `put-away`, so that it is no town any more, and can be brought back.

    put_away       write put-away (a line of JSON, then the head as it was), replace that head by a mark, delete the mark
    bring_back     store the event that tells of it, create the head from put-away, delete put-away

`deletion` deletes such a town for good.

Each step may be repeated after a crash: while there is a head, a put-away object beside it counts for nothing. Only the head that
was written to put-away is replaced by the mark, so no commit is lost; and whoever read that head before cannot commit any more,
because its write names a head that is gone.
"""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain.errors import (
    ConditionRace,
    Conflict,
    DamagedImage,
    PreconditionFailed,
    Refused,
    TownExists,
)
from shared.domain.shapes import Time, answer
from shared.domain.strict_json import foreign
from shared.domain.times import from_text, to_text
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.storage import head, keys
from shared.storage.listing import all_keys
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import migrations
from shared.town.town_keys import TownKeys

KEPT: Final = timedelta(days=30)
"""How long a town that was put away is not deleted, unless its operator insists: as long as its snapshots are kept."""

_MARK: Final = b"this town is being archived: repeat `townctl town archive`\n"
"""Stands in place of a head for the moment before it is deleted. It is no head, so whoever reads it goes no further."""
LONGEST_REASON: Final = 300
LONGEST_NAME: Final = 200
_LONGEST_NOTE: Final = 16 << 10
_BUSY: Final = "SELECT COUNT(*) FROM agent_metadata WHERE status NOT IN ('idle', 'dead')"
_STOPS: Final = "SELECT COUNT(*) FROM outbox WHERE kind = 'stop_agent' AND state IN ('pending', 'claimed')"
_FAR: Final = timedelta(days=36_500)


@answer
class PutAway:
    """A town that was put away: its newest commit, when that was, by whom and why, and until when it is certainly kept.

    With `deleting`, its deletion for good has begun: it cannot be brought back.
    """

    town_id: str
    txid: int
    at: Time
    by: str
    kept_until: Time
    reason: str | None = None
    deleting: bool = False


@answer
class ArchivedTowns:
    """Every archived town, ascending."""

    towns: tuple[PutAway, ...]


@dataclass(frozen=True, slots=True)
class Telling:
    """The event that tells a town of its return: an inbox object, under the same id however often the return is tried."""

    batch_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Away:
    """The object `put-away`: the note, and the head as it was."""

    note: PutAway
    head: bytes
    etag: str


def put_away(
    store: ObjectTownStore, kept: KeptPast, *, by: str, reason: str | None = None, now: datetime
) -> Steps[PutAway]:
    """Put a town away. Raises UnknownTown, Refused (409) if something of it may still run or waits, and Conflict.

    `by` and `reason` are kept with it.
    """
    require_reason(reason)
    town_id = kept.town_id
    note = yield from _half_done(kept)
    if note is None:
        note = yield from _moved(store, kept, by=by, reason=reason, now=now)
    far = yield from store.due(now + _FAR)
    yield from store.clear_due(tuple(marker.key for marker in far if marker.town_id == town_id))
    return note


def require_reason(reason: str | None) -> None:
    """Raise Refused (422) for a reason that is not one line of text."""
    if reason is None or (reason.isprintable() and reason.strip() and len(reason) <= LONGEST_REASON):
        return
    hint = f"give one line of at most {LONGEST_REASON} characters, or none"
    raise Refused("this reason cannot be kept", status=422, path="reason", hint=hint)


def _moved(store: ObjectTownStore, kept: KeptPast, *, by: str, reason: str | None, now: datetime) -> Steps[PutAway]:
    """Move the head of a town in which nothing runs or waits."""
    town_id, objects = kept.town_id, kept.objects
    image = yield from store.load(town_id)
    waiting = yield from store.count_inbox(town_id, after="")
    if waiting:
        why = f"events wait in its inbox ({waiting} {'batch' if waiting == 1 else 'batches'})"
        raise _not_yet(town_id, why, f"wait for its next tick, or run it: `townctl tick {town_id} --force`")
    _require_rest(image)
    key, place = keys.head(town_id), keys.put_away(town_id)
    found: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if found is None or found.etag != image.etag:
        raise _moving(town_id)
    note = PutAway(town_id, image.txid, now, by[:LONGEST_NAME], now + KEPT, reason)
    yield Call(f"put {place}", partial(objects.put, place, written(note, found.body)))
    if not (yield from _ended(objects, key, found.etag)):
        yield Call(f"delete {place}", partial(objects.delete, place))
        raise _moving(town_id)
    yield Call(f"delete {key}", partial(objects.delete, key))
    return note


def bring_back(store: ObjectTownStore, kept: KeptPast, telling: Telling, *, now: datetime) -> Steps[PutAway]:
    """Make it a town again, at its newest commit, and tell it so. Raises Refused (404, 409), TownExists, DamagedImage."""
    town_id = kept.town_id
    away = yield from read(kept)
    if away.note.deleting:
        raise _being_deleted(town_id)
    key, place = keys.head(town_id), keys.put_away(town_id)
    there: bytes | None = yield Call(f"start_of {key}", partial(kept.objects.start_of, key, 1))
    if there is not None:
        raise _not_archived(town_id)
    yield from _tell(store, kept, telling, now=now)
    try:
        yield Call(f"create {key}", partial(kept.objects.create, key, away.head))
    except PreconditionFailed:
        raise _not_archived(town_id) from None
    if (yield from is_being_deleted(kept)):
        yield Call(f"delete {key}", partial(kept.objects.delete, key))
        raise _being_deleted(town_id)
    yield from store.ensure(keys.due_marker(town_id, now))
    yield Call(f"delete {place}", partial(kept.objects.delete, place))
    return away.note


def _tell(store: ObjectTownStore, kept: KeptPast, telling: Telling, *, now: datetime) -> Steps[None]:
    """Store the event, unless an attempt that did not end has stored it: its word counts."""
    town_id = kept.town_id
    waiting = yield from all_keys(kept.objects.waiting, keys.inbox(town_id))
    if any(key.endswith(f"-{telling.batch_id}.json") for key in waiting):
        yield from store.mark_due(town_id, now)
        return
    key = keys.inbox_object(town_id, now, telling.batch_id)
    yield from store.take_in(town_id, key, telling.body, due=now)


def is_being_deleted(kept: KeptPast) -> Steps[bool]:
    """Whether its deletion for good has begun, or is over."""
    place = keys.put_away(kept.town_id)
    found: StoredObject | None = yield Call(f"get {place}", partial(kept.objects.get, place))
    return found is None or _decoded(kept.town_id, found).note.deleting


def _not_archived(town_id: str) -> TownExists:
    return TownExists(f"town {town_id} is not archived: it has a head", hint="use it")


def _being_deleted(town_id: str) -> Refused:
    return Refused(
        f"town {town_id} cannot be brought back: its deletion for good has begun",
        status=409,
        path="town_id",
        hint=f"finish it: townctl town delete {town_id}",
    )


def all_put_away(store: ObjectTownStore, archive_of: Callable[[str], KeptPast]) -> Steps[tuple[PutAway, ...]]:
    """Every town that is put away, ascending. A few calls for each town."""
    return (yield from notes_of((yield from store.headless(put_away=True)), archive_of))


def notes_of(town_ids: Iterable[str], archive_of: Callable[[str], KeptPast]) -> Steps[tuple[PutAway, ...]]:
    """What is noted about these towns. One that is back or gone meanwhile is left out."""
    found: list[PutAway] = []
    for town_id in town_ids:
        with suppress(Refused):
            found.append((yield from read(archive_of(town_id))).note)
    return tuple(found)


def _half_done(kept: KeptPast) -> Steps[PutAway | None]:
    """Finish what a process began that ended between the mark and the deletion; None if there is no mark."""
    key = keys.head(kept.town_id)
    there: bytes | None = yield Call(f"start_of {key}", partial(kept.objects.start_of, key, len(_MARK)))
    if there != _MARK:
        return None
    away = yield from read(kept)
    yield Call(f"delete {key}", partial(kept.objects.delete, key))
    return away.note


def _require_rest(image: TownImage) -> None:
    """Refuse a town in which something may still run."""
    town_id = image.town_id
    with migrations.readable(image.image) as sql:
        if not TownKeys(sql).paused:
            raise _not_yet(town_id, "it is not paused", f"first: `townctl pause {town_id} --stop-agents`")
        busy, stops = (sql.execute(query).fetchone()[0] for query in (_BUSY, _STOPS))
    if busy:
        stop = f"first: `townctl pause {town_id} --stop-agents`"
        raise _not_yet(town_id, f"{busy} of its agents have not ended", stop)
    if stops:
        raise _not_yet(town_id, f"{stops} agents are being stopped", f"look: `townctl town status {town_id}`")


def _not_yet(town_id: str, why: str, hint: str) -> Refused:
    return Refused(f"town {town_id} cannot be archived yet: {why}", status=409, path="town_id", hint=hint)


def _moving(town_id: str) -> Conflict:
    return Conflict(f"town {town_id} was ticked just now", hint="nothing was changed; repeat the command")


def _ended(objects: ObjectStore, key: str, etag: str) -> Steps[bool]:
    """Replace the head that has this ETag by the mark. False, having changed nothing, if it has another one."""
    try:
        yield Call(f"replace {key}", partial(objects.replace, key, _MARK, etag))
    except PreconditionFailed:  # perhaps by an earlier attempt of this call
        found: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
        return found is not None and found.body == _MARK
    except ConditionRace:
        return False
    return True


def written(note: PutAway, body: bytes) -> bytes:
    """The bytes of the object: the note, then the head."""
    line = {"format": 1, "town": note.town_id, "txid": note.txid, "at": to_text(note.at), "by": note.by}
    reason = {} if note.reason is None else {"reason": note.reason}
    deleting = {"deleting": True} if note.deleting else {}
    return json.dumps({**line, **reason, **deleting}).encode() + b"\n" + body


def read(kept: KeptPast) -> Steps[Away]:
    """The object of a town that is put away. Raises Refused (404) if it is not, DamagedImage."""
    town_id = kept.town_id
    place = keys.put_away(town_id)
    found: StoredObject | None = yield Call(f"get {place}", partial(kept.objects.get, place))
    if found is None:
        hint = "`townctl town archived` lists those that are"
        raise Refused(f"no town {town_id} is archived here", status=404, path="town_id", hint=hint)
    return _decoded(town_id, found)


def _decoded(town_id: str, found: StoredObject) -> Away:
    place = keys.put_away(town_id)
    line, _, body = found.body.partition(b"\n")
    try:
        told = foreign(line, limit=_LONGEST_NOTE)
        at, reason = from_text(told["at"]), told.get("reason")
        why = None if reason is None else str(reason)
        note = PutAway(town_id, int(told["txid"]), at, str(told["by"]), at + KEPT, why, told.get("deleting") is True)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedImage(
            f"{place} is damaged: {error}", hint="the object was not changed; put it back from a backup"
        ) from error
    head.decode(body, key=place, town_id=town_id)
    return Away(note, body, found.etag)
