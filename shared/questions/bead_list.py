"""Lists of beads and convoys, including closed ones, newest first; in pages, because a town may keep 100,000 closed beads.

Each kind of bead is read in the order of its index, and the kinds are merged. So a page reads no more rows than it needs.
"""

import heapq
import json
import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import product
from typing import Final, NamedTuple

from shared.domain import strict_json
from shared.domain.shapes import Time, answer
from shared.domain.states import BeadStatus, BeadType, Priority
from shared.history.archived import fetch, put_into
from shared.ports.steps import Steps
from shared.ports.town_archive import TownArchive
from shared.ports.town_store import TownImage, TownStore
from shared.questions import overview, spend
from shared.questions.filters import LIMIT, BeadFilter
from shared.questions.lines import columns_of, line_of
from shared.questions.overview import ConvoyLine
from shared.questions.pages import LOOKED_AT_MOST, ROWS_SIZE, carried, cursor_of, place_of
from shared.questions.spend import Spend
from shared.questions.totals import LIVE, statuses_of, total_of, types_of
from shared.questions.waiting import Waiting
from shared.town import database, migrations
from shared.town.town_keys import TownKeys

_COLUMNS: Final = (
    "b.bead_id, b.type, b.status, b.title, b.rig_id, b.parent_bead_id, b.assignee_agent_bead_id, b.priority, "
    "b.created_at, b.updated_at, b.closed_at, b.labels"
)
_OF_KIND: Final = (
    f"SELECT {_COLUMNS}, b.body FROM beads b WHERE b.type = :type AND b.status = :status "  # noqa: S608 - a constant
    "AND (b.created_at, b.bead_id) < (:created_at, :bead_id) ORDER BY b.created_at DESC, b.bead_id DESC"
)
_OF_CONVOY: Final = (
    f"SELECT {_COLUMNS}, b.body FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id "  # noqa: S608 - as above
    "WHERE d.depends_on_bead_id = :convoy AND d.dependency_type = 'tracks' "
    "AND (b.created_at, b.bead_id) < (:created_at, :bead_id) ORDER BY b.created_at DESC, b.bead_id DESC"
)
_AMONG: Final = (
    f"SELECT {_COLUMNS}, b.body FROM json_each(:ids) i JOIN beads b ON b.bead_id = i.value "  # noqa: S608 - as above
    "WHERE (b.created_at, b.bead_id) < (:created_at, :bead_id) ORDER BY b.created_at DESC, b.bead_id DESC"
)
Place = tuple[str, str]
"""Time of creation and id of a bead: the place of a page in a list."""
_AFTER_EVERYTHING: Final[Place] = ("~", "")  # no time begins with a tilde


@answer
class BeadEntry:
    """A bead, for lists. Labels that are not a JSON list of texts are left out."""

    bead_id: str
    type: BeadType
    status: BeadStatus
    title: str
    rig_id: str | None
    parent_bead_id: str | None
    assignee_agent_bead_id: str | None
    priority: Priority
    created_at: Time | None
    updated_at: Time | None
    closed_at: Time | None
    labels: tuple[str, ...]
    used: Spend | None
    """What was used for it, its reviews and follow-ups included; of a convoy, for all of its beads."""


_CREATED_AT: Final = columns_of(BeadEntry).index("created_at")


class Read(NamedTuple):
    """A bead with its place in the order of creation, as stored."""

    place: Place
    bead: BeadEntry
    body: str | None


@answer
class BeadList:
    """A page of beads, newest first. `next` is the `cursor` of the next page, null on the last one.

    A page may have fewer beads than the limit, even none, although `next` is not null: if few beads match, or if texts are
    long. `waiting` says, as a status does, why the live beads of the page wait on which no agent works. `total` is the number of
    all beads that match, without those in the archive; null if it is over 10,000, if texts or labels would have to be read, or if
    the caller may see only some.
    """

    town_id: str
    beads: tuple[BeadEntry, ...]
    waiting: tuple[Waiting, ...]
    next: str | None
    total: int | None = None


@answer
class ConvoyList:
    """A page of convoys, live or not, newest first. `next` is the `cursor` of the next page, null on the last one.

    `total` as in a list of beads.
    """

    town_id: str
    convoys: tuple[ConvoyLine, ...]
    next: str | None
    total: int | None = None


def beads(
    town_id: str, store: TownStore, wanted: BeadFilter, *, now: datetime, limit: int = LIMIT, cursor: str | None = None
) -> Steps[BeadList]:
    """A page of the beads that match, and why they wait at the time `now`. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = place_in(cursor)
    image = yield from store.load(town_id)
    with migrations.readable(image.image) as sql:
        database.check_identity(sql, town_id)
        found, following, total = yield from whole_page(sql, store, town_id, wanted, limit=limit, place=place)
        return _bead_list(sql, image, found, following, now=now, total=total)


def beads_in(
    image: TownImage,
    wanted: BeadFilter,
    *,
    now: datetime,
    limit: int,
    place: Place,
    among: Collection[str] | None = None,
    told: Collection[str] | None = None,
) -> BeadList:
    """The same for an image. `among` are the only beads that are listed, `told` those of which their waits are told; None: all.

    A filter by text looks into the body of a bead only if all beads are listed: else it would tell what a body says.
    """
    with migrations.readable(image.image) as sql:
        database.check_identity(sql, image.town_id)
        found, following = page(sql, wanted, limit=limit, place=place, among=among)
        total = total_of(sql, wanted) if among is None else None
        return _bead_list(sql, image, found, following, now=now, told=told, total=total)


def _bead_list(
    sql: sqlite3.Connection,
    image: TownImage,
    found: Collection[Read],
    following: str | None,
    *,
    now: datetime,
    total: int | None,
    told: Collection[str] | None = None,
) -> BeadList:
    entries = [_with_spend(sql, read.bead) for read in found]
    live = {bead.bead_id for bead in entries if not bead.status.terminal and bead.type is not BeadType.AGENT}
    asked = live if told is None else live.intersection(told)
    waiting = _waiting(sql, image, asked, now) if asked else ()
    return BeadList(image.town_id, tuple(entries), waiting, following, total)


def _with_spend(sql: sqlite3.Connection, bead: BeadEntry) -> BeadEntry:
    return replace(bead, used=spend.of_bead(sql, bead.type, bead.bead_id))


def _waiting(sql: sqlite3.Connection, image: TownImage, live: set[str], now: datetime) -> tuple[Waiting, ...]:
    """Why these beads wait."""
    from shared.questions.snapshot import next_input  # noqa: PLC0415 - a page of closed beads needs no rules
    from shared.questions.waits import Waits  # noqa: PLC0415 - as above

    given = next_input(sql, image.facts.tick_no, image.image_digest, at=now)
    waits = Waits(sql, given, town_id=image.town_id)
    return tuple(each for bead_id, each in waits.of_beads.items() if bead_id in live)


def convoys(town_id: str, store: TownStore, *, limit: int = LIMIT, cursor: str | None = None) -> Steps[ConvoyList]:
    """A page of the town's convoys. Raises Refused (422) for a wrong cursor, UnknownTown."""
    place = place_in(cursor)
    image = yield from store.load(town_id)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        wanted = BeadFilter(type="convoy")
        found, following, total = yield from whole_page(sql, store, town_id, wanted, limit=limit, place=place)
        return ConvoyList(town_id, _convoy_lines(sql, found), following, total)


def convoys_in(image: TownImage, *, limit: int, place: Place, among: Collection[str] | None = None) -> ConvoyList:
    """The same for an image. `among` are the only convoys that are listed."""
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, image.town_id)
        wanted = BeadFilter(type="convoy")
        found, following = page(sql, wanted, limit=limit, place=place, among=among)
        total = total_of(sql, wanted) if among is None else None
        return ConvoyList(image.town_id, _convoy_lines(sql, found), following, total)


def _convoy_lines(sql: sqlite3.Connection, found: Collection[Read]) -> tuple[ConvoyLine, ...]:
    return tuple(line for read in found if (line := overview.convoy(sql, read.bead.bead_id)) is not None)


def place_in(cursor: str | None) -> Place:
    """The place at which a page starts: after the one that the cursor names. Raises Refused (422)."""
    if cursor is None:
        return _AFTER_EVERYTHING
    created_at, bead_id = place_of(cursor, str, str)
    return created_at, bead_id


def whole_page(
    sql: sqlite3.Connection,
    archives: TownArchive,
    town_id: str,
    wanted: BeadFilter,
    *,
    limit: int,
    place: Place,
    with_bodies: bool = False,
) -> Steps[tuple[list[Read], str | None, int | None]]:
    """A page of a private copy of a town, and after its last bead of the archive, block by block: those that left last come first.

    Then the cursor of the next page, and how many beads match that are not in the archive. The rows of the archived beads that it
    looks at are in the copy afterwards. A page looks at BLOCKS_AT_MOST blocks.
    """
    found: list[Read] = []
    if wanted.convoy is not None:  # a convoy leaves and comes back with all of its beads
        yield from fetch(sql, archives, town_id, [wanted.convoy])
    total = total_of(sql, wanted)  # before rows of the archive come into the copy
    if not place[0].startswith(_IN_BLOCK):
        found, following = page(sql, wanted, limit=limit, place=place, with_bodies=with_bodies)
        if following is not None or wanted.convoy is not None or wanted.status in _LIVE_FILTERS:
            return found, following, total
        place = (f"{_IN_BLOCK}{_NEWEST}", "")
    index = TownKeys(sql).archive_index
    start = int(place[0].removeprefix(_IN_BLOCK), 16)
    blocks = yield from archives.archive_blocks(town_id, index=index)
    for looked_at, block in enumerate(block for block in blocks if block <= start):
        if len(found) >= limit or looked_at == BLOCKS_AT_MOST:
            return found, cursor_of((f"{_IN_BLOCK}{block:x}", "")), total
        records = yield from archives.archived_in(town_id, block, index=index)
        new = put_into(sql, records)
        after = place_in_copy(sql, place[1]) if block == start and place[1] else _AFTER_EVERYTHING
        more, following = page(
            sql, wanted, limit=limit - len(found), place=after, among=new, with_bodies=with_bodies, searches_bodies=True
        )
        found += more
        if following is not None:
            _, last = place_of(following, str, str)
            return found, cursor_of((f"{_IN_BLOCK}{block:x}", last)), total
    return found, None, total


_IN_BLOCK: Final = "in block "
_NEWEST: Final = "f" * 15
_LIVE_FILTERS: Final = ("live", *LIVE)
BLOCKS_AT_MOST: Final = 8


def place_in_copy(sql: sqlite3.Connection, bead_id: str) -> Place:
    """The place of a bead in the order of creation."""
    row = sql.execute("SELECT created_at FROM beads WHERE bead_id = :id", {"id": bead_id}).fetchone()
    return _AFTER_EVERYTHING if row is None else (row[0], bead_id)


def page(
    sql: sqlite3.Connection,
    wanted: BeadFilter,
    *,
    limit: int,
    place: Place,
    among: Collection[str] | None = None,
    with_bodies: bool = False,
    searches_bodies: bool | None = None,
) -> tuple[list[Read], str | None]:
    """The next matching beads after a place, of `among` if it is given, and the cursor of the next page.

    The caller answers with their bodies too if `with_bodies`, so they count for the length of the page.
    """
    found: list[Read] = []
    last, size = place, 0
    for looked_at, read in enumerate(_newest_first(sql, wanted, place, among)):
        if len(found) == limit or looked_at == LOOKED_AT_MOST or size > ROWS_SIZE // 2:  # half is for why they wait
            return found, cursor_of(last)
        last = read.place
        if _fits(read, wanted, with_body=among is None if searches_bodies is None else searches_bodies):
            found.append(read)
            size += carried(json.dumps((read.bead.title, read.bead.labels, read.body if with_bodies else None)))
    return found, None


def _newest_first(
    sql: sqlite3.Connection, wanted: BeadFilter, place: Place, among: Collection[str] | None
) -> Iterator[Read]:
    """The beads of the wanted types and statuses after a place. Rows are read only when they are needed."""
    start = {"created_at": place[0], "bead_id": place[1]}
    types, statuses = types_of(wanted), statuses_of(wanted)
    found: Iterator[Read] | None = None
    if wanted.convoy is not None:
        found = map(_read, sql.execute(_OF_CONVOY, {**start, "convoy": wanted.convoy}))
        found = (read for read in found if among is None or read.bead.bead_id in among)
    elif among is not None:
        found = map(_read, sql.execute(_AMONG, {**start, "ids": json.dumps(sorted(among))}))
    if found is not None:
        return (read for read in found if read.bead.type in types and read.bead.status in statuses)
    kinds = [
        map(_read, sql.execute(_OF_KIND, {**start, "type": kind, "status": status}))
        for kind, status in product(types, statuses)
    ]
    return heapq.merge(*kinds, key=lambda read: read.place, reverse=True)


def _read(row: tuple[str, ...]) -> Read:
    *cells, labels, body = row
    bead = line_of(BeadEntry, cells, labels=labels_of(labels), used=None)
    return Read((cells[_CREATED_AT], bead.bead_id), bead, body)


def labels_of(text: str) -> tuple[str, ...]:
    """The labels of a bead as stored; those that are not a JSON list of texts are left out."""
    try:
        found = strict_json.stored(text)
    except ValueError:
        return ()
    return tuple(label for label in found if isinstance(label, str)) if isinstance(found, list) else ()


def _fits(read: Read, wanted: BeadFilter, *, with_body: bool) -> bool:
    bead = read.bead
    if wanted.rig not in (None, bead.rig_id) or (wanted.label is not None and wanted.label not in bead.labels):
        return False
    if wanted.text is None:
        return True
    sought = wanted.text.casefold()
    texts = (bead.bead_id, bead.title, *((read.body or "",) if with_body else ()))
    return any(sought in each.casefold() for each in texts)
