"""The archive changes nothing: a town whose ended beads leave at once acts as one that keeps all of them, and loses none."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from shared.domain import limits
from shared.domain.images import Record
from shared.domain.report import TickReport
from shared.domain.tick import Archived, Envelope, TickInput
from shared.engine import tick
from shared.ports.steps import Steps, drive
from shared.runner.returning import returned_families
from shared.town import archive, database, journal
from tests.properties.life import Life
from tests.properties.starts import NOTHING_LEGAL, STARTS, begin
from tests.properties.test_same_bytes import a_history
from tests.towns import TOWN, TownBuilder

TABLES = (
    "beads",
    "review_metadata",
    "convoy_metadata",
    "escalation_metadata",
    "bead_dependencies",
    "bead_events",
    "usage_sums",
    "agent_metadata",
    "agent_nudges",
    "town_events",
    "outbox",
)

RETURNS = ("busy", 3)
"""A start and a seed whose history brings archived beads back."""


@dataclass
class _Shelf:
    """An archive in memory."""

    records: dict[str, Record] = field(default_factory=dict)
    left: int = 0
    came_back: int = 0

    def archived(self, town_id: str, bead_ids: Iterable[str], *, index: int) -> Steps[dict[str, Record]]:
        assert (town_id, index > 0) == (TOWN, True)
        yield from ()
        return {bead_id: self.records[bead_id] for bead_id in bead_ids if bead_id in self.records}

    def archive_blocks(self, town_id: str, *, index: int) -> Steps[tuple[int, ...]]:
        raise NotImplementedError

    def archived_in(self, town_id: str, block: int, *, index: int) -> Steps[tuple[Record, ...]]:
        raise NotImplementedError


@dataclass
class Shadowed(Life):
    """A life whose beads stay, and beside it the same town from which they leave as soon as they may."""

    shadow: TownBuilder = field(default_factory=TownBuilder)
    shelf: _Shelf = field(default_factory=_Shelf)

    def _send(self, envelope: Envelope) -> str:
        # What is in the archive cannot be deleted: there the two towns differ on purpose.
        if envelope.event_type == "bead_deleted":
            envelope = replace(envelope, event_type="bead_reopened")
        return super()._send(envelope)

    def run(self, sql: database.Database, given: TickInput) -> TickReport:
        report = super().run(sql, given)
        if report.quiet or sql is not self.town.sql:
            return report
        shadow = self.shadow.sql
        block, archived = archive.block_to_publish(shadow), None
        if block is not None:
            archived = Archived(given.tick_no, block.bead_ids)
            for record in json.loads(block.body)["families"]:
                self.shelf.records.update(dict.fromkeys(archive.bead_ids_in(record), record))
        returned = drive(returned_families(self.shelf, shadow, given.new_events, town_id=TOWN))
        before = self.shadow.image()
        told = tick.run(shadow, replace(given, archived=archived, returned=returned), town_id=TOWN)
        if archived is not None:
            self.shelf.left += sum(not self.shadow.status(bead_id) for bead_id in archived.bead_ids)
        self.shelf.came_back += len(returned)
        assert _acts(told) == _acts(report), given.tick_no
        with database.opened(before) as again:
            (row,) = journal.rows(shadow, limit=1)
            tick.run(again, TickInput.from_record(row), town_id=TOWN)
            assert database.image_of(again) == self.shadow.image(), given.tick_no
        return report

    def require_nothing_lost(self) -> None:
        """The shadow with all that has left it has the rows of the town."""
        with database.opened(self.shadow.image()) as whole:
            database.begin(whole)
            archive.put_back(whole, list(self.shelf.records.values()))
            for table in TABLES:
                assert _rows(whole, table) == _rows(self.town.sql, table), table


def _acts(report: TickReport) -> tuple[object, ...]:
    return report.events, report.actions, report.effects, report.violations, report.next_due, report.alerts


def _rows(sql: database.Database, table: str) -> list[tuple[object, ...]]:
    return sorted(sql.execute(f"SELECT * FROM {table}").fetchall(), key=repr)


def _shadowed(start: str) -> Shadowed:
    young = begin(start)
    shadow = TownBuilder(sql=database.open_image(young.town.image()))
    for town, minutes in ((young.town, 10_000_000), (shadow, 1)):
        wait = {"closed_after_minutes": minutes, "failed_after_minutes": minutes}
        town.key("config", {**town.value("config"), "archive": wait})
    return Shadowed(**{name: getattr(young, name) for name in young.__dataclass_fields__}, shadow=shadow)


@pytest.mark.parametrize(
    ("start", "seed"),
    [
        RETURNS,
        *(
            pytest.param(start, seed, marks=pytest.mark.long)
            for start in STARTS
            if start != NOTHING_LEGAL
            for seed in (1, 3)
            if (start, seed) != RETURNS
        ),
    ],
)
def test_a_town_whose_ended_beads_leave_at_once_acts_as_one_that_keeps_them_and_loses_none(
    start: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ARCHIVE_BEADS", 1)
    monkeypatch.setattr(limits, "ARCHIVE_LOOK_EVERY", 1)
    life = _shadowed(start)
    must_return = (start, seed) == RETURNS
    while len(life.ticked) < 100:
        life.play(*a_history(seed, length=40))
        seed += 1_000
    life.require_nothing_lost()
    assert life.shelf.left > 0 or not must_return
    assert life.shelf.came_back > 0 or not must_return
    life.close()
    database.close(life.shadow.sql)
