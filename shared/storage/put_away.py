"""Putting a town away: its newest commit moves to the object `put-away`, so that it is no town any more, and can be brought back.

    put_away       write put-away (a line of JSON, then the head as it was), replace that head by a mark, delete the mark
    bring_back     create the head from put-away, delete put-away
    delete         delete everything below the town's prefix and what waits for it elsewhere, put-away last

Each step may be repeated after a crash: while there is a head, a put-away object beside it counts for nothing. Only the head that
was written to put-away is replaced by the mark, so no commit is lost; and whoever read that head before cannot commit any more,
because its write names a head that is gone.
"""

import json
from collections.abc import Callable
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
from shared.ports.object_store import ObjectStore, ObjectVersion, StoredObject
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.storage import head, keys, large_batches
from shared.storage.listing import all_keys
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import migrations
from shared.town.town_keys import TownKeys

KEPT: Final = timedelta(days=30)
"""How long a town that was put away is not deleted, unless its operator insists: as long as its snapshots are kept."""

_MARK: Final = b"this town is being archived: repeat `townctl town archive`\n"
"""Stands in place of a head for the moment before it is deleted. It is no head, so whoever reads it goes no further."""
_LONGEST_NOTE: Final = 4096
_BUSY: Final = "SELECT COUNT(*) FROM agent_metadata WHERE status NOT IN ('idle', 'dead')"
_STOPS: Final = "SELECT COUNT(*) FROM outbox WHERE kind = 'stop_agent' AND state IN ('pending', 'claimed')"
_FAR: Final = timedelta(days=36_500)


@answer
class PutAway:
    """A town that was put away: its newest commit, when that was and by whom, and until when it is certainly kept."""

    town_id: str
    txid: int
    at: Time
    by: str
    kept_until: Time


@answer
class ArchivedTowns:
    """Every archived town, ascending."""

    towns: tuple[PutAway, ...]


@answer
class DeletedTown:
    """A town that was deleted for good, with the number of its objects."""

    town_id: str
    objects: int


@dataclass(frozen=True, slots=True)
class _Away:
    note: PutAway
    head: bytes


def put_away(store: ObjectTownStore, kept: KeptPast, *, by: str, now: datetime) -> Steps[PutAway]:
    """Put a town away. Raises UnknownTown, Refused (409) if something of it may still run or waits, and Conflict."""
    town_id = kept.town_id
    note = yield from _half_done(kept)
    if note is None:
        note = yield from _moved(store, kept, by=by, now=now)
    far = yield from store.due(now + _FAR)
    yield from store.clear_due(tuple(marker.key for marker in far if marker.town_id == town_id))
    return note


def _moved(store: ObjectTownStore, kept: KeptPast, *, by: str, now: datetime) -> Steps[PutAway]:
    """Move the head of a town in which nothing runs or waits."""
    town_id, objects = kept.town_id, kept.objects
    image = yield from store.load(town_id)
    waiting = yield from store.count_inbox(town_id, after="")
    if waiting:
        why = f"events wait in its inbox ({waiting} {'batch' if waiting == 1 else 'batches'})"
        raise _not_yet(town_id, why, f"townctl tick {town_id} --force")
    _require_rest(image)
    key, place = keys.head(town_id), keys.put_away(town_id)
    found: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if found is None or found.etag != image.etag:
        raise _moving(town_id)
    note = PutAway(town_id, image.txid, now, by, now + KEPT)
    yield Call(f"put {place}", partial(objects.put, place, _written(note, found.body)))
    if not (yield from _ended(objects, key, found.etag)):
        yield Call(f"delete {place}", partial(objects.delete, place))
        raise _moving(town_id)
    yield Call(f"delete {key}", partial(objects.delete, key))
    return note


def bring_back(store: ObjectTownStore, kept: KeptPast, *, now: datetime) -> Steps[PutAway]:
    """Make it a town again, at its newest commit. Raises Refused (404), TownExists, DamagedImage."""
    town_id = kept.town_id
    away = yield from _read(kept)
    key, place = keys.head(town_id), keys.put_away(town_id)
    marker = yield from store.mark_due(town_id, now)
    try:
        yield Call(f"create {key}", partial(kept.objects.create, key, away.head))
    except PreconditionFailed:
        raise TownExists(f"town {town_id} is not archived: it has a head", hint="use it") from None
    yield from store.ensure(marker)
    yield Call(f"delete {place}", partial(kept.objects.delete, place))
    return away.note


def delete(kept: KeptPast, *, now: datetime, insist: bool) -> Steps[DeletedTown]:
    """Delete a town that was put away, for good. Without `insist` only when it was kept long enough.

    Raises Refused: 404 if it is not archived, 409 if it is too early or if the town is back.
    """
    town_id, key = kept.town_id, keys.head(kept.town_id)
    away = yield from _read(kept)
    there: bytes | None = yield Call(f"start_of {key}", partial(kept.objects.start_of, key, 1))
    if there is not None:
        hint = f"archive it first: `townctl town archive {town_id}`"
        raise Refused(f"town {town_id} is not archived: it has a head", status=409, path="town_id", hint=hint)
    if now < away.note.kept_until and not insist:
        raise Refused(
            f"town {town_id} was archived at {to_text(away.note.at)} and is kept until {to_text(away.note.kept_until)}",
            status=409,
            path="town_id",
            hint=f"`townctl town bring-back {town_id}` makes it a town again; to delete it now and for good, add --now",
        )
    place = keys.put_away(town_id)
    everything = yield from all_keys(kept.objects, keys.town(town_id))
    for each in everything:
        if each != place:
            yield Call(f"delete {each}", partial(kept.objects.delete, each))
    room = kept.objects.waiting
    waiting = yield from all_keys(room, keys.inbox(town_id))  # in a table; what waits in the bucket is gone already
    for each in waiting:
        yield Call(f"delete {each}", partial(room.delete, each))
    left_behind = yield from all_keys(kept.objects, large_batches.bodies_of(town_id))
    for each in left_behind:
        yield Call(f"delete {each}", partial(kept.objects.delete, each))
    past: tuple[ObjectVersion, ...] = yield Call(f"versions {key}", partial(kept.versions.versions, key))
    for version in past:
        yield Call(f"delete_version {key}", partial(kept.versions.delete_version, key, version.version_id))
    for last in (keys.apart(town_id), keys.violated(town_id), place):
        yield Call(f"delete {last}", partial(kept.objects.delete, last))
    return DeletedTown(town_id, len(everything) + len(waiting) + len(left_behind))


def all_put_away(store: ObjectTownStore, archive_of: Callable[[str], KeptPast]) -> Steps[tuple[PutAway, ...]]:
    """Every town that is put away, ascending. A few calls for each town."""
    found: list[PutAway] = []
    for town_id in (yield from store.headless(put_away=True)):
        away = yield from _read(archive_of(town_id))
        found.append(away.note)
    return tuple(found)


def _half_done(kept: KeptPast) -> Steps[PutAway | None]:
    """Finish what a process began that ended between the mark and the deletion; None if there is no mark."""
    key = keys.head(kept.town_id)
    there: bytes | None = yield Call(f"start_of {key}", partial(kept.objects.start_of, key, len(_MARK)))
    if there != _MARK:
        return None
    away = yield from _read(kept)
    yield Call(f"delete {key}", partial(kept.objects.delete, key))
    return away.note


def _require_rest(image: TownImage) -> None:
    """Refuse a town in which something may still run."""
    town_id = image.town_id
    with migrations.readable(image.image) as sql:
        if not TownKeys(sql).paused:
            raise _not_yet(town_id, "it is not paused", f"townctl pause {town_id} --stop-agents")
        busy, stops = (sql.execute(query).fetchone()[0] for query in (_BUSY, _STOPS))
    if busy:
        raise _not_yet(town_id, f"{busy} of its agents have not ended", f"townctl pause {town_id} --stop-agents")
    if stops:
        raise _not_yet(town_id, f"{stops} agents are being stopped", f"townctl town status {town_id}")


def _not_yet(town_id: str, why: str, command: str) -> Refused:
    return Refused(
        f"town {town_id} cannot be archived yet: {why}", status=409, path="town_id", hint=f"first: `{command}`"
    )


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


def _written(note: PutAway, body: bytes) -> bytes:
    line = {"format": 1, "town": note.town_id, "txid": note.txid, "at": to_text(note.at), "by": note.by[:200]}
    return json.dumps(line).encode() + b"\n" + body


def _read(kept: KeptPast) -> Steps[_Away]:
    town_id = kept.town_id
    place = keys.put_away(town_id)
    found: StoredObject | None = yield Call(f"get {place}", partial(kept.objects.get, place))
    if found is None:
        hint = "`townctl town archived` lists those that are"
        raise Refused(f"no town {town_id} is archived here", status=404, path="town_id", hint=hint)
    line, _, body = found.body.partition(b"\n")
    try:
        told = foreign(line, limit=_LONGEST_NOTE)
        at = from_text(told["at"])
        note = PutAway(town_id, int(told["txid"]), at, str(told["by"]), at + KEPT)
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedImage(
            f"{place} is damaged: {error}", hint="the object was not changed; put it back from a backup"
        ) from error
    head.decode(body, key=place, town_id=town_id)
    return _Away(note, body)
