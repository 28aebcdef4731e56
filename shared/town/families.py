"""Families: the ended beads that leave the image together, because what is decided about one of them may depend on the others.

A family is a bead with its parent and children, what it tracks and what tracks it, and the merge requests and convoys that its
metadata names; and all that belongs to these in the same way. An issue leaves with its merge requests and their follow-ups, a
convoy with its tasks. A family may leave when all of its beads have ended long enough ago and nothing that goes on names one
of them. A dependency (`blocks`) does not make two beads one family: otherwise a chain of issues that each depend on the one
before would never leave. A live bead keeps the families of the beads that it depends on and that depend on it.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.domain import canonical, limits, strict_json
from shared.domain.config import TownConfig
from shared.domain.notes import BeadNotes, BranchNotes, ReviewNotes
from shared.domain.times import from_text, to_text
from shared.town.rows import object_of
from shared.town.town_keys import TownKeys

_LINKS: Final = (BranchNotes.mr_bead_id.name, ReviewNotes.convoy_id.name, ReviewNotes.source_bead_id.name)
"""The metadata keys that join a bead to the bead that they name."""


@dataclass(frozen=True, slots=True)
class Family:
    """The ids of a family that may leave, ascending, and the time of the last change to one of its beads."""

    bead_ids: tuple[str, ...]
    ended_at: str


@dataclass(frozen=True, slots=True)
class _Row:
    bead_id: str
    live: bool
    failed: bool
    updated_at: str
    parent: str | None
    metadata: str
    start_failed_at: str | None


@dataclass(frozen=True, slots=True)
class Horizons:
    """A bead that was changed at or before `closed` may leave; one that failed, at or before `failed`. `now` is the time."""

    closed: str
    failed: str
    now: datetime

    @classmethod
    def at(cls, now: datetime, config: TownConfig) -> "Horizons":
        """The horizons of a town at a time, as its configuration says."""
        settings = config.archive
        return cls(
            to_text(now - settings.closed_after_minutes * limits.MINUTE),
            to_text(now - settings.failed_after_minutes * limits.MINUTE),
            now,
        )


def worth_a_look(sql: sqlite3.Connection, until: Horizons) -> bool:
    """Whether enough beads may have ended long enough ago. It is quick, and counts also those that something keeps."""
    count, first = sql.execute(
        "SELECT COUNT(*), MIN(updated_at) FROM beads WHERE status IN ('closed', 'failed') AND updated_at <= :until",
        {"until": until.closed},
    ).fetchone()
    return count >= limits.ARCHIVE_BEADS or (first is not None and _is_late(first, until))


def is_late(family: Family, until: Horizons) -> bool:
    """Whether a family that may leave waits no longer for others to leave with it."""
    return _is_late(family.ended_at, until)


def ready(sql: sqlite3.Connection, until: Horizons) -> list[Family]:
    """The families that may leave, those first that were changed last the longest ago."""
    rows = {row[0]: _Row(*row) for row in sql.execute(_BEADS)}
    joined, neighbours, below = _Joined(rows), dict[str, list[str]](), set[str]()
    for row in rows.values():
        for other in _links(row):
            if other in rows:
                joined.join(row.bead_id, other)
                below.add(row.bead_id)
    for one, other, kind in sql.execute(
        "SELECT bead_id, depends_on_bead_id, dependency_type FROM bead_dependencies ORDER BY bead_id, depends_on_bead_id"
    ):
        if kind == "blocks":
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
        elif one in rows and other in rows:
            joined.join(one, other)
            below.add(one)
    kept = {joined.first(bead_id) for bead_id in _kept(sql, rows, neighbours, below, until) if bead_id in rows}
    families: dict[str, list[_Row]] = {}
    for row in rows.values():
        first = joined.first(row.bead_id)
        if first not in kept:
            families.setdefault(first, []).append(row)
    found = [
        Family(tuple(row.bead_id for row in members), max(row.updated_at for row in members))
        for members in families.values()
    ]
    return sorted(found, key=lambda family: (family.ended_at, family.bead_ids))


def members(sql: sqlite3.Connection, bead_ids: Iterable[str]) -> list[str]:
    """The beads in the families of these beads, ascending, whether or not they may leave."""
    found, new = set[str](), set(bead_ids)
    while new:
        found |= new
        ids = canonical.dumps(sorted(new))
        new = {row[0] for row in sql.execute(_NEIGHBOURS, {"ids": ids}) if row[0] is not None} - found
    return sorted(found)


def _kept(
    sql: sqlite3.Connection,
    rows: dict[str, _Row],
    neighbours: dict[str, list[str]],
    below: set[str],
    until: Horizons,
) -> Iterator[str]:
    """The beads that keep their families in the image: those that go on or ended lately, and those that something names."""
    recent = to_text(until.now - limits.BREAKER_WINDOW)
    for row in rows.values():
        if row.live:
            yield row.bead_id
            yield from neighbours.get(row.bead_id, ())
            yield from texts_in(row.metadata)
        elif (
            row.updated_at > until.closed
            or (row.failed and row.updated_at > until.failed and row.bead_id not in below)
            or (row.start_failed_at is not None and row.start_failed_at >= recent)  # the breaker counts it
            or _has_chosen_id(row)
        ):
            yield row.bead_id
    for query in _NAMED:
        for found in sql.execute(query):
            yield from (each for each in found if each is not None)
    for (text,) in sql.execute(_TEXTS):
        yield from texts_in(text)
    keys = TownKeys(sql)
    yield from keys.queued_reviews
    if keys.triage.last_batch_id is not None:
        yield keys.triage.last_batch_id


def texts_in(text: str) -> Iterator[str]:
    """Every text in a JSON text, and what follows its first colon (`<reason>:<subject>`). Nothing if it is damaged."""
    try:
        values: list[object] = [strict_json.stored(text)]
    except ValueError:
        return
    while values:
        value = values.pop()
        if isinstance(value, str):
            yield value
            yield value.partition(":")[2]
        elif isinstance(value, dict):
            values += value.values()
        elif isinstance(value, list):
            values += value


def _links(row: _Row) -> Iterator[str]:
    """The beads above a bead: its parent, and the merge request, convoy and source that its metadata names."""
    if row.parent is not None:
        yield row.parent
    if not any(name in row.metadata for name in _LINKS):
        return
    try:
        metadata = object_of(row.metadata)
    except ValueError:
        return
    for name in _LINKS:
        other = metadata.get(name)
        if isinstance(other, str) and other != row.bead_id:
            yield other


class _Joined:
    """Which beads are in one family; each family is named by one of its beads."""

    def __init__(self, bead_ids: Iterable[str]) -> None:
        self._above = {bead_id: bead_id for bead_id in bead_ids}

    def first(self, bead_id: str) -> str:
        above = self._above
        while above[bead_id] != bead_id:
            above[bead_id] = above[above[bead_id]]
            bead_id = above[bead_id]
        return bead_id

    def join(self, one: str, other: str) -> None:
        self._above[self.first(one)] = self.first(other)


def _has_chosen_id(row: _Row) -> bool:
    """Whether a producer chose an id of the form of the town's own, which the town must not make again."""
    try:
        return BeadNotes.chosen_id.name in row.metadata and BeadNotes.chosen_id.of(object_of(row.metadata))
    except ValueError:
        return False


def _is_late(ended_at: str, until: Horizons) -> bool:
    return ended_at <= to_text(from_text(until.closed) - limits.ARCHIVE_LATEST)


_BEADS: Final = (
    "SELECT bead_id, status NOT IN ('closed', 'failed'), status = 'failed', updated_at, parent_bead_id, metadata, "
    "last_dispatch_failed_at FROM beads WHERE type <> 'agent' ORDER BY bead_id"
)
_NAMED: Final = (
    "SELECT current_hook_bead_id, last_dispatch_bead_id FROM agent_metadata ORDER BY bead_id",
    "SELECT subject FROM outbox WHERE state IN ('pending', 'claimed') ORDER BY seq",
    "SELECT bead_id, agent_id FROM town_events WHERE processed_at IS NULL ORDER BY seq",
)
"""The ids that agents, unfinished effects and pending events name in columns of their own."""
_TEXTS: Final = (
    "SELECT payload FROM outbox WHERE state IN ('pending', 'claimed') "
    "UNION ALL SELECT payload FROM town_events WHERE processed_at IS NULL"
)
"""The JSON texts that may name beads."""
_NEIGHBOURS: Final = """
    WITH these(id) AS (SELECT value FROM json_each(:ids))
    SELECT b.parent_bead_id FROM these t CROSS JOIN beads b ON b.bead_id = t.id
    UNION SELECT c.bead_id FROM these t CROSS JOIN beads c ON c.parent_bead_id = t.id AND c.type <> 'agent'
    UNION SELECT d.depends_on_bead_id FROM these t CROSS JOIN bead_dependencies d
        ON d.bead_id = t.id AND d.dependency_type <> 'blocks'
    UNION SELECT d.bead_id FROM these t CROSS JOIN bead_dependencies d
        ON d.depends_on_bead_id = t.id AND d.dependency_type <> 'blocks'"""
