"""The changed town of a what-if: its ticks in place of those of history and between them, and which of its results are unknown."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

from shared.domain.orders import addressee_of
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.states import EffectKind, EffectState
from shared.domain.tick import config_digest
from shared.history.rerun import Rerun, time_of
from shared.ports.town_past import JournalRow
from shared.questions import overview, standings
from shared.questions.other_config import override_config
from shared.replay.what_if import between
from shared.replay.what_if.inputs import WhatIfInputs
from shared.replay.what_if.knowledge import Attempt, Generation, UnknownEffect
from shared.replay.what_if.overrides import Overrides, RecordedEffects

_TELL_AGENTS: Final = (EffectKind.SEND_NUDGE, EffectKind.UPDATE_MODEL)


class ChangedTown:
    """A town that runs the ticks of history with something changed. No effect is performed."""

    def __init__(self, running: Rerun, overrides: Overrides, recorded: RecordedEffects) -> None:
        """Start from the state of `running`."""
        self.running = running
        self.overrides = overrides
        self.inputs = WhatIfInputs(overrides, recorded, _under_way(running))
        self.ticks_between = 0
        self.unread = 0
        """How many attempts of history have no order that is kept."""
        self._unknown: dict[str, UnknownEffect] = {}
        self._stopped_then: dict[Generation, UnknownEffect] = {}

    @property
    def unknown(self) -> tuple[UnknownEffect, ...]:
        """Everything whose result is unknown, in order of ticks; of several attempts of one effect, the first."""
        return tuple(sorted([*self._unknown.values(), *self._stopped_then.values()], key=lambda each: each.time))

    def run(self, row: JournalRow) -> TickReport:
        """Run the tick that corresponds to a journal row."""
        config = override_config(self.running.sql, self.overrides.config, path="overrides.config")
        given = self.inputs.of(row, image_digest=self.running.digest, config_digest=config_digest(config))
        return self.running.run(given)

    def run_between(self, row: JournalRow, tick: int, at: datetime) -> TickReport:
        """Run a tick that only this town has, after the one in place of tick `tick` of history. It counts as no commit.

        Its input is that of a journal row without its news.
        """
        number = between.FIRST_NUMBER + self.ticks_between
        self.ticks_between += 1
        config = override_config(self.running.sql, self.overrides.config, path="overrides.config")
        given = self.inputs.between(
            row, tick, at, number, image_digest=self.running.digest, config_digest=config_digest(config)
        )
        counted = self.running.tick_no, self.running.txid
        report = self.running.run(given)
        self.running.tick_no, self.running.txid = counted
        return report

    def compared(
        self, row: JournalRow, then: Iterable[ClaimedEffect], now: Iterable[ClaimedEffect]
    ) -> tuple[UnknownEffect, ...]:
        """Judge what history and this town claimed in a tick, and return the effects whose result became unknown.

        `then` are the effects of the journal row, with their orders as far as these are known.
        """
        recorded = tuple(then)
        named = {(each["effect_id"], each["attempt"]) for each in row["outputs"]["effects"]}
        unread = named - {(each.effect_id, each.attempt) for each in recorded}
        self.unread += len(unread)
        self.inputs.knowledge.leave_unread(unread)
        return self._judged(row["tick_no"], time_of(row), recorded, tuple(now))

    def compared_between(self, tick: int, at: datetime, now: Iterable[ClaimedEffect]) -> tuple[UnknownEffect, ...]:
        """The same for a tick that only this town has; `at` is its time on the clock of history."""
        return self._judged(tick, at, (), tuple(now))

    def _judged(
        self, tick: int, at: datetime, recorded: tuple[ClaimedEffect, ...], claimed: tuple[ClaimedEffect, ...]
    ) -> tuple[UnknownEffect, ...]:
        told = {each.effect_id: self._addressee(each) for each in claimed if each.kind in _TELL_AGENTS}
        unknown = tuple(
            each if each.bead_id is not None else replace(each, bead_id=told.get(each.effect_id))
            for each in self.inputs.claimed(tick, at, recorded, claimed)
        )
        self._unknown = {**{each.effect_id: each for each in unknown}, **self._unknown}
        for effect in recorded:
            if effect.kind == EffectKind.STOP_AGENT:
                self._note_stop(effect, tick, at)
        for effect in claimed:
            if effect.kind == EffectKind.STOP_AGENT:
                self._stopped_then.pop((effect.subject, effect.generation), None)
        return unknown

    def _addressee(self, effect: ClaimedEffect) -> str | None:
        """The bead on which the agent works that an effect tells something; None if it does not work."""
        work = standings.work_of(self.running.sql, addressee_of(effect.payload) or effect.subject)
        return None if work is None else work[0]

    def _note_stop(self, effect: ClaimedEffect, tick: int, at: datetime) -> None:
        """Note that history stopped an agent that works on here: nothing says what it would have done next."""
        work = standings.work_of(self.running.sql, effect.subject)
        if work is None or work[1] != effect.generation:
            return
        known = effect.effect_id, effect.kind, effect.subject, effect.generation, effect.attempt
        self._stopped_then[(effect.subject, effect.generation)] = UnknownEffect(
            *known, tick, at, work[0], "stopped", ()
        )


def _under_way(town: Rerun) -> frozenset[Attempt]:
    """Attempts that were started before the window and had no result yet."""
    lines = overview.unfinished_effects(town.sql)
    return frozenset((line.effect_id, line.attempts) for line in lines if line.state is EffectState.CLAIMED)
