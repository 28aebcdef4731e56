"""A poster that keeps what was posted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from infra.agents.posting import PostedEvent


@dataclass
class PostedEvents:
    """Acknowledges every event, and keeps it."""

    events: list[PostedEvent] = field(default_factory=list)

    def post(self, events: Sequence[PostedEvent]) -> None:
        """Keep the events."""
        self.events += events

    def of(self, event_type: str) -> list[PostedEvent]:
        """The payloads of the events of a type."""
        return [event["payload"] for event in self.events if event["event_type"] == event_type]
