"""The filters of a town's lists, and the lengths of their pages. Nothing here reads a town."""

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
    """The filters of a list of beads; a bead must match all of them. Without `type`, agents are left out.

    `text` is searched in id, title and body.
    """

    status: StatusFilter | None = None
    type: TypeFilter | None = None
    convoy: str | None = None
    rig: str | None = None
    label: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """The filters of a list of events. `pending` includes the inbox, because no tick has applied those events yet."""

    state: StateFilter = "all"
    type: str | None = None

    def takes(self, state: EventState, event_type: str) -> bool:
        """Whether an event in this state and of this type matches."""
        return state in _WANTED[self.state] and self.type in (None, event_type)

    def reads(self, *states: EventState) -> bool:
        """Whether events in any of these states match."""
        return any(state in _WANTED[self.state] for state in states)
