"""Actions on an agent: its status, hook, counters, checkpoint and model, and its deletion."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want, outcome_of, outcome_of_request
from shared.domain.orders import ModelOrder
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, ActionOutcome, Applied, Failed
from shared.domain.states import AgentStatus
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionAgent(Action):
    """Change an agent's status, if it still has the one that the rule saw."""

    type: ClassVar[str] = "transition_agent"

    agent_id: str
    from_: AgentStatus | None = None
    to: AgentStatus
    reason: str
    dispatch_lost: bool = False

    def apply(self, town: Town) -> ActionOutcome:
        """Change it; with `dispatch_lost`, also mark the newest dispatch as lost."""
        moved = agents.move(town, self.agent_id, self.to, from_=self.from_)
        if moved == "moved" and self.dispatch_lost:
            agents.mark_lost(town, self.agent_id)
        return outcome_of(moved)

    def wants(self) -> tuple[Want, ...]:
        """The agent in its new status."""
        return ((("agent", self.agent_id), self.to.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetAgentDispatchAttempts(Action):
    """Reset the attempts of an agent and of the live bead on its hook. A failed bead is not reopened."""

    type: ClassVar[str] = "reset_agent_dispatch_attempts"

    agent_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Set both counters to 0."""
        agent = lookup.agent(town, self.agent_id)
        if agent is None:
            return MISSING
        agents.reset_attempts(town, agent.id)
        if agent.hooked is not None and not agent.hooked.status.terminal:
            beads.reset_attempts(town, agent.hooked.id)
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAgent(Action):
    """Hook an agent to a bead."""

    type: ClassVar[str] = "hook_agent"

    agent_id: str
    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Hook it, or fail with the reason for the refusal."""
        before = lookup.agent(town, self.agent_id)
        refused = hooks.hook(town, self.agent_id, self.bead_id)
        if refused is not None:
            return Failed(refused)
        return ALREADY if before is not None and before.hook == self.bead_id else Applied()

    def wants(self) -> tuple[Want, ...]:
        """The hook on that bead."""
        return ((("hook", self.agent_id), self.bead_id),)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnhookAgent(Action):
    """Remove an agent's hook. The bead keeps its status and assignee."""

    type: ClassVar[str] = "unhook_agent"

    agent_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Unhook it."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        return Applied() if hooks.unhook(town, self.agent_id) else ALREADY

    def wants(self) -> tuple[Want, ...]:
        """No hook."""
        return ((("hook", self.agent_id), ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearAgentCheckpoint(Action):
    """Delete an agent's checkpoint."""

    type: ClassVar[str] = "clear_agent_checkpoint"

    agent_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Delete it."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        return Applied() if agents.clear_checkpoint(town, self.agent_id) else ALREADY


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAgent(Action):
    """Delete an agent that is not needed."""

    type: ClassVar[str] = "delete_agent"

    agent_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Delete it, if it is still idle or dead and has no hook."""
        agent = lookup.agent(town, self.agent_id)
        if agent is None:
            return MISSING
        if not agent.status.resting or agent.hook is not None:
            return MOVED_ON
        agents.delete(town, agent.id)
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAgentModel(Action):
    """Ask the runtime to change the model of a running agent. An empty model means the runtime's default."""

    type: ClassVar[str] = "update_agent_model"

    agent_id: str
    model: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request the change. The agent's row does not store the model."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        order = ModelOrder(
            town_id=town.tick.town_id,
            agent_id=self.agent_id,
            model=self.model,
            organization_id=town.tick.config.organization_id,
        )
        return outcome_of_request(town, order, self.agent_id, town.tick.number)
