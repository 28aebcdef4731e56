"""Actions on an agent: its status, hook, counters, checkpoint, model, and its end."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want, outcome_of, outcome_of_request
from shared.domain.outcomes import ALREADY, MISSING, MOVED_ON, ActionOutcome, Applied, Failed
from shared.domain.states import AgentStatus, EffectKind
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionAgent(Action):
    """Change what an agent does, if it still does what the rule saw."""

    type: ClassVar[str] = "transition_agent"

    agent_id: str
    from_: AgentStatus | None = None
    to: AgentStatus
    reason: str
    dispatch_lost: bool = False

    def apply(self, town: Town) -> ActionOutcome:
        """Change it; where the rule says so, its newest dispatch came to nothing."""
        moved = agents.move(town, self.agent_id, self.to, from_=self.from_)
        if moved == "moved" and self.dispatch_lost:
            agents.mark_lost(town, self.agent_id)
        return outcome_of(moved)

    def wants(self) -> tuple[Want, ...]:
        """The agent in its new status."""
        return ((("agent", self.agent_id), self.to.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetAgentDispatchAttempts(Action):
    """Forgive an agent its attempts, and those of the live bead on its hook. It never reopens a failed bead."""

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
    """Point an agent at a bead."""

    type: ClassVar[str] = "hook_agent"

    agent_id: str
    bead_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Hook it, or say why that was refused."""
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
    """Take the hook away from an agent. The bead keeps its status and assignee."""

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
    """Forget where an agent stood."""

    type: ClassVar[str] = "clear_agent_checkpoint"

    agent_id: str

    def apply(self, town: Town) -> ActionOutcome:
        """Clear it."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        return Applied() if agents.clear_checkpoint(town, self.agent_id) else ALREADY


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAgent(Action):
    """Forget an agent that nobody needs."""

    type: ClassVar[str] = "delete_agent"

    agent_id: str
    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Delete it if it still rests without a hook."""
        agent = lookup.agent(town, self.agent_id)
        if agent is None:
            return MISSING
        if agent.status not in (AgentStatus.IDLE, AgentStatus.DEAD) or agent.hook is not None:
            return MOVED_ON
        agents.delete(town, agent.id)
        return Applied()


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAgentModel(Action):
    """Ask the runtime to change the model of a running agent; an empty model means the runtime's own."""

    type: ClassVar[str] = "update_agent_model"

    agent_id: str
    model: str

    def apply(self, town: Town) -> ActionOutcome:
        """Ask for it; nothing is stored."""
        if not agents.exists(town, self.agent_id):
            return MISSING
        payload = {
            "town_id": town.tick.town_id,
            "agent_id": self.agent_id,
            "model": self.model,
            "organization_id": town.tick.config.organization_id,
        }
        return outcome_of_request(town, EffectKind.UPDATE_MODEL, self.agent_id, town.tick.number, payload)
