"""How the process of an agent ended, as far as the town knows."""

from typing import Final

from shared.domain.states import AgentStatus, DispatchOutcome
from shared.town.rows import Agent

_ENDED: Final = ("exited", "not_found", "stopped", "failed", "error")
_NOT_AT_WORK: Final = (DispatchOutcome.REJECTED, DispatchOutcome.LOST)
ENDED_WELL: Final = frozenset(("completed", "stopped"))
"""The reasons with which a process ends that has done its work, or that the town has stopped. All others are bad ends."""


def process_end(agent: Agent) -> str | None:
    """How an agent's process ended, as a clause; None if it may still run."""
    if agent.status.busy:
        return None
    if agent.observed_status in _ENDED:
        return f"the process of {agent.id} has ended ({agent.observed_status})"
    if agent.status is AgentStatus.DEAD or agent.last_dispatch_outcome is DispatchOutcome.LOST:
        return f"the process of {agent.id} is lost"
    if agent.last_dispatch_outcome in _NOT_AT_WORK:
        return f"the process of {agent.id} was not started"
    return None
