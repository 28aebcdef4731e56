"""Actions on the town's container."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import Action, outcome_of_request
from shared.domain.orders import ContainerStopOrder, Coordinator, TokenOrder
from shared.domain.outcomes import ActionOutcome
from shared.town import lookup
from shared.town.town import Town

CONTAINER: Final = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshContainerToken(Action):
    """Ask for a new token for the container. The token itself is never stored."""

    type: ClassVar[str] = "refresh_container_token"

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        order = TokenOrder(town_id=town.tick.town_id, coordinators=_coordinators(town) or None)
        return outcome_of_request(town, order, CONTAINER, town.tick.number)


def _coordinators(town: Town) -> tuple[Coordinator, ...]:
    """The mayor, whose sessions no dispatch numbers, and the agents that answer triage requests now."""
    mayor, batch = lookup.mayor(town), lookup.live_triage_batch(town)
    on_triage = [] if batch is None else lookup.agents_hooked_to(town, batch)
    return (
        *(() if mayor is None else (Coordinator(agent_id=mayor.id),)),
        *(Coordinator(agent_id=agent.id, generation=agent.generation) for agent in on_triage),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Action):
    """Ask the runtime to stop an idle container."""

    type: ClassVar[str] = "stop_container"

    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        order = ContainerStopOrder(town_id=town.tick.town_id, reason=self.reason)
        return outcome_of_request(town, order, CONTAINER, town.tick.number)
