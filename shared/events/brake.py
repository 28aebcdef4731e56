"""The brake: events that pause a town and start it again (spec/tick.md section 14), and the record of its time in the archive."""

from typing import ClassVar, Final

from shared.actions import StopAgent
from shared.actions.base import Action
from shared.domain import limits
from shared.domain.brake import Brake
from shared.domain.outcomes import Applied, Skipped
from shared.domain.states import AgentStatus, BeadStatus
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, Time
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.reading import TownReader
from shared.town.rows import Agent
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks

_STOPPED: Final = "the town was paused"
_GO_ON: Final = (
    "An operator paused the town while you worked on this. What was pushed to the branch is kept: go on from there."
)


class TownPaused(Event):
    """The town must do nothing until it is started: no rule acts, and nothing outside is called but to stop agents."""

    event_type: ClassVar[str] = "town_paused"
    senders = frozenset({"operator"})

    by: FreeText | None = None
    stop_agents: bool | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Pause it from this tick on, and stop the agents if that is wanted. A second pause can still stop them."""
        held = town.keys.brake
        returns = self._stop_agents(fact, town) if self.stop_agents else ()
        if town.keys.paused and not returns:
            return EventResult(Skipped("already paused"))
        town.keys.paused = True
        town.keys.brake = Brake(
            by=speakers.by(fact, self.by) if held is None else held.by,
            at=town.tick.now if held is None else held.at,
            stopped_agents=bool(self.stop_agents) or (held is not None and held.stopped_agents),
        )
        return EventResult(Applied(), returns)

    def _stop_agents(self, fact: Fact, town: Town) -> tuple[Action, ...]:
        """Take the beads from all running agents, and return what stops their processes."""
        reader = TownReader(town.sql, town.tick.config, town.unreadable)
        running = [agent for agent in reader.agents if agent.status.has_process]
        for agent in running:
            self._give_back(fact, town, agent)
            agents.move(town, agent.id, AgentStatus.IDLE)
        return tuple(StopAgent(agent_id=agent.id, reason=_STOPPED) for agent in running)

    def _give_back(self, fact: Fact, town: Town, agent: Agent) -> None:
        """Open its bead again. The attempt does not count, because the bead did not cause the stop."""
        bead = lookup.bead(town, agent.hook)
        if agent.hook is not None:
            hooks.unhook(town, agent.id)
        if bead is None or bead.status not in (BeadStatus.OPEN, BeadStatus.IN_PROGRESS):
            return
        attempts = max(bead.dispatch_attempts - 1, 0)
        beads.set_dispatch_times(town, bead.id, attempts=attempts, attempted_at=None, failed_at=None)
        beads.move(town, bead.id, BeadStatus.OPEN, actor=speakers.by(fact, self.by), reason=_STOPPED)
        beads.clear_assignee(town, bead.id)
        beads.leave_note(town, bead.id, _GO_ON)


class TownStarted(Event):
    """A paused town, such as an imported one, may act from now on."""

    event_type: ClassVar[str] = "town_started"
    senders = frozenset({"operator"})

    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """End the pause and begin settling."""
        if not town.keys.paused:
            return EventResult(Skipped("not paused"))
        town.keys.paused = False
        town.keys.brake = None
        town.keys.settling_until = town.tick.now + limits.SETTLE_FOR
        town.config_changed = True
        return EventResult(Applied())


class TownBroughtBack(Event):
    """An operator archived the town, and an operator brought it back: who, when and why. It is paused, as it was."""

    event_type: ClassVar[str] = "town_brought_back"
    senders = frozenset()

    by: FreeText
    archived_by: FreeText
    archived_at: Time
    reason: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Change nothing; the stored event is the record."""
        return EventResult(Applied())
