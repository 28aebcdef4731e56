"""Restoring a town in place: an old image becomes the newest commit, even if the newest commit cannot be read any more.

A restore takes the next tick number and the next commit, has a row in the journal and begins an epoch (`timeline`), so that
it can be undone by another restore. Nothing that is there is lost: the journal of the replaced image is published first, and
a damaged head stays as a past version where the store keeps versions.

If the newest commit is lost, nobody knows how many ticks ran after the newest one that is left. Their numbers may have been used
outside: in ids of beads, in effects that were performed, in generations of agents. So as many numbers are skipped as ticks
can have run since then.
"""

import contextlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.errors import DamagedImage, SchemaMismatch, UnknownTown, WrongTown
from shared.domain.restores import InPlaceRestore
from shared.domain.times import whole_milliseconds
from shared.images import image_digest, restoring, summary
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.ports.town_store import CommitFacts, TownImage
from shared.storage import keys, layers, publish
from shared.storage.listing import all_keys
from shared.storage.publishing import create_once, publish_snapshot
from shared.storage.restore import KeptPast, Restored
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal
from shared.town.town_keys import TownKeys

FASTEST_TICKS: Final = timedelta(seconds=1)
"""Beside the TICKS_AT_ONCE that follow on events, no town has more ticks than one in this time, except by hand."""


@dataclass(frozen=True, slots=True)
class _Newest:
    """The newest commit that can be read, and the numbers of the last commit and tick that are known.

    `base` is the present image if it is the newest commit; None if that is lost. `damaged` is then the head, if there is one.
    """

    image: bytes
    digest: str
    txid: int
    tick: int
    time: datetime
    epoch: int
    base: TownImage | None = None
    damaged: StoredObject | None = None


def restore_in_place(
    store: ObjectTownStore, kept: KeptPast, old: Restored, *, now: datetime, worker_id: str
) -> Steps[TownImage]:
    """Make an old image the newest commit, with or without a readable head. Raises Conflict."""
    town_id, now = kept.town_id, whole_milliseconds(now)
    newest = yield from _newest(store, kept, old)
    yield from _publish_journal(kept.objects, town_id, newest.image)
    skipped = 0 if newest.base is not None else abs(now - newest.time) // FASTEST_TICKS + limits.TICKS_AT_ONCE + 1
    with database.opened(old.image) as sql:
        restored_tick = TownKeys(sql).tick_no
    restore = InPlaceRestore(
        tick=newest.tick + skipped + 1,
        txid=newest.txid + skipped + 1,
        at=now,
        epoch=newest.epoch + 1,
        restored_txid=old.point.txid,
        restored_tick=restored_tick,
        restored_at=old.point.time,
        last_tick=newest.tick,
        lost_head=newest.base is None,
    )
    tick_id = f"{restore.tick}-restore-{worker_id}"
    image = restoring.carried_over(old.image, newest.image, restore, tick_id=tick_id, previous=newest.digest)
    facts = CommitFacts(
        commit_id=tick_id,
        tick_no=restore.tick,
        time=now,
        next_due=now,
        schema_version=database.SCHEMA_VERSION,
        drain_nonce=summary.drain_nonce_in(image),
        epoch=restore.epoch,
    )
    yield from store.mark_due(town_id, now)
    if newest.base is not None:
        committed = yield from store.commit(newest.base, image, facts)
    else:
        committed = yield from store.replace_lost(town_id, image, facts, txid=restore.txid, damaged=newest.damaged)
    yield from publish_snapshot(kept.objects, committed)
    return committed


def _newest(store: ObjectTownStore, kept: KeptPast, old: Restored) -> Steps[_Newest]:
    """The present image, or what is left if it is lost: the newest image that can be read, and the last numbers that are known.

    After a rollback, an image that the newer code has migrated counts as lost: this code knows no such schema.
    """
    try:
        base: TownImage = yield from store.load(kept.town_id)
        with database.opened(base.image):
            pass
    except (DamagedImage, SchemaMismatch, UnknownTown, WrongTown):
        return (yield from _left(kept, old))
    facts = base.facts
    return _Newest(base.image, base.image_digest, base.txid, facts.tick_no, facts.time, facts.epoch, base)


def _left(kept: KeptPast, old: Restored) -> Steps[_Newest]:
    key = keys.head(kept.town_id)
    damaged: StoredObject | None = yield Call(f"get {key}", partial(kept.objects.get, key))
    image = (yield from kept.newest_readable()) or old
    with database.opened(image.image) as sql:
        tick = TownKeys(sql).tick_no
    ahead = image.point.txid - tick
    commits = [image.point.txid]
    ticks = [tick, *(last for _, last, _ in (yield from kept.journal_objects()))]
    epochs = [image.point.epoch]
    head = yield from kept.newest_head(lambda _: True)
    if head is not None:
        commits.append(head.manifest.txid)
        ticks.append(head.manifest.tick_no)
        epochs.append(head.manifest.epoch)
    for file, (_, last) in (yield from kept.files()).items():
        commits.append(last)
        with contextlib.suppress(DamagedImage):
            epochs.append((yield from kept.header_of(file)).epoch)
    tick = max(*ticks, max(commits) - ahead)
    digest = image_digest.of_image(image.image)
    return _Newest(image.image, digest, tick + ahead, tick, image.point.time, max(epochs), damaged=damaged)


def _publish_journal(objects: ObjectStore, town_id: str, image: bytes) -> Steps[None]:
    """Publish the journal rows of an image that are not published yet, and those whose published object is damaged."""
    found = yield from all_keys(objects, keys.journal_prefix(town_id))
    spans = {key: span for key in found if (span := keys.ticks_of(key)) is not None}
    published = max((span[1] for span in spans.values()), default=0)
    with database.opened(image) as sql:
        block = journal.block_after(sql, published)
        own = journal.numbers(sql)
        mended = {
            key: journal.block_of(sql, *span)
            for key, span in spans.items()
            if own.issuperset(range(span[0], span[1] + 1))
        }
    for key, rows in mended.items():
        yield from _mend(objects, key, publish.journal_object(town_id, rows))
    if block is not None:
        yield from create_once(objects, publish.journal_object(town_id, block))


def _mend(objects: ObjectStore, key: str, wanted: layers.ImmutableObject) -> Steps[None]:
    """Replace a journal object that is damaged; its rows are about to leave the image, which is their last place."""
    there: StoredObject | None = yield Call(f"get {key}", partial(objects.get, key))
    if there is None:
        return
    try:
        publish.rows_of(there.body, key)
    except DamagedImage:
        yield Call(f"replace {key}", partial(objects.replace, key, wanted.body, there.etag))
