"""Actions that start and stop agents."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchAgent(Action):
    """Start an agent on a bead. An empty agent id means: whoever fits, made if need be."""

    type: ClassVar[str] = "dispatch_agent"

    agent_id: str
    bead_id: str
    rig_id: str | None

    def wants(self) -> tuple[Want, ...]:
        """The bead in progress, and the agent, if it is named, working."""
        bead: Want = (("bead", self.bead_id), "in_progress")
        return (bead, (("agent", self.agent_id), "working")) if self.agent_id else (bead,)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTriageBatch(Action):
    """Give open triage requests to a polecat, as one bead."""

    type: ClassVar[str] = "start_triage_batch"

    rig_id: str
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StopAgent(Action):
    """Ask the runtime to end the agent's process of the present generation."""

    type: ClassVar[str] = "stop_agent"

    agent_id: str
    reason: str
