"""What if: the recorded ticks of a window run a second time with something changed, beside history.

The other town is looked at when history's was, with the same observations. No effect is performed. What is told is where
the two part: in what ticks did, and in rows.
"""

from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Final, TypeVar

from shared.domain import canonical
from shared.domain.errors import Refused
from shared.domain.report import ClaimedEffect
from shared.domain.tick import Envelope, config_digest
from shared.domain.times import to_text
from shared.history import effect_results
from shared.history.differences import Difference
from shared.history.journal_rows import JournalRows
from shared.history.rerun import Rerun, rerun, time_of
from shared.ports.steps import Steps
from shared.ports.town_past import TownPast
from shared.questions import snapshot
from shared.questions.other_config import override_config
from shared.questions.snapshot import TownState
from shared.replay import time_window
from shared.replay.answers import ActionOfTick, WhatIfAnswer
from shared.replay.faithful import SegmentedReplay, start
from shared.replay.replayed import Divergence
from shared.replay.time_window import PageLimits, Window
from shared.replay.what_if.comparison import Comparison, TickDifference
from shared.replay.what_if.overrides import Attempt, Overrides, RecordedEffects, WhatIfInputs
from shared.runner.code_version import code_version
from shared.town import outbox

T = TypeVar("T")

_HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A window as it would have been. `partings` are the ticks that come out otherwise, `rows` what differs at the end;
    `events` and `actions` are the other town's.

    `history` is None where history itself ran again exactly, up to the divergence otherwise. `unknown` are effects that
    history never tried.
    """

    town_id: str
    window: Window
    overrides: Overrides
    recorded_code: tuple[str, ...]
    ticks: int
    partings: tuple[TickDifference, ...]
    rows: tuple[Difference, ...]
    rows_apart: int
    unknown: tuple[ClaimedEffect, ...]
    left_out: int
    added: int
    history: Divergence | None
    events: int
    actions: tuple[ActionOfTick, ...]
    state: TownState
    notes: tuple[str, ...]

    def as_json(self, *, size: int | None = None) -> WhatIfAnswer:
        """The answer of replay-events with overrides; at most so many bytes of partings, and of actions, the first ones."""
        only_then, only_now = TickDifference.sums(self.partings)
        shown = _within(size, [parting.as_json() for parting in self.partings])
        actions = _within(size, list(self.actions))
        return {
            "townId": self.town_id,
            "from": to_text(self.window.start),
            "to": to_text(self.window.end),
            "overrides": self.overrides.as_json(),
            "codeVersions": {"recorded": list(self.recorded_code), "installed": code_version()},
            "ticksCompared": self.ticks,
            "ticksParted": len(self.partings),
            "firstParted": self.partings[0].tick_no if self.partings else None,
            "sum": {
                "actionsOnlyInHistory": only_then,
                "actionsOnlyNow": only_now,
                "rowsApart": self.rows_apart,
                "eventsLeftOut": self.left_out,
                "eventsAdded": self.added,
            },
            "partings": shown,
            "partingsOmitted": len(self.partings) - len(shown),
            "eventsReplayed": self.events,
            "actions": actions,
            "actionsOmitted": len(self.actions) - len(actions),
            "rows": [row.as_json() for row in self.rows],
            "unknownEffects": [effect.as_json() for effect in self.unknown],
            "historyDivergence": None if self.history is None else self.history.as_json(),
            "stateSnapshot": self.state.as_json(),
            "asOf": self.state.as_of(),
            "notes": list(self.notes),
        }


def what_if(
    town_id: str, past: TownPast, wanted: Window, overrides: Overrides, *, page: PageLimits = time_window.WHOLE_DAY
) -> Steps[WhatIf]:
    """Run a window again with something changed. Raises Refused (400) as a replay does, and for a window too wide for one
    page: the other town cannot be resumed in the middle.
    """
    newest = yield from past.newest(town_id)
    base, rows = yield from start(town_id, past, wanted, newest)
    recorded = yield from _recorded(town_id, past, base.tick_no, wanted, page)
    with rerun(base) as history:
        again = SegmentedReplay(history, past, rows, newest)
        while (row := rows.next) is not None and time_of(row) < wanted.start and again.can_run(row):
            yield from again.run(row)
        with rerun(history.as_past(base)) as other:
            inputs = WhatIfInputs(overrides, recorded, _under_way(other))
            comparison = Comparison(history, other, overrides.shift)
            codes: dict[str, None] = {}
            while (row := rows.next) is not None and time_of(row) <= wanted.end and again.can_run(row):
                yield from again.run(row)
                config = override_config(other.sql, overrides.config, path="overrides.config")
                report = other.run(inputs.of(row, image_digest=other.digest, config_digest=config_digest(config)))
                inputs.claimed(report.effects)
                comparison.compare(row, report, rows_too=not again.parted)
                codes[row["code_version"]] = None
            again.finish()
            return WhatIf(
                town_id=town_id,
                window=wanted,
                overrides=overrides,
                recorded_code=tuple(codes),
                ticks=comparison.compared,
                partings=tuple(comparison.partings),
                rows=comparison.rows(),
                rows_apart=comparison.rows_apart,
                unknown=tuple(inputs.unknown),
                left_out=inputs.left_out,
                added=inputs.added,
                history=again.divergence,
                events=comparison.events,
                actions=tuple(comparison.actions),
                state=snapshot.town_state(other, wanted.end + overrides.shift),
                notes=_notes(again, inputs),
            )


def _within(size: int | None, each: list[T]) -> list[T]:
    """As many of the first ones as have room."""
    if size is None:
        return each
    lengths = accumulate(len(canonical.dumps(one)) for one in each)
    return [one for one, length in zip(each, lengths, strict=True) if length <= size]


def _recorded(town_id: str, past: TownPast, base: int, wanted: Window, page: PageLimits) -> Steps[RecordedEffects]:
    """What history says of effects up to the end of the window. Raises Refused if the window is too wide."""
    rows = JournalRows(past, town_id)
    yield from rows.start_after(base)
    tried: set[Attempt] = set()
    found: dict[Attempt, tuple[int, Envelope]] = {}
    ticks = 0
    while (row := rows.next) is not None and time_of(row) <= wanted.end:
        ticks += time_of(row) >= wanted.start
        if ticks > page.ticks or wanted.end - wanted.start > page.span:
            raise Refused(
                f"a what-if holds at most {page.ticks} ticks and {page.span // _HOUR} hours",
                status=400,
                path="to",
                hint="ask for a narrower window; the other town cannot be resumed in the middle",
            )
        for event in row["inputs"]["new_events"]:
            attempt = effect_results.attempt_of(event["event_id"])
            if attempt is not None:
                found[attempt] = (row["tick_no"], Envelope(**event))
        tried.update((effect["effect_id"], effect["attempt"]) for effect in row["outputs"]["effects"])
        yield from rows.advance()
    return RecordedEffects(frozenset(tried), found)


def _under_way(town: Rerun) -> frozenset[Attempt]:
    """Attempts that had been started before the window, and had no answer yet."""
    lines = outbox.unfinished_lines(town.sql)
    return frozenset((line.effect_id, line.attempts) for line in lines if line.state == "claimed")


def _notes(again: SegmentedReplay, inputs: WhatIfInputs) -> tuple[str, ...]:
    notes = list(again.notes)
    if again.stopped is not None:
        notes.append(again.stopped)
    if again.parted:
        notes.append(
            "history was made by other code and its state is not known at every tick: rows are not compared there"
        )
    if inputs.not_seen:
        named = ", ".join(sorted(inputs.not_seen)[:10])
        notes.append(f"{len(inputs.not_seen)} events to leave out do not come in this window: {named}")
    if inputs.not_added:
        notes.append(f"{inputs.not_added} events to add lie after the last tick of this window")
    if inputs.unknown:
        notes.append(
            f"{len(inputs.unknown)} effects were never tried in history: their results are unknown, and count so"
        )
    return tuple(notes)
