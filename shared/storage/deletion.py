"""Deleting a town for good, which was put away: its objects, what waits for it elsewhere, and its past heads.

First its object `put-away` is marked as being deleted, and that object is deleted last. So an attempt that ends halfway can be
repeated, and nobody brings back a town of which objects are gone. A deletion and a return at the same time do not both go on: the
return creates the head and then looks for the mark, the deletion writes the mark and then looks for a head.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial

from shared.domain.errors import ConditionRace, Conflict, PreconditionFailed, Refused
from shared.domain.shapes import answer
from shared.domain.times import to_text
from shared.ports.object_store import ObjectVersion, PlainObjects
from shared.ports.steps import Call, Steps, all_of
from shared.storage import keys, large_batches, put_away
from shared.storage.listing import all_keys
from shared.storage.restore import KeptPast


@answer
class DeletedTown:
    """A town that was deleted for good: how many objects and past versions. `left` are still there: repeat the request."""

    town_id: str
    objects: int
    left: int = 0


def delete(kept: KeptPast, *, now: datetime, insist: bool, most: int | None = None) -> Steps[DeletedTown]:
    """Delete a town that was put away, for good. Without `insist` only when it was kept long enough.

    With `most`, at most so many objects: the next call goes on. Raises Refused: 404 if it is not archived, 409 if it is too
    early or if the town is back.
    """
    town_id = kept.town_id
    away = yield from put_away.read(kept)
    if now < away.note.kept_until and not insist and not away.note.deleting:
        raise Refused(
            f"town {town_id} was archived at {to_text(away.note.at)} and is kept until {to_text(away.note.kept_until)}",
            status=409,
            path="town_id",
            hint=f"`townctl town bring-back {town_id}` makes it a town again; to delete it now and for good, add --now",
        )
    yield from _require_no_head(kept)
    yield from _begin_deletion(kept, away)
    yield from _require_no_head(kept)
    place, room = keys.put_away(town_id), kept.objects.waiting
    found = yield from all_keys(kept.objects, keys.town(town_id))
    in_table = [] if room is kept.objects else (yield from all_keys(room, keys.inbox(town_id)))
    doomed = [
        *_deletions(kept.objects, [key for key in found if key != place]),
        *_deletions(room, in_table),
        *_deletions(kept.objects, (yield from all_keys(kept.objects, large_batches.bodies_of(town_id)))),
        *(yield from _past_versions(kept, keys.head(town_id))),
        *(yield from _past_versions(kept, place)),
    ]
    yield from all_of(tuple(doomed[:most]))
    if most is not None and len(doomed) > most:
        return DeletedTown(town_id, most, left=len(doomed) - most)
    for last in (keys.apart(town_id), keys.violated(town_id), place):
        yield Call(f"delete {last}", partial(kept.objects.delete, last))
    return DeletedTown(town_id, len(doomed) + 1)


def _deletions(objects: PlainObjects, found: Sequence[str]) -> Iterator[Call]:
    for key in found:
        yield Call(f"delete {key}", partial(objects.delete, key))


def _past_versions(kept: KeptPast, key: str) -> Steps[list[Call]]:
    """The calls that delete what an object was before. A new town of this name would take old heads for its own past."""
    found: tuple[ObjectVersion, ...] = yield Call(f"versions {key}", partial(kept.versions.versions, key))
    return [
        Call(f"delete_version {key}", partial(kept.versions.delete_version, key, each.version_id))
        for each in found
        if not each.current
    ]


def _require_no_head(kept: KeptPast) -> Steps[None]:
    key = keys.head(kept.town_id)
    there: bytes | None = yield Call(f"start_of {key}", partial(kept.objects.start_of, key, 1))
    if there is not None:
        hint = f"archive it first: `townctl town archive {kept.town_id}`"
        raise Refused(f"town {kept.town_id} is not archived: it has a head", status=409, path="town_id", hint=hint)


def _begin_deletion(kept: KeptPast, away: put_away.Away) -> Steps[None]:
    """Mark it, so that nobody brings back a town of which objects are gone. Raises Conflict if somebody was faster."""
    if away.note.deleting:
        return
    place = keys.put_away(kept.town_id)
    body = put_away.written(replace(away.note, deleting=True), away.head)
    try:
        yield Call(f"replace {place}", partial(kept.objects.replace, place, body, away.etag))
    except (PreconditionFailed, ConditionRace):  # perhaps by an earlier attempt of this call
        if not (yield from put_away.is_being_deleted(kept)):
            problem = f"town {kept.town_id} was archived or brought back just now"
            raise Conflict(problem, hint="nothing was deleted; repeat the command") from None
