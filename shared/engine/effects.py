"""The outbox inside the tick: which effects expire (phase 6), which ones this worker will start (phase 12), and when the town
must be ticked again because of them.
"""

from datetime import datetime

from shared.domain import limits
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.errors import RowUnreadable
from shared.domain.limits import just_after
from shared.domain.report import ClaimedEffect
from shared.domain.states import AgentStatus, EffectKind, EffectState
from shared.engine import mayors_mail
from shared.events import dispatch_results
from shared.town import database, lookup, outbox
from shared.town.outbox import Effect
from shared.town.town import Town


def expire(town: Town) -> int:
    """Expire effects that are past their deadline, have no attempts left or are superseded; returns how many."""
    expired = 0
    for effect in outbox.unfinished(town):
        if _in_flight(town, effect):
            continue
        if town.tick.now > effect.deadline or _used_up(effect) or _superseded(town, effect):
            outbox.expire(town, effect)
            if effect.kind is EffectKind.DISPATCH_AGENT:
                _tell_agent(town, effect)
            expired += 1
    return expired


def claim(town: Town, *, only_stops: bool = False) -> tuple[tuple[ClaimedEffect, ...], datetime | None]:
    """Claim the effects that may start now, oldest first. Also returns the next time at which an effect may start or expire.

    `only_stops` leaves out all that does not stop an agent or a container.
    """
    # Claiming is part of the commit: if another worker commits first, this worker's claims never happened and it starts
    # nothing. A worker that dies after its commit leaves a claim behind; after EFFECT_CLAIM the effect may be claimed again
    # or expires, so nothing is lost. Example: committed at 12:00, worker dies, claim ends at 12:05; the tick at 12:05:00.001
    # claims a stop_agent again (attempt 2), and expires a dispatch_agent, which has one attempt: the agent's heartbeats decide.
    claimed: list[ClaimedEffect] = []
    due: datetime | None = None
    waiting = [each for each in outbox.unfinished(town) if not only_stops or each.kind in _STOPS]
    told = [each for each in waiting if each.kind is EffectKind.NOTIFY_MAYOR and _claimable(town, each)]
    later = mayors_mail.fit_into_a_tick(town, told)
    for effect in outbox.unfinished(town) if later.changed else waiting:
        if effect.id in later.waits:
            look = town.tick.now
        elif _claimable(town, effect) and _superseded(town, effect):
            look = town.tick.now  # its agent or review has moved on since phase 6, so the next tick expires it
        elif _claimable(town, effect) and len(claimed) < limits.EFFECTS_PER_TICK:
            outbox.claim(town, effect)
            claimed.append(
                ClaimedEffect(
                    effect_id=effect.id,
                    seq=effect.seq,
                    kind=effect.kind,
                    subject=effect.subject,
                    generation=effect.generation,
                    attempt=effect.attempts + 1,
                    payload=effect.payload,
                    deadline=effect.deadline,
                )
            )
            look = just_after(town.tick.now + limits.EFFECT_CLAIM)
        else:
            look = _next_look(town, effect)
        due = look if due is None else min(due, look)
    return tuple(claimed), due


def _tell_agent(town: Town, effect: Effect) -> None:
    """Update the agent of an expired dispatch; an unreadable agent is left as it is."""
    try:
        with database.savepoint(town.sql):
            dispatch_results.dispatch_expired(town, effect)
    except RowUnreadable as error:
        town.note_unreadable(error)


def _in_flight(town: Town, effect: Effect) -> bool:
    """Whether the effect is claimed and the claim has not ended: a worker may be performing it."""
    return (
        effect.state is EffectState.CLAIMED
        and effect.claimed_until is not None
        and effect.claimed_until >= town.tick.now
    )


def _used_up(effect: Effect) -> bool:
    return effect.attempts >= ALLOWANCE[effect.kind].attempts


def _claimable(town: Town, effect: Effect) -> bool:
    if _in_flight(town, effect) or _used_up(effect) or effect.deadline < town.tick.now:
        return False
    return effect.not_before is None or effect.not_before <= town.tick.now


def _next_look(town: Town, effect: Effect) -> datetime:
    if effect.state is EffectState.CLAIMED and effect.claimed_until is not None:
        return just_after(effect.claimed_until)
    start = max(effect.not_before or town.tick.now, town.tick.now)
    return min(start, just_after(effect.deadline))


def _superseded(town: Town, effect: Effect) -> bool:
    """Whether its agent or review has moved on. If their row cannot be read, the effect stays until its deadline."""
    try:
        return _moved_on(town, effect)
    except RowUnreadable as error:
        town.note_unreadable(error)
        return False


def _moved_on(town: Town, effect: Effect) -> bool:
    if effect.kind is EffectKind.DISPATCH_AGENT:
        agent = lookup.agent(town, effect.subject)
        return agent is None or agent.status is not AgentStatus.WORKING or agent.generation != effect.generation
    if effect.kind in _OF_REVIEWS:
        review = lookup.bead(town, effect.subject)
        if review is None or not review.live:
            return True
        # A retry must not merge, or change the branch, while somebody works on it. The rules ask again when it is free.
        changes = effect.kind in (EffectKind.MERGE_PR, EffectKind.UPDATE_BRANCH)
        return changes and bool(lookup.unresolved_blockers(town, review.id))
    return False


_STOPS = (EffectKind.STOP_AGENT, EffectKind.STOP_CONTAINER)
_OF_REVIEWS = (
    EffectKind.POLL_PR,
    EffectKind.MERGE_PR,
    EffectKind.VERIFY_MERGE,
    EffectKind.UPDATE_BRANCH,
    EffectKind.REQUEST_REVIEW,
)
"""The effects that are about an MR and end with it. Leaving a merge queue is not among them: it is for an MR that has ended."""
