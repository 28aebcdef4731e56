"""Actions on the town's container."""

from dataclasses import dataclass
from typing import ClassVar, Final

from shared.actions.base import Action, outcome_of_request
from shared.domain.outcomes import ActionOutcome
from shared.domain.states import EffectKind
from shared.town.town import Town

CONTAINER: Final = "container"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshContainerToken(Action):
    """Ask for a new token for the container. The token itself is never stored."""

    type: ClassVar[str] = "refresh_container_token"

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        payload = {"town_id": town.tick.town_id}
        return outcome_of_request(town, EffectKind.REFRESH_TOKEN, CONTAINER, town.tick.number, payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Action):
    """Ask the runtime to stop an idle container."""

    type: ClassVar[str] = "stop_container"

    reason: str

    def apply(self, town: Town) -> ActionOutcome:
        """Request it."""
        payload = {"town_id": town.tick.town_id, "reason": self.reason}
        return outcome_of_request(town, EffectKind.STOP_CONTAINER, CONTAINER, town.tick.number, payload)
