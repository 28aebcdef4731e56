"""Making objects of a town again that are damaged or missing, from what is still there.

Every immutable object holds what other objects hold, or held for some time:

    patch file        the tail of the head that was committed last before it
    spill, snapshot   the image of its last commit, if the head of that commit is kept
    journal object    the rows of its ticks, which the images have until it is published
    archive's index   the blocks of the archive, without end

Past heads are kept for a day. Whatever is made again is compared with what is there: an object with the same content is left as
it is, also one that came through damage elsewhere.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial

from shared.domain.errors import DamagedImage, SchemaMismatch, TownError, WrongTown
from shared.domain.restores import InPlaceRestore
from shared.domain.shapes import answer
from shared.ports.object_store import ObjectStore, StoredObject
from shared.ports.steps import Call, Steps
from shared.storage import archive_rebuilding, examination, head, keys, layer_reading, layers, patch_files, publish
from shared.storage.listing import all_keys
from shared.storage.restore import KeptPast
from shared.town import database, journal
from shared.town.town_keys import TownKeys


@answer
class Remade:
    """An object that was made again, and of what."""

    key: str
    made_of: str


@answer
class NotRemade:
    """An object that is damaged or missing, why it cannot be made again, and what to do."""

    key: str
    why: str
    hint: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be made again, with the body and the present ETag (None: the object is missing) of each, and what cannot."""

    remade: tuple[Remade, ...]
    not_remade: tuple[NotRemade, ...]
    bodies: dict[str, bytes]
    etags: dict[str, str | None]


@dataclass(slots=True)
class _Mended:
    """A store as it will be: with the objects that were made again."""

    objects: ObjectStore
    bodies: dict[str, bytes] = field(default_factory=dict)

    def get(self, key: str) -> StoredObject | None:
        """The object, as it will be."""
        found = self.objects.get(key)
        return found if key not in self.bodies else StoredObject(self.bodies[key], "" if found is None else found.etag)


def plan(past: KeptPast) -> Steps[Plan]:
    """Decide what can be made again. Reads only. Raises UnknownTown."""
    made = _Making(past)
    newest = yield from past.newest_head(lambda _: True)
    if newest is not None and not (yield from made.can_read(newest)):
        # Each layer may be readable by itself, and one of them another town's: they are compared with what they should contain.
        yield from made.again(layer_reading.names_below(newest.manifest), {})
    first_row, restores, index = _of_newest((yield from made.newest_image(newest)))
    problems = yield from examination.problems(past, first_row=first_row, restores=restores, archive_index=index)
    wanted = {problem.subject for problem in problems if _is_immutable(problem.subject)}
    for problem in problems:
        if problem.check == "journal" and not _is_immutable(problem.subject):
            first, _, last = problem.subject.partition(" to ")
            wanted.add(keys.journal(past.town_id, int(first), int(last)))
    lost = frozenset(block for key in wanted if (block := keys.archive_block_of(key)) is not None)
    made.of_blocks = yield from _index_objects(past, wanted, index, archive_rebuilding.Lineage(tuple(restores), lost))
    there = yield from all_keys(past.objects, keys.archive_indexes(past.town_id))
    wanted |= made.of_blocks.keys() - set(there)  # an index that is gone does not say which shards it needs
    yield from made.again(wanted, {problem.subject: problem.hint for problem in problems})
    return Plan(tuple(made.remade.values()), tuple(made.not_remade.values()), made.store.bodies, made.etags)


class _Making:
    """What was made again so far. Later objects are made on top of it."""

    def __init__(self, past: KeptPast) -> None:
        self.store = _Mended(past.objects)
        self.remade: dict[str, Remade] = {}
        self.not_remade: dict[str, NotRemade] = {}
        self.etags: dict[str, str | None] = {}
        self.of_blocks: dict[str, tuple[layers.ImmutableObject, str]] = {}
        self._past = past

    def again(self, wanted: Iterable[str], hints: Mapping[str, str]) -> Steps[None]:
        """Make these objects again, as far as they differ: patch files first, then the others from the lowest layer up.

        Those with a hint are known to be damaged or missing.
        """
        for key in sorted(wanted, key=lambda key: (keys.patched_txids_of(key) is None, _last_of(key), key)):
            there: StoredObject | None = yield Call(f"get {key}", partial(self.store.get, key))
            found = self.of_blocks.get(key) or (yield from _made_again(self._past, self.store, key))
            if found is None and (key in hints or there is None):
                self.not_remade[key] = NotRemade(key, _why_not(key), hints.get(key, "put it back from a backup"))
            elif found is not None and (there is None or not _has(there.body, found[0])):
                self.store.bodies[key], self.etags[key] = found[0].body, None if there is None else there.etag
                self.remade[key] = Remade(key, found[1])
                self.not_remade.pop(key, None)

    def can_read(self, newest: head.Head) -> Steps[bool]:
        """Whether the image of a head can be read, with what was made again."""
        try:
            yield from layer_reading.read_layers(self.store, newest, key=keys.head(self._past.town_id))
        except DamagedImage:
            return False
        return True

    def newest_image(self, newest: head.Head | None) -> Steps[bytes | None]:
        """The image of the newest head, with what was made again; if that cannot be read, the newest that can."""
        if newest is not None and (yield from self.can_read(newest)):
            image, _ = yield from layer_reading.read_layers(self.store, newest, key=keys.head(self._past.town_id))
            return image
        found = yield from self._past.newest_readable()
        return None if found is None else found.image


def carry_out(past: KeptPast, decided: Plan) -> Steps[None]:
    """Write what the plan has made again. It may be repeated. Raises what the store raises."""
    for key, body in decided.bodies.items():
        etag = decided.etags[key]
        write = (
            partial(past.objects.create, key, body) if etag is None else partial(past.objects.replace, key, body, etag)
        )
        yield Call(f"{'create' if etag is None else 'replace'} {key}", write)


def leads_to_the_newest(past: KeptPast, decided: Plan) -> Steps[bool]:
    """Whether the newest commit can be read again after the plan was carried out, so that nothing is lost."""
    key = keys.head(past.town_id)
    there: StoredObject | None = yield Call(f"get {key}", partial(past.objects.get, key))
    if there is None or not decided.bodies:
        return False
    try:
        newest = head.decode(there.body, key=key, town_id=past.town_id)
        yield from layer_reading.read_layers(_Mended(past.objects, decided.bodies), newest, key=key)
    except (DamagedImage, SchemaMismatch, WrongTown):
        return False
    return True


def _of_newest(image: bytes | None) -> tuple[int | None, tuple[InPlaceRestore, ...], int]:
    """The oldest tick in the journal of an image, its restores, and the commit of the archive's index on which it relies."""
    if image is None:
        return None, (), 0
    with database.opened(image) as sql:
        town = TownKeys(sql)
        return min(journal.numbers(sql), default=None), town.restores, town.archive_index


def _is_immutable(key: str) -> bool:
    of_image = (keys.txids_of(key), keys.patched_txids_of(key), keys.ticks_of(key))
    of_archive = (keys.archive_block_of(key), keys.archive_index_of(key))
    return any(found is not None for found in (*of_image, *of_archive))


def _last_of(key: str) -> int:
    span = keys.txids_of(key) or keys.patched_txids_of(key) or keys.ticks_of(key)
    return 0 if span is None else span[1]


def _why_not(key: str) -> str:
    if keys.archive_block_of(key) is not None:
        return "the beads in it are nowhere else"
    if keys.archive_index_of(key) is not None:
        return "it is made of the blocks of the archive, and one of them is missing or damaged"
    return "what it was made of is not kept any more: past heads are kept for a day"


def _made_again(past: KeptPast, store: _Mended, key: str) -> Steps[tuple[layers.ImmutableObject, str] | None]:
    """A layer or a journal object, and what it was made of; None if that is not kept."""
    ticks = keys.ticks_of(key)
    if ticks is not None:
        return (yield from _of_rows(past, store, ticks))
    last = _last_of(key)
    of_commit = yield from past.newest_head(lambda manifest: manifest.txid <= last)
    if of_commit is None or of_commit.manifest.txid != last:
        return None
    made: layers.ImmutableObject | None = None
    if keys.patched_txids_of(key) is not None:
        made = _patch_file(of_commit)
    else:
        with contextlib.suppress(DamagedImage):
            image, below = yield from layer_reading.read_layers(store, of_commit, key=keys.head(past.town_id))
            make = layers.snapshot_file if keys.is_snapshot(key) else partial(layers.tail_file, below)
            made = make(image, of_commit.manifest)
    return None if made is None or made.key != key else (made, f"the head of commit {last}")


def _patch_file(of_commit: head.Head) -> layers.ImmutableObject | None:
    """The tail of a head as a patch file, which is what the commit after it made of it."""
    manifest = of_commit.manifest
    if not manifest.patched:
        return None
    first, last = manifest.tail_start, manifest.txid
    body = patch_files.encode(of_commit.tail, page_size=manifest.page_size, min_txid=first, max_txid=last)
    key = keys.patch_file(manifest.town, first, last)
    return layers.ImmutableObject(key, body, decoded=patch_files.decode)


def _of_rows(
    past: KeptPast, store: _Mended, ticks: tuple[int, int]
) -> Steps[tuple[layers.ImmutableObject, str] | None]:
    first, last = ticks
    for read in (yield from past.heads_of_tick(last)):
        with contextlib.suppress(DamagedImage, SchemaMismatch):
            image, _ = yield from layer_reading.read_layers(store, read, key=keys.head(past.town_id))
            with database.opened(image) as sql:
                if journal.numbers(sql).issuperset(range(first, last + 1)):
                    made = publish.journal_object(past.town_id, journal.block_of(sql, first, last))
                    return made, f"the rows in the image of commit {read.manifest.txid}"
    return None


def _index_objects(
    past: KeptPast, wanted: Iterable[str], index: int, lineage: archive_rebuilding.Lineage
) -> Steps[dict[str, tuple[layers.ImmutableObject, str]]]:
    """The objects of the archive's index that are wanted, of the blocks of the archive; none if a block cannot be read."""
    found: dict[str, tuple[layers.ImmutableObject, str]] = {}
    roots = {place[0] for key in wanted if (place := keys.archive_index_of(key)) is not None and place[1] is None}
    for key in wanted:
        place = keys.archive_index_of(key)
        if place is not None and place[1] is not None:
            with contextlib.suppress(TownError):
                made = yield from archive_rebuilding.shard(past, place[0], place[1], lineage)
                found[key] = made, "the blocks of the archive"
    for root in sorted(roots | ({index} if index and roots else set())):
        with contextlib.suppress(TownError):
            for made in (yield from archive_rebuilding.index(past, root, lineage)):
                found.setdefault(made.key, (made, "the blocks of the archive"))
    return found


def _has(body: bytes, wanted: layers.ImmutableObject) -> bool:
    """Whether an object has the content that it should have, whatever compressor made its bytes."""
    if body == wanted.body:
        return True
    try:
        return bool(wanted.decoded(body, wanted.key) == wanted.decoded(wanted.body, wanted.key))
    except TownError:
        return False
