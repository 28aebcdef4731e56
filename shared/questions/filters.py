"""What the lists of a town can be asked for: filters, and how long a page is. Nothing here reads a town."""

from dataclasses import dataclass
from typing import Final, Literal

StatusFilter = Literal["live", "open", "in_progress", "in_review", "closed", "failed"]
TypeFilter = Literal["issue", "message", "escalation", "merge_request", "convoy", "molecule", "agent"]
EventState = Literal["inbox", "pending", "processed", "poisoned", "conflict", "duplicate"]
StateFilter = Literal["all", "inbox", "pending", "poisoned", "conflict", "duplicate"]

LIMIT: Final = 50
LIMIT_AT_MOST: Final = 500
TICKS: Final = 20
TICKS_AT_MOST: Final = 128
POINTS: Final = 20
POINTS_AT_MOST: Final = 200

_WANTED: Final[dict[StateFilter, tuple[EventState, ...]]] = {
    "all": ("inbox", "pending", "processed", "poisoned", "conflict", "duplicate"),
    "inbox": ("inbox",),
    "pending": ("inbox", "pending"),
    "poisoned": ("poisoned",),
    "conflict": ("conflict",),
    "duplicate": ("duplicate",),
}


@dataclass(frozen=True, slots=True)
class BeadFilter:
    """Which beads are wanted: all of these at once. Without `type`, all but the agents. `text` is looked for in id, title, body."""

    status: StatusFilter | None = None
    type: TypeFilter | None = None
    convoy: str | None = None
    rig: str | None = None
    label: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are wanted. Pending are also those in the inbox, because no tick has applied them yet."""

    state: StateFilter = "all"
    type: str | None = None

    def takes(self, state: EventState, event_type: str) -> bool:
        """Whether an event in this state and of this type is wanted."""
        return state in _WANTED[self.state] and self.type in (None, event_type)

    def reads(self, *states: EventState) -> bool:
        """Whether events in one of these states are wanted."""
        return any(state in _WANTED[self.state] for state in states)
