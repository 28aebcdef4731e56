"""The overrides of a what-if (configuration, events, clock), and the inputs that its ticks get because of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self

from shared.domain.report import ClaimedEffect
from shared.domain.shapes import answer
from shared.domain.states import EventSource
from shared.domain.tick import Envelope, TickInput
from shared.domain.times import from_text
from shared.history import recorded_results
from shared.history.rerun import input_of
from shared.intake import ingest
from shared.ports.town_past import JournalRow
from shared.runner import result_events
from shared.runner.code_version import code_version
from shared.town import database

Attempt = tuple[str, int]
"""Effect id and number of the attempt."""

NOT_RECORDED: Final = "history never did this: its result is unknown"


@answer
class Overrides:
    """The changes. `config` is merged into the town's; `leave_out` are event ids; the events in `add` are given to the
    first tick at or after their time of receipt; every tick happens `shift_ms` later.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    add: tuple[Envelope, ...] = ()
    shift_ms: int = 0

    @property
    def shift(self) -> timedelta:
        """How much later every tick happens."""
        return timedelta(milliseconds=self.shift_ms)


@dataclass(frozen=True, slots=True)
class RecordedEffects:
    """The effects in history: all attempts, and for each result its tick and event."""

    tried: frozenset[Attempt]
    results: Mapping[Attempt, tuple[int, Envelope]]

    @classmethod
    def of(cls, rows: Iterable[JournalRow]) -> Self:
        """The effects in these journal rows."""
        tried: set[Attempt] = set()
        found: dict[Attempt, tuple[int, Envelope]] = {}
        for row in rows:
            for event in row["inputs"]["new_events"]:
                attempt = recorded_results.attempt_of(event["event_id"])
                if attempt is not None:
                    found[attempt] = (row["tick_no"], Envelope.from_json(event))
            tried.update((effect["effect_id"], effect["attempt"]) for effect in row["outputs"]["effects"])
        return cls(frozenset(tried), found)


# Results are the only inputs that depend on what the changed town did. Example: history dispatched agent p in tick 5 and got
# "started" in tick 6. If the changed town makes the same attempt (same effect id and number) in tick 5, it gets the result
# in tick 6 too. If it makes it only in tick 9, it gets it in tick 10, because nothing says how long the call would have
# taken. If it never makes it, the result is left out: it would confirm a start that did not happen. If it dispatches q
# instead, which history never did, the result is "unknown", so that its rules wait for a heartbeat that never comes.


class WhatIfInputs:
    """The inputs of the changed town, tick by tick. Results of effects are taken from history.

    A recorded result arrives in the same tick as in history, or in the next tick if the changed town makes the attempt later.
    An attempt that history never made gets the result "unknown", as if its adapter had failed. A result of an attempt that
    the changed town did not make is left out.
    """

    def __init__(self, overrides: Overrides, recorded: RecordedEffects, under_way: frozenset[Attempt]) -> None:
        """`under_way` are the attempts that had no result yet when the window began."""
        self._overrides = overrides
        self._recorded = recorded
        self._unanswered = {attempt for attempt in under_way if attempt in recorded.results}
        self._without_record: list[ClaimedEffect] = []
        self._to_add = sorted(overrides.add, key=lambda event: (event.received_at, event.event_id))
        self.unknown: list[ClaimedEffect] = []
        self._leave_out = frozenset(overrides.leave_out)
        self.not_seen = set(self._leave_out)
        self.added = 0

    @property
    def left_out(self) -> int:
        """How many of the events to leave out occurred in the window."""
        return len(self._leave_out) - len(self.not_seen)

    @property
    def not_added(self) -> int:
        """How many of the events to add lie after the last tick of the window."""
        return len(self._to_add)

    def of(self, row: JournalRow, *, image_digest: str, config_digest: str) -> TickInput:
        """The input of the changed town in place of a journal row of history."""
        given = input_of(row)
        events = [event for event in given.new_events if self._comes(event)]
        events += self._late_results(given.tick_no)
        events += self._made_up(given.now)
        return replace(
            given,
            now=given.now + self._overrides.shift,
            code_version=code_version(),
            sqlite_version=database.SQLITE_VERSION,
            config_digest=config_digest,
            prev_image_digest=image_digest,
            new_events=tuple(events),
        )

    def claimed(self, effects: tuple[ClaimedEffect, ...]) -> None:
        """Note that the changed town claimed these effects. They are not performed."""
        for effect in effects:
            attempt = (effect.effect_id, effect.attempt)
            if attempt in self._recorded.results:
                self._unanswered.add(attempt)
            elif attempt not in self._recorded.tried:
                self._without_record.append(effect)
                self.unknown.append(effect)

    def _comes(self, event: Envelope) -> bool:
        """Whether the changed town receives an event of history too."""
        if event.event_id in self._leave_out:
            self.not_seen.discard(event.event_id)
            return False
        attempt = recorded_results.attempt_of(event.event_id)
        if attempt is None or attempt not in self._recorded.results:
            return True
        answers = attempt in self._unanswered
        self._unanswered.discard(attempt)
        return answers

    def _late_results(self, tick_no: int) -> list[Envelope]:
        """Results that history received before the changed town made the attempt."""
        late = sorted(attempt for attempt in self._unanswered if self._recorded.results[attempt][0] < tick_no)
        self._unanswered.difference_update(late)
        events = [self._recorded.results[attempt][1] for attempt in late]
        return [event for event in events if event.event_id not in self._leave_out]

    def _made_up(self, now: datetime) -> list[Envelope]:
        """Events that history never had: results that are unknown, and the added events."""
        results_ = [result_events.unanswered(effect, NOT_RECORDED) for effect in self._without_record]
        self._without_record = []
        unknown = ingest.batch_of(results_, received_at=now, source=EventSource.EFFECT).envelopes if results_ else ()
        due = [event for event in self._to_add if from_text(event.received_at) <= now]
        self._to_add = self._to_add[len(due) :]
        self.added += len(due)
        return [*unknown, *due]
