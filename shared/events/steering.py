"""Events with which an operator or the mayor steers an agent (spec/events.md section 4.1)."""

from typing import Literal

from shared.actions import SendNudge, StopAgent
from shared.domain.outcomes import MISSING, Applied, Rejected
from shared.domain.quoting import block
from shared.domain.states import AgentStatus, BeadStatus, Role
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, IdText, NonEmptyText
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks


class AgentNudged(Event):
    """An operator or the mayor tells a running agent something."""

    event_type = "agent_nudged"
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    target: IdText
    text: NonEmptyText
    mode: Literal["wait-idle", "immediate", "queue"] = "immediate"
    by: FreeText | None = None

    @property
    def creates(self) -> int:
        """One message."""
        return 1

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Send it as a nudge, quoted."""
        agent = lookup.agent(town, self.target)
        if agent is None:
            return EventResult(MISSING)
        if agent.role is Role.MAYOR:
            return EventResult(Rejected("the mayor gets mail"))
        if not agent.status.busy:
            return EventResult(Rejected("the agent is not running"))
        message = f"{speakers.by(fact, self.by)} says:\n{block(self.text)}"
        return EventResult(Applied(), (SendNudge(agent_id=agent.id, message=message, source="agent", mode=self.mode),))


class AgentReset(Event):
    """An operator or the mayor asked to reset an agent and the bead that it is hooked to."""

    event_type = "agent_reset"
    needs = ("agent_id",)
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    target: IdText | None = None
    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Reset attempts and hook. The next tick can dispatch the bead again, because its backoff is reset too."""
        agent = lookup.agent(town, self.target or fact.agent_id)
        if agent is None:
            return EventResult(MISSING)
        if agent.role is Role.MAYOR and fact.sender is not None and fact.sender.agent is not None:
            return EventResult(Rejected("the mayor resets other agents"))
        returns: tuple[StopAgent, ...] = ()
        agents.reset_attempts(town, agent.id)
        if agent.hook is not None:
            if agent.status.busy:
                returns = (StopAgent(agent_id=agent.id, reason="agent reset"),)
            hooks.unhook(town, agent.id)
            self._start_anew(town, agent.hook, actor=speakers.by(fact, self.by))
        agents.move(town, agent.id, AgentStatus.IDLE)
        agents.set_outcome(town, agent.id, None)
        return EventResult(Applied(), returns)

    def _start_anew(self, town: Town, bead_id: str, *, actor: str) -> None:
        bead = lookup.bead(town, bead_id)
        if bead is None:
            return
        beads.set_dispatch_times(town, bead.id, attempts=0, attempted_at=None, failed_at=None)
        if bead.status in (BeadStatus.OPEN, BeadStatus.IN_PROGRESS):
            beads.move(town, bead.id, BeadStatus.OPEN, actor=actor, reason="agent reset")
            beads.clear_assignee(town, bead.id)
