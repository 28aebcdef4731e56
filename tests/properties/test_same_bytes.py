"""A tick is a function: the same history gives the same bytes whatever runs it, and every recorded tick runs again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.tick import TickInput
from shared.engine import tick
from shared.images import dump
from shared.town import database, journal
from tests.properties import facts, outside, play, steps
from tests.properties.amount import examples
from tests.properties.life import Life, Ticked
from tests.properties.outside import Answers
from tests.properties.starts import NOTHING_LEGAL, STARTS, begin
from tests.properties.steps import Step
from tests.towns import TOWN

ROOT = Path(__file__).resolve().parents[2]


def a_history(seed: int, *, length: int) -> list[Step]:
    """Steps of all kinds, the same ones for the same seed."""
    chance = Random(seed)

    def one() -> Step:
        how = Answers(
            start=chance.choice(outside.STARTS),
            poll=chance.choice(tuple(outside.POLLS)),
            merge=chance.choice(outside.MERGES),
            call=chance.choice(outside.CALLS),
        )
        pick, variant = chance.randrange(8), chance.randrange(8)
        return chance.choice(
            (
                steps.Post(chance.choice(tuple(facts.FACTS)), pick, variant),
                steps.Post(chance.choice(tuple(facts.FACTS)), pick, variant),
                steps.Live(1 + pick % 3, chance.choice(steps.MOVES), chance.choice(outside.BEHAVIOURS), how),
                steps.Live(1, "due", "progress", how),
                steps.PostAgain(pick, changed=variant > 5),
                steps.PostPoison(pick),
                steps.Answer(pick, how),
                steps.Gap(chance.choice(steps.GAPS[:6]), "beat"),
            )
        )

    return [one() for _ in range(length)]


def _played(path: Path, how: str, hash_seed: str) -> list[str]:
    """The digests that another process prints after each tick."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.properties.play", str(path), how],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_a_history_gives_one_digest_under_three_hash_seeds_in_memory_and_file_with_and_without_dry_runs(
    tmp_path: Path,
) -> None:
    path = tmp_path / "history.json"
    histories = [
        {"start": start, "steps": [steps.as_json(step) for step in a_history(182 + number, length=30)]}
        for number, start in enumerate(("young", "busy", "pull requests", "stalled"))
    ]
    path.write_text(json.dumps(histories), encoding="utf-8")
    in_memory = _played(path, "memory", "0")
    assert len(in_memory) > 50
    assert _played(path, "file", "1") == in_memory
    assert _played(path, "dry-run", "2") == in_memory
    assert play.digests(path, "memory") == in_memory


def no_tick_relies_on_the_order_of_unsorted_rows(life: Life, ticked: Ticked) -> None:
    """With unsorted rows in reverse, as after a change of row numbers, the tick does and says the same."""
    with database.opened(ticked.before) as reversed_:
        reversed_.set_authorizer(None)
        reversed_.execute("PRAGMA reverse_unordered_selects = ON")
        database.restrict(reversed_)
        report = tick.run(reversed_, ticked.report.input, town_id=TOWN)
        assert report == ticked.report
        assert dump.logical_digest(reversed_) == dump.logical_digest(life.town.sql)


def test_no_tick_relies_on_the_order_of_unsorted_rows() -> None:
    for number, start in enumerate(("busy", "landing", "pull requests", "stalled")):
        life = begin(start)
        life.checks = (no_tick_relies_on_the_order_of_unsorted_rows,)
        life.play(*a_history(571 + number, length=20))
        life.close()


def every_committed_tick_replays_from_its_journal_row(life: Life, ticked: Ticked) -> None:
    """The recorded input on the image before gives the image after, byte for byte."""
    if ticked.report.quiet:
        assert life.town.image() == ticked.before, "a quiet tick leaves no trace"
        return
    [record] = journal.rows(life.town.sql, limit=1)
    with database.opened(ticked.before) as again:
        report = tick.run(again, TickInput.from_record(record), town_id=TOWN)
        assert database.image_of(again) == ticked.after
        assert report.outputs() == ticked.report.outputs()


@examples(20)
@given(start=st.sampled_from((*STARTS, NOTHING_LEGAL)), history=st.lists(steps.steps(), max_size=12))
def test_every_committed_tick_replays_from_its_journal_row(start: str, history: list[Step]) -> None:
    life = begin(start)
    life.checks = (every_committed_tick_replays_from_its_journal_row,)
    life.play(*history, steps.Live(1))
    life.close()
