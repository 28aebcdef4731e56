"""Leases: the right of one generation of an agent to work, and how it is revoked (spec/data-model.md 3.16).

A generation that loses its bead, its successor or its agent may still run where nobody reaches it. So it is stopped, unless it is
known to have ended; and if it reports later all the same, its stop is requested again. A stop survives the deletion of its agent,
because its order contains everything that it needs.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from shared.domain import limits
from shared.domain.orders import StopOrder
from shared.domain.states import DispatchOutcome, EffectKind, EffectState, Role
from shared.domain.times import from_text
from shared.town import outbox
from shared.town.lookup import NewestGeneration
from shared.town.rows import Agent
from shared.town.town import Town

GIVEN_BACK: Final = "its bead was taken from it"
SUCCEEDED: Final = "a newer generation of the agent starts"
DELETED: Final = "the agent was deleted"
STILL_REPORTS: Final = "it reports although its lease is over"
_REVOKED: Final = (GIVEN_BACK, SUCCEEDED, DELETED)


@dataclass(frozen=True, slots=True)
class _Stop:
    """The newest stop of a generation."""

    id: str
    state: EffectState
    created_at: datetime

    @property
    def unfinished(self) -> bool:
        return self.state in (EffectState.PENDING, EffectState.CLAIMED)


def revoke(town: Town, agent_id: str, *, reason: str) -> None:
    """Stop the agent's newest generation, unless it is known to have ended or is being stopped."""
    generation, ended, outcome = town.sql.execute(
        "SELECT generation, ended_generation, last_dispatch_outcome FROM agent_metadata WHERE bead_id = :id",
        {"id": agent_id},
    ).fetchone()
    if generation in (0, ended) or outcome == DispatchOutcome.REJECTED:
        return
    newest = _newest_stop(town, agent_id, generation)
    if newest is None or not newest.unfinished:
        _request(town, agent_id, generation, reason=reason, again=newest is not None)


def note_end(town: Town, agent_id: str, generation: int | None) -> bool:
    """Note that the agent's newest generation has ended, if it is this one; False if that was known. None means the newest."""
    noted = town.sql.execute(
        "UPDATE agent_metadata SET ended_generation = generation WHERE bead_id = :id AND generation > 0 "
        "AND generation = COALESCE(:generation, generation) AND ended_generation IS NOT generation",
        {"id": agent_id, "generation": generation},
    )
    return noted.rowcount > 0


def stop_by_action(town: Town, agent: Agent, *, reason: str) -> bool:
    """Stop the agent's generation for an action; False if that was done before.

    If the unhook of this tick has revoked it already, only the reason is changed: the action knows it better.
    """
    newest = _newest_stop(town, agent.id, agent.generation)
    if newest is None:
        _request(town, agent.id, agent.generation, reason=reason, again=False)
        return True
    if newest.unfinished:
        return newest.created_at == town.tick.now and _better_reason(town, newest, reason)
    if newest.state is EffectState.DONE and _known_to_have_ended(town, agent):
        return False
    _request(town, agent.id, agent.generation, reason=reason, again=True)
    return True


def heard_from(town: Town, agent_id: str | None, agent: Agent | None, generation: int | None) -> None:
    """Stop a generation that reports although its lease is over: at most once in STOP_REARM_AFTER.

    Its lease is over if its agent is gone or has another generation, if a stop was requested since it was dispatched, or if its
    hook ended more than HOOK_END_GRACE ago. The mayor has no hook and no lease.
    """
    if agent_id is None or (agent is not None and agent.role is Role.MAYOR):
        return
    reporting = generation or (_newest_known(town, agent_id) if agent is None else agent.generation)
    if not reporting:
        return
    if agent is not None and reporting == agent.generation:
        newest = _newest_stop(town, agent_id, reporting)
        if not _is_over(town, agent.dispatched_at, agent.hook_ended_at, newest):
            return
    stop_reporting(town, agent_id, reporting)


def stop_reporting(town: Town, agent_id: str, generation: int) -> None:
    """Stop a generation that reports although its lease is over: at most once in STOP_REARM_AFTER."""
    newest = _newest_stop(town, agent_id, generation)
    # A town may have forgotten an earlier stop, with its outbox row or by a restore in place. So this is an effect of its own,
    # even if no stop is known: the result of the earlier one may still come, or was seen already.
    if newest is None or (not newest.unfinished and town.tick.stale(newest.created_at, limits.STOP_REARM_AFTER)):
        _request(town, agent_id, generation, reason=STILL_REPORTS, again=True)


def is_over(town: Town, agent_id: str, newest: NewestGeneration) -> bool:
    """Whether the lease of the agent's newest generation is over. The mayor has none."""
    if newest.role == Role.MAYOR:
        return False
    stop = _newest_stop(town, agent_id, newest.generation)
    return _is_over(town, newest.dispatched_at, newest.hook_ended_at, stop)


def _is_over(town: Town, dispatched_at: datetime | None, hook_ended_at: datetime | None, newest: _Stop | None) -> bool:
    if newest is not None and (dispatched_at is None or newest.created_at >= dispatched_at):
        return True
    return hook_ended_at is not None and town.tick.stale(hook_ended_at, limits.HOOK_END_GRACE)


def _known_to_have_ended(town: Town, agent: Agent) -> bool:
    row = town.sql.execute(
        "SELECT ended_generation FROM agent_metadata WHERE bead_id = :id", {"id": agent.id}
    ).fetchone()
    return row is not None and row[0] == agent.generation


def _newest_stop(town: Town, agent_id: str, generation: int) -> _Stop | None:
    if (agent_id, generation) not in _stopped(town):
        return None
    row = town.sql.execute(
        "SELECT effect_id, state, created_at FROM outbox WHERE kind = :kind AND subject = :agent "
        "AND generation = :generation ORDER BY seq DESC LIMIT 1",
        {"kind": EffectKind.STOP_AGENT.value, "agent": agent_id, "generation": generation},
    ).fetchone()
    return None if row is None else _Stop(row[0], EffectState(row[1]), from_text(row[2]))


def _stopped(town: Town) -> set[tuple[str, int]]:
    """The generations that may have a stop. Every report asks, and hardly any generation has one: most are answered from here."""
    if town.stopped is None:
        query = "SELECT DISTINCT subject, generation FROM outbox WHERE kind = :kind AND generation IS NOT NULL"
        town.stopped = set(town.sql.execute(query, {"kind": EffectKind.STOP_AGENT.value}))
    return town.stopped


def _newest_known(town: Town, agent_id: str) -> int | None:
    """The newest generation of a deleted agent that the outbox still knows."""
    row = town.sql.execute(
        "SELECT MAX(generation) FROM outbox WHERE kind IN ('dispatch_agent', 'stop_agent') AND subject = :agent",
        {"agent": agent_id},
    ).fetchone()
    newest: int | None = row[0]
    return newest


def _request(town: Town, agent_id: str, generation: int, *, reason: str, again: bool) -> None:
    order = StopOrder(
        town_id=town.tick.town_id,
        agent_id=agent_id,
        generation=generation,
        reason=reason,
        rearm=town.tick.number if again else None,
    )
    outbox.request(town, order, agent_id, generation)
    _stopped(town).add((agent_id, generation))


def _better_reason(town: Town, newest: _Stop, reason: str) -> bool:
    """Give the stop that this tick's unhook requested the reason of the action. False if an action requested it."""
    effect = outbox.get(town, newest.id, EffectKind.STOP_AGENT)
    order = None if effect is None else effect.order(StopOrder)
    if order is None or order.reason not in _REVOKED:
        return False
    outbox.say(town, newest.id, replace(order, reason=reason))
    return True
