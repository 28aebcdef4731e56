"""Actions on the town's container."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshContainerToken(Action):
    """Ask for a fresh token in the container. The token itself is never stored."""

    type: ClassVar[str] = "refresh_container_token"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopContainer(Action):
    """Ask the runtime to put an idle container to sleep."""

    type: ClassVar[str] = "stop_container"

    reason: str
