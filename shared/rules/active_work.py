"""Whether a town has work (spec/data-model.md 3.15): then its container runs on, and its token is refreshed."""

from shared.domain import limits
from shared.domain.states import AgentStatus, BeadStatus
from shared.domain.tick import Tick
from shared.rules import spending
from shared.town.reading import TownReader
from shared.town.rows import Agent


def has_active_work(town: TownReader, tick: Tick) -> bool:
    """Whether there is work in progress, or work that could start and may cost something."""
    return (
        any(_occupied(town, tick, agent) for agent in town.agents)
        or any(
            not review.awaiting_approval
            if review.status is not BeadStatus.OPEN
            else spending.may_start(town, tick, review.id)
            for review in town.reviews
        )
        or any(spending.may_start(town, tick, request.id) for request in town.triage_requests)
        or any(town.dispatchable(issue) and spending.may_start(town, tick, issue.id) for issue in town.issues)
    )


def _occupied(town: TownReader, tick: Tick, agent: Agent) -> bool:
    if agent.status is AgentStatus.WORKING:
        return True
    if agent.status is AgentStatus.STALLED:
        return tick.within(agent.last_activity_at, limits.STALLED_ACTIVE_FOR)
    return agent.status is AgentStatus.IDLE and agent.hook is not None and spending.may_start(town, tick, agent.hook)
