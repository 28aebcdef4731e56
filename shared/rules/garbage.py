"""Agents that have not been used for a long time (spec/rules.md section 7)."""

from collections.abc import Iterator

from shared.actions import DeleteAgent
from shared.domain import limits
from shared.domain.states import AgentStatus, Role
from shared.domain.tick import Tick
from shared.domain.times import span_text
from shared.rules.base import Decision, Due
from shared.town.reading import TownReader


def forget_idle_agent(town: TownReader, tick: Tick) -> Iterator[Decision]:
    """GC: an idle or dead polecat or refinery without a hook is deleted after a time without activity."""
    for agent in town.agents:
        if not agent.status.resting or agent.role is Role.MAYOR:
            continue
        if agent.hook is not None:
            continue
        if agent.role is Role.REFINERY and agent.status is AgentStatus.IDLE and agent.rig_id in town.rigs_in_review:
            continue
        last = agent.last_activity_at or agent.created_at
        if tick.stale(last, limits.AGENT_FORGET_AFTER):
            yield DeleteAgent(agent_id=agent.id, reason=f"idle for {span_text(limits.AGENT_FORGET_AFTER)}")
        else:
            yield Due.later_than(last, limits.AGENT_FORGET_AFTER, rows=(agent.id,), wait="forgetting")
