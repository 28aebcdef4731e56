"""Runs a what-if: the recorded ticks of a window a second time, with something changed, side by side with history.

The changed town has a tick whenever history had one, with the same observations, and whenever it is due in between. No effect is
performed. A recorded result answers only the recorded order; the result of another order is unknown. The answer shows where the
two differ: in the outputs of ticks, in orders and in rows, and how each bead ends.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from typing import Final, Self, TypeVar

from shared.domain import canonical
from shared.domain.errors import Refused
from shared.domain.restores import restore_in
from shared.domain.shapes import Time, answer, document
from shared.history.differences import Difference
from shared.history.journal_rows import JournalRows
from shared.history.rerun import Rerun, rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import snapshot, timeline
from shared.questions.held_settings import without_effect
from shared.questions.rosters import TownSettings, settings_in
from shared.questions.snapshot import AsOf, StateSnapshot
from shared.replay import time_window
from shared.replay.faithful import SegmentedReplay
from shared.replay.replayed import ActionOfTick, Divergence
from shared.replay.starting_point import starting_point
from shared.replay.time_window import PageLimits, Window
from shared.replay.what_if.changed_town import ChangedTown
from shared.replay.what_if.comparison import Comparison, Parting, counted_actions
from shared.replay.what_if.ends import BeadEnd, ends_of
from shared.replay.what_if.knowledge import UnknownEffect
from shared.replay.what_if.overrides import Overrides, RecordedEffects
from shared.replay.what_if.side_by_side import SideBySide
from shared.runner.code_version import code_version
from shared.town import migrations

T = TypeVar("T")

_HOUR: Final = timedelta(hours=1)


@answer
class CodeVersions:
    """The code versions that made the recorded ticks, and the installed one."""

    recorded: tuple[str, ...]
    installed: str


@answer
class WhatIfTotals:
    """A what-if in numbers. Actions are counted by type."""

    actions_only_in_history: dict[str, int]
    actions_only_now: dict[str, int]
    rows_apart: int
    events_left_out: int
    events_added: int


@answer
class WhatIf:
    """A window that was run with something changed. `partings` are the ticks that differ, `rows` the differences at the end;
    `events_replayed` and `actions` are those of the changed town.

    `ticks_between` are ticks that only the changed town has. `first_parted` is the first tick that differs in more than the town's
    own bookkeeping. `rows_compared` is false if history was made by other code, so that its rows are not known at every tick.
    `beads` are those that end in another way, or whose end is unknown. `history_divergence` is the divergence that the replay of
    history itself found, if any. `unknown_effects` are the effects of the changed town whose results history does not know: it
    never made them, or gave another order. `names` are the titles of the beads and agents that the answer names. `without_effect`
    says why a setting that was changed made less of a difference than was asked for: its value held already, or a rig has its own.
    """

    town_id: str
    from_: Time
    to: Time
    overrides: Overrides
    code_versions: CodeVersions
    ticks_compared: int
    ticks_between: int
    ticks_parted: int
    first_parted: int | None
    sum: WhatIfTotals
    partings: tuple[Parting, ...]
    partings_omitted: int
    rows: tuple[Difference, ...]
    rows_compared: bool
    unknown_effects: tuple[UnknownEffect, ...]
    beads: tuple[BeadEnd, ...]
    names: dict[str, str]
    history_divergence: Divergence | None
    events_replayed: int
    actions: tuple[ActionOfTick, ...]
    actions_omitted: int
    state_snapshot: StateSnapshot
    as_of: AsOf
    notes: tuple[str, ...]
    without_effect: tuple[str, ...] = ()

    @property
    def first_unknown(self) -> dict[str, UnknownEffect]:
        """Of each bead the first effect whose result is unknown, from which its others follow."""
        found: dict[str, UnknownEffect] = {}
        for each in self.unknown_effects:
            if each.bead_id is not None:
                found.setdefault(each.bead_id, each)
        return found

    def within(self, size: int) -> Self:
        """The answer with its partings and its actions cut after `size` characters of JSON each."""
        partings, actions = _within(size, self.partings), _within(size, self.actions)
        return replace(
            self,
            partings=partings,
            partings_omitted=len(self.partings) - len(partings),
            actions=actions,
            actions_omitted=len(self.actions) - len(actions),
        )


def what_if(
    town_id: str, past: TownPast, wanted: Window, overrides: Overrides, *, page: PageLimits = time_window.WHOLE_DAY
) -> Steps[WhatIf]:
    """Run a window again with something changed. Raises Refused (400) as a replay does, and also for a window that is longer
    than one page, because the changed town cannot be resumed in the middle.
    """
    newest = yield from past.newest(town_id)
    base, rows = yield from starting_point(town_id, past, wanted.start)
    recorded = yield from _recorded(town_id, past, base.tick_no, wanted, page)
    recorded.require(overrides.leave_out)
    with rerun(base) as history:
        again = SegmentedReplay(history, past, rows, newest)
        while (row := rows.next) is not None and time_of(row) < wanted.start and again.can_run(row):
            restore = restore_in(row)
            yield from again.run(row) if restore is None else again.follow_restore(row, restore)
        before = _settings(history) if overrides.config else None
        with rerun(history.as_past(base)) as running:
            changed = ChangedTown(running, overrides, recorded)
            comparison = Comparison(history, running, overrides.shift, other_config=bool(overrides.config))
            side = SideBySide(again, rows, changed, comparison, past=past, at_most=page.ticks - recorded.ticks)
            yield from side.run(wanted)
            again.finish()
            found = _answer(again, side, changed, comparison, wanted)
            if before is None:
                return found
            held = without_effect(overrides.config, before, _settings(again.running), recorded.own_values)
            return replace(found, without_effect=tuple(held))


def _answer(
    again: SegmentedReplay, side: SideBySide, changed: ChangedTown, comparison: Comparison, window: Window
) -> WhatIf:
    partings = tuple(comparison.partings)
    shift = changed.overrides.shift
    unknown = changed.unknown
    doubtful = (each.bead_id for each in unknown if each.bead_id is not None)
    beads = ends_of(again.running, changed.running, window.end, shift=shift, unknown=doubtful)
    state = snapshot.town_state(changed.running, window.end + shift)
    return WhatIf(
        town_id=changed.running.town_id,
        from_=window.start,
        to=window.end,
        overrides=changed.overrides,
        code_versions=CodeVersions(tuple(side.codes), code_version()),
        ticks_compared=comparison.compared,
        ticks_between=comparison.between,
        ticks_parted=len(partings),
        first_parted=next((each.tick for each in partings if each.is_told), None),
        sum=WhatIfTotals(
            actions_only_in_history=counted_actions(parting.only_in_history for parting in partings),
            actions_only_now=counted_actions(parting.only_now for parting in partings),
            rows_apart=comparison.rows_apart,
            events_left_out=changed.inputs.left_out,
            events_added=changed.inputs.added,
        ),
        partings=partings,
        partings_omitted=0,
        rows=comparison.rows(),
        unknown_effects=unknown,
        beads=beads,
        rows_compared=not again.diverged,
        names=_names(changed.running, again.running, unknown, partings, beads),
        history_divergence=again.divergence,
        events_replayed=comparison.events,
        actions=tuple(comparison.actions),
        actions_omitted=0,
        state_snapshot=state.snapshot,
        as_of=state.as_of,
        notes=_notes(again, side, changed),
    )


def _settings(history: Rerun) -> TownSettings:
    with migrations.newest_schema(history.sql):
        return settings_in(history.town_id, history.sql, tick=history.tick_no)


def _names(
    changed: Rerun,
    history: Rerun,
    unknown: Iterable[UnknownEffect],
    partings: Iterable[Parting],
    beads: Iterable[BeadEnd],
) -> dict[str, str]:
    ids = {each for effect in unknown for each in (effect.subject, effect.bead_id) if each is not None}
    sides = (side for parting in partings for side in (parting.only_in_history, parting.only_now))
    acts = (judged.action for side in sides for judged in side.actions)
    ids |= {str(action[name]) for action in acts for name in ("bead_id", "agent_id") if action.get(name)}
    ends = (each for bead in beads for each in (bead.then, bead.now))
    ids |= {end.behind for end in ends if end is not None and end.behind is not None}
    return {**timeline.names_of(history.sql, ids), **timeline.names_of(changed.sql, ids)}


def _within(size: int, each: tuple[T, ...]) -> tuple[T, ...]:
    """The first elements whose JSON fits into `size` characters."""
    lengths = accumulate(len(canonical.dumps(document(one)).encode()) for one in each)
    return tuple(one for one, length in zip(each, lengths, strict=True) if length <= size)


def _recorded(town_id: str, past: TownPast, base: int, wanted: Window, page: PageLimits) -> Steps[RecordedEffects]:
    """The effects in history up to the end of the window. Raises Refused if the window is too long."""
    rows = JournalRows(past, town_id)
    yield from rows.start_after(base)
    found: list[JournalRow] = []
    ticks = 0
    while (row := rows.next) is not None and time_of(row) <= wanted.end:
        ticks += time_of(row) >= wanted.start
        if ticks > page.ticks or wanted.end - wanted.start > page.span:
            raise Refused(
                f"the window of a what-if has at most {page.ticks} ticks and {page.span // _HOUR} hours",
                status=400,
                path="to",
                hint="choose a shorter window; a what-if cannot be continued with a cursor",
            )
        found.append(row)
        yield from rows.advance()
    return RecordedEffects.of(found, since=wanted.start)


def _notes(again: SegmentedReplay, side: SideBySide, changed: ChangedTown) -> tuple[str, ...]:
    notes = [*again.notes, *side.notes]
    inputs = changed.inputs
    if again.stopped is not None:
        notes.append(again.stopped)
    if again.diverged:
        notes.append(
            "history was made by other code, so its state is not known at every tick: rows are not compared there"
        )
    if inputs.not_added:
        notes.append(f"{_counted(inputs.not_added, 'event')} to add came after the last tick of this window")
    unheard = sum(inputs.knowledge.unheard.values())
    if unheard:
        starts = _counted(len(inputs.knowledge.unheard), "start")
        verb = "was" if unheard == 1 else "were"
        notes.append(
            f"{_counted(unheard, 'report')} of agents {verb} left out: history made their {starts}, and the changed town did not"
        )
    return tuple(notes)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
