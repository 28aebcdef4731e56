"""Runs a what-if: the recorded ticks of a window a second time, with something changed, side by side with history.

The changed town has a tick whenever history had one, with the same observations. No effect is performed. The answer shows
where the two differ: in the outputs of ticks and in rows.
"""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate
from typing import Final, Self, TypeVar

from shared.domain import canonical
from shared.domain.errors import Refused
from shared.domain.report import Claim, TickReport
from shared.domain.restores import restore_in
from shared.domain.shapes import Time, answer, document
from shared.domain.states import EffectState
from shared.domain.tick import config_digest
from shared.history.differences import Difference
from shared.history.journal_rows import JournalRows
from shared.history.rerun import Rerun, rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions import overview, snapshot
from shared.questions.other_config import override_config
from shared.questions.snapshot import AsOf, StateSnapshot, TownState
from shared.replay import time_window
from shared.replay.faithful import SegmentedReplay
from shared.replay.replayed import ActionOfTick, Divergence
from shared.replay.starting_point import starting_point
from shared.replay.time_window import PageLimits, Window
from shared.replay.what_if.comparison import Comparison, Parting, counted_actions
from shared.replay.what_if.overrides import Attempt, Overrides, RecordedEffects, WhatIfInputs
from shared.runner.code_version import code_version

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

    `history_divergence` is the divergence that the replay of history itself found, if any. `unknown_effects` are effects that
    history never started.
    """

    town_id: str
    from_: Time
    to: Time
    overrides: Overrides
    code_versions: CodeVersions
    ticks_compared: int
    ticks_parted: int
    first_parted: int | None
    sum: WhatIfTotals
    partings: tuple[Parting, ...]
    partings_omitted: int
    rows: tuple[Difference, ...]
    unknown_effects: tuple[Claim, ...]
    history_divergence: Divergence | None
    events_replayed: int
    actions: tuple[ActionOfTick, ...]
    actions_omitted: int
    state_snapshot: StateSnapshot
    as_of: AsOf
    notes: tuple[str, ...]

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
    with rerun(base) as history:
        again = SegmentedReplay(history, past, rows, newest)
        while (row := rows.next) is not None and time_of(row) < wanted.start and again.can_run(row):
            restore = restore_in(row)
            yield from again.run(row) if restore is None else again.follow_restore(row, restore)
        with rerun(history.as_past(base)) as changed:
            inputs = WhatIfInputs(overrides, recorded, attempts_under_way(changed))
            comparison = Comparison(history, changed, overrides.shift)
            codes: dict[str, None] = {}
            while (row := rows.next) is not None and time_of(row) <= wanted.end and again.can_run(row):
                restore = restore_in(row)
                if restore is not None:
                    again.notes.append(f"tick {restore.tick}: {restore.says()}; the what-if ends before it")
                    break
                yield from again.run(row)
                comparison.compare(row, run_changed(changed, row, overrides, inputs), rows_too=not again.diverged)
                codes[row["code_version"]] = None
            again.finish()
            return _answer(
                again,
                inputs,
                comparison,
                town_id=town_id,
                window=wanted,
                overrides=overrides,
                recorded_code=tuple(codes),
                state=snapshot.town_state(changed, wanted.end + overrides.shift),
            )


def run_changed(changed: Rerun, row: JournalRow, overrides: Overrides, inputs: WhatIfInputs) -> TickReport:
    """Run the tick of the changed town that corresponds to a journal row."""
    config = override_config(changed.sql, overrides.config, path="overrides.config")
    given = inputs.of(row, image_digest=changed.digest, config_digest=config_digest(config))
    report = changed.run(given)
    inputs.claimed(report.effects)
    return report


def _answer(
    again: SegmentedReplay,
    inputs: WhatIfInputs,
    comparison: Comparison,
    *,
    town_id: str,
    window: Window,
    overrides: Overrides,
    recorded_code: tuple[str, ...],
    state: TownState,
) -> WhatIf:
    partings = tuple(comparison.partings)
    return WhatIf(
        town_id=town_id,
        from_=window.start,
        to=window.end,
        overrides=overrides,
        code_versions=CodeVersions(recorded_code, code_version()),
        ticks_compared=comparison.compared,
        ticks_parted=len(partings),
        first_parted=partings[0].tick if partings else None,
        sum=WhatIfTotals(
            actions_only_in_history=counted_actions(parting.only_in_history for parting in partings),
            actions_only_now=counted_actions(parting.only_now for parting in partings),
            rows_apart=comparison.rows_apart,
            events_left_out=inputs.left_out,
            events_added=inputs.added,
        ),
        partings=partings,
        partings_omitted=0,
        rows=comparison.rows(),
        unknown_effects=tuple(inputs.unknown),
        history_divergence=again.divergence,
        events_replayed=comparison.events,
        actions=tuple(comparison.actions),
        actions_omitted=0,
        state_snapshot=state.snapshot,
        as_of=state.as_of,
        notes=_notes(again, inputs),
    )


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
    return RecordedEffects.of(found)


def attempts_under_way(town: Rerun) -> frozenset[Attempt]:
    """Attempts that were started before the window and had no result yet."""
    lines = overview.unfinished_effects(town.sql)
    return frozenset((line.effect_id, line.attempts) for line in lines if line.state is EffectState.CLAIMED)


def _notes(again: SegmentedReplay, inputs: WhatIfInputs) -> tuple[str, ...]:
    notes = list(again.notes)
    if again.stopped is not None:
        notes.append(again.stopped)
    if again.diverged:
        notes.append(
            "history was made by other code, so its state is not known at every tick: rows are not compared there"
        )
    if inputs.not_seen:
        named = ", ".join(sorted(inputs.not_seen)[:10])
        notes.append(f"{_counted(len(inputs.not_seen), 'event')} to leave out did not occur in this window: {named}")
    if inputs.not_added:
        notes.append(f"{_counted(inputs.not_added, 'event')} to add came after the last tick of this window")
    if inputs.unknown:
        notes.append(
            f"history never started {_counted(len(inputs.unknown), 'effect')} of the changed town: these results are unknown"
        )
    return tuple(notes)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
