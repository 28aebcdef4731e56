"""Actions on an agent: its status, hook, counters, checkpoint, model, and its end."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want
from shared.domain.states import AgentStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionAgent(Action):
    """Change what an agent does, if it still does what the rule saw."""

    type: ClassVar[str] = "transition_agent"

    agent_id: str
    from_: AgentStatus | None = None
    to: AgentStatus
    reason: str
    dispatch_lost: bool = False

    def wants(self) -> tuple[Want, ...]:
        """The agent in its new status."""
        return ((("agent", self.agent_id), self.to.value),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResetAgentDispatchAttempts(Action):
    """Forgive an agent its attempts, and those of the live bead on its hook."""

    type: ClassVar[str] = "reset_agent_dispatch_attempts"

    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookAgent(Action):
    """Point an agent at a bead."""

    type: ClassVar[str] = "hook_agent"

    agent_id: str
    bead_id: str

    def wants(self) -> tuple[Want, ...]:
        """The hook on that bead."""
        return ((("hook", self.agent_id), self.bead_id),)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnhookAgent(Action):
    """Take the hook away from an agent."""

    type: ClassVar[str] = "unhook_agent"

    agent_id: str
    reason: str

    def wants(self) -> tuple[Want, ...]:
        """No hook."""
        return ((("hook", self.agent_id), ""),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearAgentCheckpoint(Action):
    """Forget where an agent stood."""

    type: ClassVar[str] = "clear_agent_checkpoint"

    agent_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteAgent(Action):
    """Forget an agent that nobody needs."""

    type: ClassVar[str] = "delete_agent"

    agent_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateAgentModel(Action):
    """Ask the runtime to change the model of a running agent."""

    type: ClassVar[str] = "update_agent_model"

    agent_id: str
    model: str
