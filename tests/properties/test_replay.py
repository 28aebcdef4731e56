"""Replay is the past again: from every tick of random histories, digest for digest; and a dry run is the next tick."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from shared.domain.processes import ProcessStatus
from shared.domain.report import TickReport
from shared.domain.tick import TickInput
from shared.domain.times import from_text
from shared.images import image_digest
from shared.ports.steps import drive
from shared.ports.town_past import PastImage, journal_row
from shared.replay import faithful
from shared.replay.time_window import PageLimits, Window
from shared.replay.what_if import run
from shared.replay.what_if.overrides import Overrides
from shared.runner.code_version import code_version
from shared.town import database, journal
from tests.pasts import RememberedPast
from tests.properties.life import Life, Ticked
from tests.properties.starts import begin
from tests.properties.test_same_bytes import a_history
from tests.towns import MS, TOWN

UNLIMITED = PageLimits(span=timedelta(days=3650), ticks=1_000_000)


@dataclass
class Recorded(Life):
    """A life whose every commit is remembered, with the digests that a worker would have recorded."""

    past: RememberedPast = field(default_factory=RememberedPast)
    dry_runs_differ: list[int] = field(default_factory=list)

    def input(self, seen: dict[str, ProcessStatus] | None = None) -> TickInput:
        if not self.past.images:
            self.remember()
        digest = image_digest.of_image(self.town.image())
        given = super().input(seen)
        return replace(given, prev_image_digest=digest, code_version=code_version())

    def run(self, sql: database.Database, given: TickInput) -> TickReport:
        copy = database.open_image(database.image_of(sql))
        dry = super().run(copy, given)
        report = super().run(sql, given)
        same = (dry.outputs(), dry.effects) == (report.outputs(), report.effects)
        if not same or database.image_of(copy) != database.image_of(sql):
            self.dry_runs_differ.append(given.tick_no)
        database.close(copy)
        return report

    def remember(self) -> None:
        image = self.town.image()
        tick_no, at = self.town.value("tick_no"), from_text(self.town.value("last_tick_at"))
        self.past.images.append(PastImage(TOWN, image, tick_no + 1, tick_no, at, at))


def remember(life: Life, ticked: Ticked) -> None:
    """Keep what a commit leaves."""
    assert isinstance(life, Recorded)
    if not ticked.report.quiet:
        life.remember()
        life.past.rows += map(journal_row, journal.rows(life.town.sql, limit=1))


def a_recorded_life(start: str, seed: int, *, ticks: int) -> Recorded:
    """A history of at least so many commits."""
    young = begin(start)
    life = Recorded(**{name: getattr(young, name) for name in young.__dataclass_fields__}, past=RememberedPast())
    life.checks = (remember,)
    while len(life.past.rows) < ticks:
        life.play(*a_history(seed, length=40))
        seed += 1_000
    return life


def window_from(life: Recorded, position: int) -> Window:
    """From right after a commit to the end."""
    return Window(life.past.images[position].committed_at + MS, life.past.images[-1].committed_at)


@pytest.mark.parametrize(("start", "seed"), [("young", 1), ("busy", 2), ("pull requests", 3), ("stalled", 4)])
def test_a_replay_from_every_twentieth_tick_to_the_end_is_exact_and_every_dry_run_was_the_next_tick(
    start: str, seed: int
) -> None:
    life = a_recorded_life(start, seed, ticks=200)
    assert life.dry_runs_differ == []
    digests = {image.tick_no: image_digest.of_image(image.image) for image in life.past.images}
    for position in range(0, len(life.past.images) - 1, 20):
        again = drive(faithful.replay(TOWN, life.past, window_from(life, position), page=UNLIMITED))
        assert again.divergence is None
        assert again.exact
        assert len(again.ticks) == len(life.past.images) - 1 - position
        for tick in again.ticks:
            assert tick.digest == digests[tick.tick]
    life.close()


def test_a_replay_rolls_forward_to_its_window_from_the_only_image_that_is_kept() -> None:
    life = a_recorded_life("busy", 5, ticks=120)
    last = len(life.past.images) - 30
    wanted = window_from(life, last)
    del life.past.images[1:-1]
    again = drive(faithful.replay(TOWN, life.past, wanted, page=UNLIMITED))
    assert again.exact
    assert (again.started_from.warm_up_ticks, len(again.ticks)) == (last, 29)
    life.close()


@pytest.mark.parametrize("seed", [6, 7])
def test_a_what_if_that_changes_nothing_comes_to_the_same_at_every_tick(seed: int) -> None:
    life = a_recorded_life("busy", seed, ticks=150)
    otherwise = drive(run.what_if(TOWN, life.past, window_from(life, 20), Overrides(), page=UNLIMITED))
    assert (otherwise.ticks_compared, otherwise.partings, otherwise.rows) == (len(life.past.rows) - 20, (), ())
    assert (otherwise.unknown_effects, otherwise.notes) == ((), ())
    life.close()
