"""What happened in a town during a window of time: lanes of agents, beads and reviews, and what each tick did, as marks on them.

Lanes come from the audit trail of the newest image, marks from the journal.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Final

from shared.domain.errors import Refused
from shared.domain.restores import InPlaceRestore, restore_in
from shared.domain.shapes import Time, answer
from shared.domain.times import readable_time, to_text
from shared.history.journal_rows import JournalRows
from shared.history.rerun import time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import lanes, lives, setting_changes
from shared.questions.lanes import Lane
from shared.questions.marks import Mark, Marks
from shared.town import database, migrations
from shared.town.database import Database
from shared.town.town_keys import TownKeys

TICKS_AT_MOST: Final = 2_000
BINS: Final = 120
_MILLISECOND: Final = timedelta(milliseconds=1)


@answer
class TickLine:
    """A tick in numbers. `signs` are heartbeats and other events that leave no mark."""

    tick: int
    time: Time
    code_version: str
    events: int
    signs: int
    actions: int
    effects: int
    violations: int
    restore: InPlaceRestore | None


@answer
class Bin:
    """A part of the kept history: how much the audit trail says from `start` on, up to the next one."""

    start: Time
    changes: int


@answer
class Timeline:
    """A window of a town's history. `ticks` are its newest 2,000; `ticksOmitted` says that the window has earlier ones.

    `overview` is the whole kept history in equal parts. `names` are the titles of the beads and agents that the answer names.
    """

    town_id: str
    start: Time
    end: Time
    tick: int
    lanes: tuple[Lane, ...]
    lanes_omitted: int
    ticks: tuple[TickLine, ...]
    ticks_omitted: bool
    marks: tuple[Mark, ...]
    restores: tuple[InPlaceRestore, ...]
    overview: tuple[Bin, ...]
    names: dict[str, str]
    notes: tuple[str, ...]


def timeline(town_id: str, past: TownPast, *, start: datetime, end: datetime) -> Steps[Timeline]:
    """A window of the history. Raises Refused (400) if it ends before it starts, UnknownTown."""
    if end <= start:
        raise Refused("`end` is not later than `start`", status=400, path="end", hint="give a later time")
    past = past.around_damage()
    newest = yield from past.newest(town_id)
    found, omitted = yield from _rows(town_id, past, start, end, newest_tick=newest.tick_no, newest_at=newest.tick_at)
    changes = yield from setting_changes.changes_in(town_id, past, found)
    with database.opened(newest.image) as image, migrations.newest_schema(image):
        effects = {effect.effect_id: (effect.kind, effect.subject) for effect in lives.effects(image)}
        marks = Marks(effects, changes)
        lines = tuple(_line(row, marks) for row in found)
        drawn, left_out = lanes.lanes(image, start=start, end=end)
        named = {lane.id for lane in drawn} | {each for mark in marks.found for each in mark.about}
        named |= {span.of for lane in drawn for span in lane.spans if span.of is not None}
        return Timeline(
            town_id=town_id,
            start=start,
            end=end,
            tick=newest.tick_no,
            lanes=drawn,
            lanes_omitted=left_out,
            ticks=lines,
            ticks_omitted=omitted,
            marks=tuple(marks.found),
            restores=TownKeys(image).restores,
            overview=tuple(_overview(image, end)),
            names=names_of(image, named),
            notes=past.left_out,
        )


def names_of(sql: Database, ids: Iterable[str]) -> dict[str, str]:
    """The titles of these beads and agents, as far as they are in the image."""
    from json import dumps  # noqa: PLC0415 - only to hand the ids to SQLite

    rows = sql.execute(
        "SELECT b.bead_id, b.title FROM json_each(:ids) i JOIN beads b ON b.bead_id = i.value ORDER BY b.bead_id",
        {"ids": dumps(sorted(ids))},
    ).fetchall()
    return dict(rows)


def _rows(
    town_id: str, past: TownPast, start: datetime, end: datetime, *, newest_tick: int, newest_at: datetime | None
) -> Steps[tuple[list[JournalRow], bool]]:
    """The newest rows of the window in order, and whether it has earlier ones. A window that ends now is read backwards."""
    if newest_at is None or newest_at <= end:
        return (yield from _backwards(town_id, past, start, before=newest_tick + 1))
    before = yield from past.before(town_id, start)
    rows = JournalRows(past, town_id)
    yield from rows.start_after(0 if before is None else before.tick_no)
    found: list[JournalRow] = []
    while (row := rows.next) is not None and time_of(row) <= end:
        if time_of(row) >= start:
            found.append(row)
        yield from rows.advance()
    return found[-TICKS_AT_MOST:], len(found) > TICKS_AT_MOST


def _backwards(town_id: str, past: TownPast, start: datetime, *, before: int) -> Steps[tuple[list[JournalRow], bool]]:
    found: list[JournalRow] = []
    while rows := (yield from past.rows_before(town_id, before)):
        for row in reversed(rows):
            if time_of(row) < start:
                return found[::-1], False
            if len(found) == TICKS_AT_MOST:
                return found[::-1], True
            found.append(row)
        before = rows[0]["tick_no"]
    return found[::-1], False


def _line(row: JournalRow, marks: Marks) -> TickLine:
    signs = marks.read(row)
    outputs = row["outputs"]
    restore = restore_in(row)
    if restore is not None:
        return TickLine(row["tick_no"], time_of(row), row["code_version"], 0, 0, 0, 0, 0, restore)
    return TickLine(
        tick=row["tick_no"],
        time=time_of(row),
        code_version=row["code_version"],
        events=len(outputs["events"]) - signs,
        signs=signs,
        actions=len(outputs["actions"]),
        effects=len(outputs["effects"]),
        violations=len(outputs["violations"]),
        restore=None,
    )


def _overview(sql: Database, end: datetime) -> Iterator[Bin]:
    """The audit trail in BINS equal parts from its first line to `end`; none if there is no line."""
    times = [
        at
        for (text,) in sql.execute(
            "SELECT created_at FROM bead_events WHERE created_at <= :end ORDER BY created_at", {"end": to_text(end)}
        )
        if (at := readable_time(text)) is not None
    ]
    if not times:
        return
    width = max((end - times[0]) // BINS, _MILLISECOND)
    counts = [0] * BINS
    for at in times:
        counts[min((at - times[0]) // width, BINS - 1)] += 1
    for place, count in enumerate(counts):
        yield Bin(times[0] + place * width, count)
