"""Agents that fell silent, that stalled, or whose hook is useless (spec/rules.md section 1)."""

from collections.abc import Iterator

from shared.actions import (
    ClearAgentCheckpoint,
    ResetAgentDispatchAttempts,
    StopAgent,
    TransitionAgent,
    TransitionBead,
    UnhookAgent,
)
from shared.domain import limits
from shared.domain.states import AgentStatus, BeadStatus, BeadType, DispatchOutcome, Role
from shared.domain.tick import Tick
from shared.domain.times import span_text
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader
from shared.town.rows import Agent, Hooked


def heartbeat_never_seen(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A1: a working agent that has never sent a heartbeat becomes idle."""
    if tick.draining or tick.settling:
        return
    for agent in _workers(town):
        if agent.last_activity_at is None:
            yield TransitionAgent(
                agent_id=agent.id,
                from_=AgentStatus.WORKING,
                to=AgentStatus.IDLE,
                reason="no heartbeat received since dispatch",
                dispatch_lost=True,
            )


def heartbeat_lost(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A2: a working agent that missed too many heartbeats becomes idle; it keeps its hook."""
    if tick.draining or tick.settling:
        return
    for agent in _workers(town):
        if agent.last_activity_at is None:
            continue
        if tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER):
            yield TransitionAgent(
                agent_id=agent.id,
                from_=AgentStatus.WORKING,
                to=AgentStatus.IDLE,
                reason=f"heartbeat lost ({limits.HEARTBEAT_LOST_AFTER // limits.HEARTBEAT_CADENCE} missed cycles)",
                dispatch_lost=True,
            )
        else:
            yield Due.later_than(
                agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER, rows=(agent.id,), wait="heartbeat"
            )


def release_hookless_worker(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A3: a working agent without a hook becomes idle."""
    if tick.draining:
        return
    for agent in _workers(town):
        if agent.hook is None and not tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER):
            yield TransitionAgent(
                agent_id=agent.id,
                from_=AgentStatus.WORKING,
                to=AgentStatus.IDLE,
                reason="working agent has no hook",
            )


def retire_stalled(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A4: an agent that has been stalled for too long gives its bead back, even if it still sends heartbeats."""
    if tick.draining or tick.settling:
        return
    for agent in town.agents:
        if agent.status is not AgentStatus.STALLED or agent.stalled_at is None:
            continue
        if not tick.stale(agent.stalled_at, limits.STALLED_IDLE_AFTER):
            yield Due.later_than(agent.stalled_at, limits.STALLED_IDLE_AFTER, rows=(agent.id,), wait="stalled")
            continue
        reason = f"stalled for {span_text(limits.STALLED_IDLE_AFTER)}"
        yield TransitionAgent(agent_id=agent.id, from_=AgentStatus.STALLED, to=AgentStatus.IDLE, reason=reason)
        if agent.hook is not None:
            yield UnhookAgent(agent_id=agent.id, reason=reason)


def cool_down_attempts(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A5: after a time without activity, the dispatch attempts of an agent and of its hooked bead are reset."""
    for agent in town.agents:
        if agent.dispatch_attempts < limits.ATTEMPTS_COOL_DOWN_FROM or agent.last_activity_at is None:
            continue
        if tick.stale(agent.last_activity_at, limits.ATTEMPTS_COOL_DOWN):
            yield ResetAgentDispatchAttempts(agent_id=agent.id)
        else:
            yield Due.later_than(
                agent.last_activity_at, limits.ATTEMPTS_COOL_DOWN, rows=(agent.id,), wait="attempts_cool_down"
            )


def drop_dangling_hook(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A6: a hook on a bead that does not exist is dropped."""
    for agent in _resting(town):
        if agent.hook is not None and agent.hooked is None:
            yield UnhookAgent(agent_id=agent.id, reason="the hooked bead does not exist")
            yield ClearAgentCheckpoint(agent_id=agent.id)


def drop_finished_hook(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A7: an idle or dead agent drops its hook on a bead that is closed or failed."""
    for agent in _resting(town):
        if agent.hooked is not None and agent.hooked.status.terminal:
            yield UnhookAgent(agent_id=agent.id, reason=f"the hooked bead is {agent.hooked.status}")
            yield ClearAgentCheckpoint(agent_id=agent.id)


def recover_silent_hook(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A8: an idle or dead agent that fell silent gives its live bead back, unless B2, R2 or R6 decides about it."""
    for agent in _resting(town):
        bead = agent.hooked
        if bead is None:
            continue
        recovered = _recovered(agent, bead)
        if not recovered or _held_by_rejection(agent, bead):
            continue
        if not tick.stale(agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER):
            if agent.last_activity_at is not None:
                yield Due.later_than(
                    agent.last_activity_at, limits.HEARTBEAT_LOST_AFTER, rows=(agent.id, bead.id), wait="heartbeat"
                )
            continue
        yield from recovered


def keep_review_hook(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A9: an agent that is hooked to a bead in review stays hooked until the review ends. This rule has no action."""
    yield from ()


def release_finished_work(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """A10: a polecat that works on a closed or failed bead is stopped and unhooked."""
    for agent in town.agents:
        if (
            agent.role is Role.POLECAT
            and agent.status.busy
            and agent.hooked is not None
            and agent.hooked.status.terminal
        ):
            yield StopAgent(agent_id=agent.id, reason=f"the hooked bead is {agent.hooked.status}")
            yield TransitionAgent(
                agent_id=agent.id, from_=agent.status, to=AgentStatus.IDLE, reason="the hooked bead is over"
            )
            yield UnhookAgent(agent_id=agent.id, reason=f"the hooked bead is {agent.hooked.status}")


def _workers(town: TownReader) -> Iterator[Agent]:
    """A0: the working agents except the mayor, and except those on a closed or failed bead, about which R7 and A10 decide."""
    for agent in town.agents:
        if agent.status is not AgentStatus.WORKING or agent.role is Role.MAYOR:
            continue
        if agent.hooked is not None and agent.hooked.status.terminal:
            continue
        yield agent


def _resting(town: TownReader) -> Iterator[Agent]:
    return (agent for agent in town.agents if agent.status.resting)


def _recovered(agent: Agent, bead: Hooked) -> tuple[Decision, ...]:
    """The actions of A8 for a silent agent; none if another rule decides about it."""
    unhook = UnhookAgent(agent_id=agent.id, reason="silent since its bead was hooked")
    is_review = bead.type is BeadType.MERGE_REQUEST
    if agent.role is Role.REFINERY:
        return (unhook,) if is_review and bead.status is BeadStatus.OPEN else ()
    if bead.status is BeadStatus.IN_PROGRESS:
        reopen = TransitionBead(
            bead_id=bead.id,
            from_=BeadStatus.IN_PROGRESS,
            to=BeadStatus.OPEN,
            reason="agent is silent",
        )
        return (unhook, reopen)
    if bead.status is BeadStatus.OPEN and (agent.status is AgentStatus.DEAD or is_review):
        return (unhook,)
    return ()


def _held_by_rejection(agent: Agent, bead: Hooked) -> bool:
    """Whether B2 will retry this rejected dispatch after its backoff. It never does so for an MR or for a dead agent."""
    return (
        agent.last_dispatch_outcome is DispatchOutcome.REJECTED
        and agent.status is AgentStatus.IDLE
        and bead.type is not BeadType.MERGE_REQUEST
    )
