"""The inputs that the ticks of the changed town get: those of history, as far as they are its own."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.domain.report import ClaimedEffect
from shared.domain.states import EventSource
from shared.domain.tick import Envelope, TickInput
from shared.domain.times import from_text
from shared.events import BY_TYPE
from shared.history import recorded_results
from shared.history.rerun import input_of
from shared.intake import ingest
from shared.ports.town_past import JournalRow
from shared.replay.what_if.knowledge import Attempt, Knowledge, UnknownEffect
from shared.replay.what_if.overrides import Overrides, RecordedEffects
from shared.runner import result_events

NOT_RECORDED: Final = "history never did this: its result is unknown"

# Results, and what agents report, are the only inputs that depend on what the changed town did. Example: history dispatched agent p
# in tick 5 and got "started" in tick 6. If the changed town makes the same attempt (same effect id and number) with the same order
# in tick 5, it gets the result in tick 6 too. If it makes it only in tick 9, it gets it in tick 10, because nothing says how long
# the call would have taken. If it never makes it, the result is left out, and so is everything that this process of p reported:
# they would confirm a start that did not happen. If it gives p another order, or dispatches q instead, which history never did, the
# result is "unknown", so that its rules wait for a heartbeat that never comes.


class WhatIfInputs:
    """The inputs of the changed town, tick by tick. Results of effects are taken from history.

    A recorded result arrives in the same tick as in history, or in the next tick if the changed town makes the attempt later.
    An attempt whose result is unknown gets the result "unknown", as if its adapter had failed. What an attempt has brought that
    the changed town did not make is left out.
    """

    def __init__(self, overrides: Overrides, recorded: RecordedEffects, under_way: frozenset[Attempt]) -> None:
        """`under_way` are the attempts that had no result yet when the window began."""
        self._overrides = overrides
        self._recorded = recorded
        self.knowledge = Knowledge(recorded.tried, overrides.shift)
        self._unanswered = {attempt for attempt in under_way if attempt in recorded.results}
        self._without_record: list[ClaimedEffect] = []
        self._to_add = sorted(overrides.add, key=lambda event: (event.received_at, event.event_id))
        self._claimed: dict[Attempt, ClaimedEffect] = {}
        self._leave_out = frozenset(overrides.leave_out)
        self.left_out = 0
        self.added = 0

    @property
    def not_added(self) -> int:
        """How many of the events to add lie after the last tick of the window."""
        return len(self._to_add)

    def wakes_at(self, last: datetime) -> datetime | None:
        """When an event that history did not have wakes the changed town after its tick at `last`; None if none does."""
        if self._without_record:
            return last
        added = (event for event in self._to_add if not _is_transient(event))
        first = next(added, None)
        return None if first is None else max(from_text(first.received_at) + self._overrides.shift, last)

    def of(self, row: JournalRow, *, image_digest: str, config_digest: str) -> TickInput:
        """The input of the changed town in place of a journal row of history.

        It has the versions of the recorded one, so that equal towns have equal digests.
        """
        given = input_of(row)
        events = [event for event in given.new_events if self._comes(event)]
        events += self._late_results(given.tick_no)
        events += self._made_up(given.now)
        seen = given.observations
        agents = tuple(each for each in seen.agents if self.knowledge.is_seen(*each))
        return replace(
            given,
            now=given.now + self._overrides.shift,
            config_digest=config_digest,
            prev_image_digest=image_digest,
            new_events=tuple(events),
            observations=replace(seen, agents=agents),
        )

    def between(
        self, row: JournalRow, tick: int, at: datetime, number: int, *, image_digest: str, config_digest: str
    ) -> TickInput:
        """The input of a tick that only the changed town has, at `at`, after the one in place of tick `tick` of history.

        Nobody looked at processes then.
        """
        given = input_of(row)
        then = at - self._overrides.shift
        return replace(
            given,
            tick_no=number,
            tick_id=f"{number}-what-if",
            now=at,
            config_digest=config_digest,
            prev_image_digest=image_digest,
            new_events=(*self._late_results(tick + 1), *self._made_up(then)),
            more_waiting=False,
            waiting=0,
            waiting_since=None,
            observations=replace(given.observations, agents=()),
            due_at=at,
            archived=None,
            returned=(),
        )

    def claimed(
        self, tick: int, at: datetime, then: Iterable[ClaimedEffect], now: Iterable[ClaimedEffect]
    ) -> tuple[UnknownEffect, ...]:
        """Judge the effects that history and the changed town claimed, and return those that became unknown.

        None is performed.
        """
        claimed = tuple(now)
        self._claimed |= {(each.effect_id, each.attempt): each for each in claimed}
        verdict = self.knowledge.judge(tick, at, then, claimed)
        for effect in verdict.answered:
            attempt = (effect.effect_id, effect.attempt)
            if attempt in self._recorded.results:
                self._unanswered.add(attempt)
        self._without_record += [self._claimed[(each.effect_id, each.attempt)] for each in verdict.unknown]
        return verdict.unknown

    def _comes(self, event: Envelope) -> bool:
        """Whether the changed town receives an event of history too."""
        if event.event_id in self._leave_out:
            self.left_out += 1
            return False
        attempt = recorded_results.attempt_of(event.event_id)
        if attempt is None or attempt not in self._recorded.results:
            return self.knowledge.is_heard(event)
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


def _is_transient(event: Envelope) -> bool:
    known = BY_TYPE.get(event.event_type)
    return known is not None and known.transient
