"""One past tick in full: its row of the journal, and the rows of the town that it changed, found by running it once more."""

from shared.domain.errors import Refused
from shared.domain.restores import Lineage, restore_in
from shared.domain.shapes import answer
from shared.history.differences import Difference, done_by_a_tick
from shared.history.journal_rows import JournalRows, ticks_text
from shared.history.rerun import Rerun, input_of, rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import lives, setting_changes, setting_history, timeline
from shared.questions.marks import Mark, Marks
from shared.questions.tick_list import PastTick
from shared.replay.judging import TickJudge
from shared.runner.code_version import code_version
from shared.town import database, journal, migrations
from shared.town.town_keys import TownKeys


@answer
class TickView:
    """A past tick. `changes` are the columns that differ after it, `expected` before it and `got` after it, at most 50.

    They leave out what every tick changes: its own row of the journal, and the town keys that count ticks, events and audit lines.

    `equal` says whether the tick, run again, gave its commit; null if there is nothing to compare with, and `note` says why.
    `names` are the titles of the beads and agents that the tick names.
    """

    town_id: str
    past: PastTick
    marks: tuple[Mark, ...]
    changes: tuple[Difference, ...]
    equal: bool | None
    note: str | None
    newest: int
    names: dict[str, str]


def tick_view(town_id: str, tick: int, past: TownPast) -> Steps[TickView]:
    """A past tick in full. Raises Refused (404) if its row is not kept, UnknownTown."""
    newest = yield from past.newest(town_id)
    rows = JournalRows(past, town_id)
    yield from rows.start_after(tick - 1)
    row = rows.next
    if row is None or row["tick_no"] != tick:
        raise Refused(
            f"town {town_id} has no tick {tick} in its kept journal; the newest is tick {newest.tick_no}",
            status=404,
            path="tick",
            hint="`townctl ticks TOWN` lists the ticks that are kept",
        )
    with database.opened(newest.image) as image, migrations.newest_schema(image):
        effects = {effect.effect_id: (effect.kind, effect.subject) for effect in lives.effects(image)}
        lineage = Lineage(TownKeys(image).restores)
    told = yield from setting_changes.changes_in(town_id, past, [row])
    marks = Marks(effects, told)
    marks.read(row)
    by = lineage.discarded_by(tick)
    settings = tuple(setting_history.settings_events(row, told))
    about = PastTick(tick, time_of(row), row, restore_in(row), None if by is None else by.tick, settings)
    changes, equal, note = yield from _again(town_id, past, row, about)
    named = {each for mark in marks.found for each in mark.about} | {each.key.partition(" ")[0] for each in changes}
    with database.opened(newest.image) as image, migrations.newest_schema(image):
        names = timeline.names_of(image, named)
    return TickView(town_id, about, tuple(marks.found), changes, equal, note, newest.tick_no, names)


def _again(
    town_id: str, past: TownPast, row: JournalRow, about: PastTick
) -> Steps[tuple[tuple[Difference, ...], bool | None, str | None]]:
    """What the tick changed when it is run again, and whether that is its commit."""
    tick = row["tick_no"]
    if about.restore is not None:
        return (), None, "a restore in place took this number: no tick ran"
    base = yield from past.up_to_tick(town_id, tick - 1)
    if base is None:
        return (), None, "no image from before this tick is kept, so it cannot be run again"
    newest = yield from past.newest(town_id)
    with rerun(base) as running:
        reached = yield from _run_up_to(running, past, tick - 1)
        if not reached:
            return (
                (),
                None,
                f"the journal lacks {ticks_text(running.tick_no + 1, tick - 1)}, so the tick cannot be run again",
            )
        before = running.image
        report = running.run(input_of(row))
        found = done_by_a_tick(before, running.image)
        if row["code_version"] != code_version():
            return found, None, _by_other_code(row["code_version"])
        rows = JournalRows(past, town_id)
        yield from rows.start_after(tick)
        judge = TickJudge(past, newest, running)
        judged = yield from judge.judged(row, rows.next, journal.outputs_of(report), same_code=True, migrated=())
        return found, judged.equal, judged.note


def _by_other_code(version: str) -> str:
    return (
        f"another version of the code ({version[:7]}) made this tick: its input and actions are as recorded, and the changed rows "
        f"are what the installed version ({code_version()[:7]}) makes of that input"
    )


def _run_up_to(running: Rerun, past: TownPast, tick: int) -> Steps[bool]:
    """Run the recorded ticks up to this one. Returns whether that was possible."""
    rows = JournalRows(past, running.town_id)
    yield from rows.start_after(running.tick_no)
    while running.tick_no < tick:
        row = rows.next
        if row is None or row["tick_no"] != running.tick_no + 1 or restore_in(row) is not None:
            return False
        running.run(input_of(row))
        yield from rows.advance()
    return True
