"""Convoys: count, close, land or fail (spec/rules.md section 5).

C2 to C10 form a chain in which the first matching rule decides. `stage_of` finds that rule; each rule acts only on convoys
at its own stage.
"""

from collections.abc import Iterator
from typing import Literal

from shared.actions import (
    CloseConvoy,
    CreateLandingMr,
    EmitEvent,
    FailConvoy,
    SetConvoyReadyToLand,
    UpdateConvoyProgress,
)
from shared.domain import limits
from shared.domain.notes import ConvoyNotes
from shared.domain.states import BeadStatus
from shared.domain.tick import Tick
from shared.rules.base import Decision, Due
from shared.town.live import OpenConvoy
from shared.town.reading import TownReader

ConvoyStage = Literal["C2", "C2f", "C3", "C4", "C5", "C6", "C6h", "C7", "C8", "C9", "C10"]


def record_progress(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C1: the stored counts are brought up to date with the tracked issues."""
    for convoy in town.convoys:
        if (convoy.done, convoy.total) != (convoy.stored_done, convoy.stored_total):
            yield UpdateConvoyProgress(convoy_id=convoy.id, closed_beads=convoy.done)


def wait_for_work(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C2: a convoy waits while it tracks no issue, or any that is live or has a live MR. This rule has no action."""
    yield from ()


def fail_without_success(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C2f: a convoy fails if all of its tasks failed."""
    for convoy in _at(town, tick, "C2f"):
        yield FailConvoy(convoy_id=convoy.id, reason="no work succeeded")


def close(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C3: a convoy that does not land as a whole is closed when its tasks are done."""
    for convoy in _at(town, tick, "C3"):
        yield CloseConvoy(convoy_id=convoy.id)


def mark_ready_to_land(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C4: when the tasks are done, the convoy is marked ready; a later tick starts the landing."""
    for convoy in _at(town, tick, "C4"):
        yield SetConvoyReadyToLand(convoy_id=convoy.id)


def land(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C5: a convoy is closed when its landing MR was merged."""
    for convoy in _at(town, tick, "C5"):
        yield CloseConvoy(convoy_id=convoy.id)


def wait_for_landing(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C6: while a landing MR is live, no other one is created. This rule has no action."""
    yield from ()


def hold_landing(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C6h: a convoy whose landing was cancelled, or ended by what only a person can mend, is held. This rule has no action."""
    yield from ()


def hold_for_approval(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C7: a failed landing MR that was waiting for approval is not replaced; one event is emitted per suppressed attempt."""
    for convoy in _at(town, tick, "C7"):
        attempt = ConvoyNotes.landing_mr_attempts.of(convoy.metadata) + 1
        if ConvoyNotes.respawn_suppressed_attempt.of(convoy.metadata) != attempt:
            yield EmitEvent(
                event_name="reconciler.respawn_suppressed",
                data={"convoyId": convoy.id, "suppressedAttempt": attempt},
            )


def fail_exhausted(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C8: after the last landing attempt the convoy fails."""
    for convoy in _at(town, tick, "C8"):
        reason = f"Landing MR creation failed after {limits.LANDING_ATTEMPTS} attempts"
        yield FailConvoy(convoy_id=convoy.id, reason=reason)


def cool_down_landing(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C9: the next landing attempt waits until the cooldown is over."""
    for convoy in _at(town, tick, "C9"):
        cooldown = cooldown_of(convoy)
        if cooldown is not None:
            yield cooldown


def create_landing(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """C10: a landing MR is created for the feature branch, in the rig of the first task that has a rig."""
    for convoy in _at(town, tick, "C10"):
        if convoy.first_rig is None or convoy.feature_branch is None:
            continue
        rig = town.rigs.get(convoy.first_rig)
        yield CreateLandingMr(
            convoy_id=convoy.id,
            rig_id=convoy.first_rig,
            feature_branch=convoy.feature_branch,
            target_branch="main" if rig is None else rig.default_branch,
        )


def _at(town: TownReader, tick: Tick, stage: ConvoyStage) -> Iterator[OpenConvoy]:
    return (convoy for convoy in town.convoys if stage_of(town, tick, convoy) == stage)


def stage_of(town: TownReader, tick: Tick, convoy: OpenConvoy) -> ConvoyStage:
    """The code of the rule in the chain that decides about a convoy."""
    if convoy.total == 0 or convoy.done < convoy.total or convoy.id in town.convoys_in_review:
        return "C2"
    if convoy.failed == convoy.total:
        return "C2f"
    if not convoy.lands:
        return "C3"
    if not ConvoyNotes.ready_to_land.of(convoy.metadata):
        return "C4"
    return _landing_stage(town, tick, convoy)


def _landing_stage(town: TownReader, tick: Tick, convoy: OpenConvoy) -> ConvoyStage:
    landings = town.landings.get(convoy.id, ())
    statuses = [landing.status for landing in landings]
    if BeadStatus.CLOSED in statuses:
        return "C5"
    if BeadStatus.OPEN in statuses or BeadStatus.IN_PROGRESS in statuses:
        return "C6"
    if ConvoyNotes.held.of(convoy.metadata):
        return "C6h"
    if any(landing.awaiting_approval for landing in landings):
        return "C7"
    attempts = ConvoyNotes.landing_mr_attempts.of(convoy.metadata)
    if attempts >= limits.LANDING_ATTEMPTS:
        return "C8"
    cooldown = cooldown_of(convoy)
    return "C9" if attempts > 0 and cooldown is not None and tick.now < cooldown.at else "C10"


def cooldown_of(convoy: OpenConvoy) -> Due | None:
    """The cooldown after the last landing attempt, even if it is over; None if there was no attempt."""
    last = ConvoyNotes.last_landing_mr_attempt_at.of(convoy.metadata)
    if last is None:
        return None
    wait = limits.landing_cooldown(ConvoyNotes.landing_mr_attempts.of(convoy.metadata))
    return Due.at_least(last, wait, rows=(convoy.id,), wait="landing_cooldown")
