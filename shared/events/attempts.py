"""The base of all effect results. Each reports one attempt, and first settles the effect's row in the outbox.

Only the worker that performs an effect posts its results. A result that arrives after its row was settled is late and changes
nothing, with one exception: a success replaces the recorded failure of another attempt (spec/events.md 4.7).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.outcomes import MISSING, Skipped
from shared.domain.states import EffectKind, EffectState, Scope
from shared.events.base import Event
from shared.events.fields import Generation, IdText
from shared.town import outbox
from shared.town.outbox import Effect
from shared.town.town import Town

LATE: Final = Skipped("late")


class AttemptReport(Event):
    """Base of all effect results: the effect and the attempt that are reported."""

    senders: ClassVar[frozenset[Scope]] = frozenset()

    effect_id: IdText
    attempt: Generation


@dataclass(frozen=True, slots=True)
class SettledAttempt:
    """The outbox row after a result. `retry` means that it is pending again."""

    effect: Effect
    ended: Literal["done", "failed", "retry"]


def settle_attempt(
    town: Town, report: AttemptReport, kind: EffectKind, *, success: bool, passing: bool = False
) -> SettledAttempt | Skipped:
    """Settle the outbox row of a result (spec/tick.md 5.4), or return why the result is skipped."""
    effect = outbox.get(town, report.effect_id, kind)
    if effect is None:
        return MISSING
    if _late(effect, report.attempt, success=success):
        return LATE
    result = report.model_dump(mode="json", exclude={"effect_id"}, exclude_none=True)
    if success:
        outbox.finish(town, effect, EffectState.DONE, result)
        return SettledAttempt(effect, "done")
    if passing and effect.attempts < ALLOWANCE[kind].attempts:
        outbox.retry(town, effect, result)
        return SettledAttempt(effect, "retry")
    outbox.finish(town, effect, EffectState.FAILED, result)
    return SettledAttempt(effect, "failed")


def _late(effect: Effect, attempt: int, *, success: bool) -> bool:
    """Whether a result arrives too late to count."""
    # Results can arrive out of order, because a worker can be slow while another one already makes the next attempt. A
    # success is a fact about the world, so it counts even after a failure of another attempt was recorded; a failure counts
    # only for the newest attempt. Example: attempt 1 times out on our side, attempt 2 fails and is recorded, then "merged"
    # arrives from attempt 1: the pull request is merged, so the effect is done. Had "failed" arrived from attempt 1 while
    # attempt 2 was under way, it would have been late, because attempt 2 decides.
    if effect.state is EffectState.DONE:
        return True
    failed_before = _recorded_attempt(effect.result)
    if success:
        return not effect.unfinished and failed_before in (None, attempt)
    if not effect.unfinished or attempt < effect.attempts:
        return True
    return effect.state is EffectState.PENDING and failed_before is not None and attempt <= failed_before


def _recorded_attempt(result: Mapping[str, object] | None) -> int | None:
    attempt = None if result is None else result.get("attempt")
    return attempt if isinstance(attempt, int) else None
