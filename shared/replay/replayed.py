"""The answer of a replay: the ticks, how each compares with history, where it diverged, and the final state."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, Self

from shared.domain.report import ActionFields, AppliedEvent, BrokenInvariant, Claim, JudgedAction, OutcomeWord
from shared.domain.restores import InPlaceRestore
from shared.domain.shapes import Time, answer
from shared.history.differences import Difference
from shared.history.recorded_results import EffectResults
from shared.questions.snapshot import AsOf, StateSnapshot

ComparedBy = Literal["image", "outputs", "none"]
SegmentKind = Literal["replay", "what_if"]
"""How a tick was compared: by the digest of its pages, by its outputs, or not at all."""


@answer
class Divergence:
    """The first tick at which a replay differs from the record, and the reason: another result, a changed or a missing record."""

    tick: int
    time: Time
    differences: tuple[Difference, ...]
    reason: str


@answer
class ReplayedEffect(Claim):
    """An effect that a tick claimed, with the recorded result of this attempt; the result is `unknown` if none was recorded."""

    result: Any

    @classmethod
    def of(cls, claim: Claim) -> Self:
        """The effect as long as its result is not known."""
        return cls(claim.effect_id, claim.kind, claim.subject, claim.generation, claim.attempt, "unknown")


@answer
class ReplayedTick:
    """One recorded tick and what it did this time. `digest` is computed from the pages.

    `equal` says whether the result equals the commit; null if there is nothing to compare with.
    """

    tick: int
    tick_id: str
    time: Time
    code_version: str
    events: tuple[AppliedEvent, ...]
    actions: tuple[JudgedAction, ...]
    effects: tuple[ReplayedEffect, ...]
    violations: tuple[BrokenInvariant, ...]
    next_due_at: Time | None
    digest: str
    equal: bool | None
    compared_by: ComparedBy
    differences: tuple[Difference, ...]
    note: str | None
    restore: InPlaceRestore | None = None
    """The restore in place that took the number of this tick; it ran nothing."""

    def with_results(self, results: EffectResults) -> "ReplayedTick":
        """The same tick with the results of its effects, as far as they are recorded."""
        effects = [
            replace(effect, result=results.get((effect.effect_id, effect.attempt), effect.result))
            for effect in self.effects
        ]
        return replace(self, effects=tuple(effects))


@answer
class ActionOfTick:
    """An action with its tick."""

    tick: int
    time: Time
    rule: str
    action: ActionFields
    outcome: OutcomeWord
    reason: str | None

    @classmethod
    def of(cls, tick: int, time: datetime, judged: JudgedAction) -> Self:
        """The action of this tick."""
        return cls(tick, time, judged.rule, judged.action, judged.outcome, judged.reason)


@answer
class Segment:
    """Consecutive ticks made by one code version. It is a `replay` if the installed code ran on history's state, else a what-if."""

    first_tick: int
    last_tick: int
    code_version: str
    kind: SegmentKind
    equal: bool | None


@answer
class StartedFrom:
    """The image from which a replay started. `warm_up_ticks` between it and the window were judged too, but are not shown."""

    txid: int
    tick: int
    time: Time
    warm_up_ticks: int


@answer
class Replay:
    """A window that was replayed.

    `exact`: every tick was made by the installed code and equals its record (the image, or for another SQLite the outputs).
    `stopped` says why the replay could not continue. If `cursor` is not null, the window continues on the next page. A restore
    in place ends a page: a replay runs no tick on a state that a restore has replaced.
    """

    town_id: str
    from_: Time
    to: Time
    started_from: StartedFrom
    exact: bool
    divergence: Divergence | None
    stopped: str | None
    segments: tuple[Segment, ...]
    events_replayed: int
    actions: tuple[ActionOfTick, ...]
    ticks: tuple[ReplayedTick, ...]
    state_snapshot: StateSnapshot
    next_actions: tuple[JudgedAction, ...]
    as_of: AsOf
    notes: tuple[str, ...]
    cursor: str | None
