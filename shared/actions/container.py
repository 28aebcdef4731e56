"""Actions on the town's container."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import Action, outcome_of_request
from shared.domain.orders import ContainerStopOrder, TokenOrder
from shared.domain.outcomes import ActionOutcome
from shared.town.town import Town

CONTAINER: Final = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshContainerToken(Action):
    """Ask for a new token for the container. The token itself is never stored."""

    type: ClassVar[str] = "refresh_container_token"

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        return outcome_of_request(town, TokenOrder(town_id=town.tick.town_id), CONTAINER, town.tick.number)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Action):
    """Ask the runtime to stop an idle container."""

    type: ClassVar[str] = "stop_container"

    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        order = ContainerStopOrder(town_id=town.tick.town_id, reason=self.reason)
        return outcome_of_request(town, order, CONTAINER, town.tick.number)
